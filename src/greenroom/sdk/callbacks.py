"""The queue in which the app's callbacks run."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from greenroom.sdk.tasks import start_task

log = logging.getLogger("greenroom.sdk")

BACKLOG = 100
"""Calls that wait before outdated ones are merged."""

Merge = Callable[[Any, Any], Any]
"""``merge(earlier, later)``: the argument of one call in place of two."""


def later(earlier: Any, later: Any) -> Any:
    """The later argument alone counts."""
    return later


@dataclass(slots=True)
class _Call:
    session_id: str | None
    callback: Callable[..., Any]
    arguments: tuple[Any, ...]
    key: Hashable


class CallbackQueue:
    """Runs callbacks one after the other. Its task lives only while there is something to run.

    A slow callback does not make it grow for ever: when `BACKLOG` calls wait, a call that makes an earlier one outdated
    takes its place.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Call] = deque()
        self._latest: dict[Hashable, _Call] = {}
        self._task: asyncio.Task[None] | None = None
        self._warned = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(
        self,
        session_id: str | None,
        callback: Callable[..., Any],
        *arguments: Any,
        key: Hashable = None,
        merge: Merge = later,
    ) -> None:
        """Queue a call; must be called in the loop.

        session_id: for the log, where the callback raises. key: a later call with the same key may take the place of
        this one; None: none may. merge: makes one argument of both calls'; default: the later one's.
        """
        earlier = self._latest.get(key) if key is not None and len(self._waiting) >= BACKLOG else None
        if earlier is not None and earlier.callback == callback:
            if not self._warned:
                self._warned = True
                name = getattr(callback, "__qualname__", repr(callback))
                log.warning(
                    "session %s: %d calls wait for the app's callbacks, now in %s: outdated ones are merged",
                    session_id,
                    len(self._waiting),
                    name,
                )
            earlier.arguments = (merge(earlier.arguments[0], arguments[0]), *arguments[1:])
            return
        call = _Call(session_id, callback, arguments, key)
        self._waiting.append(call)
        if key is not None:
            self._latest[key] = call
        if self._task is None:
            self._task = start_task(self._run(), "greenroom callbacks")

    async def _run(self) -> None:
        try:
            while self._waiting:
                call = self._waiting.popleft()
                if self._latest.get(call.key) is call:
                    del self._latest[call.key]
                self._warned = self._warned and bool(self._waiting)
                try:
                    result = call.callback(*call.arguments)
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    name = getattr(call.callback, "__qualname__", repr(call.callback))
                    log.exception("session %s: the callback %s raised", call.session_id, name)
        finally:
            self._task = None

    async def drained(self, timeout: float) -> None:
        """Wait until all that was queued has run, at most `timeout` seconds; not at all from inside a callback."""
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait({task}, timeout=timeout)

    def loop_ended(self) -> None:
        """The task is gone with its event loop: what waits runs with the next call."""
        self._task = None
