"""The queue in which the app's callbacks run."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from greenroom.sdk.tasks import start_task

log = logging.getLogger("greenroom.sdk")


class CallbackQueue:
    """Runs callbacks one after the other. Its task lives only while there is something to run."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str | None, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, session_id: str | None, callback: Callable[..., Any], *arguments: Any) -> None:
        """Queue a call; must be called in the loop. session_id: for the log, where the callback raises."""
        self._waiting.append((session_id, callback, arguments))
        if self._task is None:
            self._task = start_task(self._run(), "greenroom callbacks")

    async def _run(self) -> None:
        try:
            while self._waiting:
                session_id, callback, arguments = self._waiting.popleft()
                try:
                    result = callback(*arguments)
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    name = getattr(callback, "__qualname__", repr(callback))
                    log.exception("session %s: the callback %s raised", session_id, name)
        finally:
            self._task = None

    async def drained(self, timeout: float) -> None:
        """Wait until all that was queued has run, at most `timeout` seconds; not at all from inside a callback."""
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait({task}, timeout=timeout)
