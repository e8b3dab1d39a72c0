"""What ``greenroom bench run`` shows while it runs: a bar for the stage, its rate, and the last latency."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_EVERY = 0.1
"""Seconds between two looks at the screen: drawing must not be load."""


class LiveView:
    """A context. quiet: draw nothing, as where stderr is not a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._began = self._drawn = 0.0
        self._count = self._pending = 0

    def __enter__(self) -> LiveView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw("")
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        """A new bar."""
        self._draw("")
        self._task = self._progress.add_task(name, total=total, rate="")
        self._began, self._count = time.monotonic(), 0

    def done(self, count: int, latency: float | None = None) -> None:
        """The bar moves."""
        self._count += count
        self._pending += count
        now = time.monotonic()
        if now - self._drawn < _EVERY:
            return
        self._drawn = now
        rate = f"{self._count / max(1e-9, now - self._began):,.0f}/s"
        self._draw(rate if latency is None else f"{rate}, last {latency * 1000:.1f} ms")

    def _draw(self, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=self._pending)
            if text:
                self._progress.update(self._task, rate=text)
        self._pending = 0
