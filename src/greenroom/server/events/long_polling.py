"""Waiting for events: one subscription to the outbox, many long polls."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from greenroom.engines.base import Outbox

LOOK_EVERY = 2.0
"""Seconds after which a waiting poll looks by itself: a hint may be lost."""
MAX_WAITING = 100
"""Polls of one application that wait at a time on a node; further ones are answered at once."""


class EventNews:
    """Who waits for events of which application, on this node."""

    def __init__(self, outbox: Outbox) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._marks: dict[str, int] = defaultdict(int)
        self._is_open = True
        outbox.subscribe(self._ready)

    def may_wait(self, app: str) -> bool:
        """Whether one more may wait."""
        return self._is_open and len(self._waiting.get(app, ())) < MAX_WAITING

    def close(self) -> None:
        """The service stops: every poll is answered now, those too whose client has gone."""
        self._is_open = False
        for app in tuple(self._waiting):
            self._ready(app)

    def mark(self, app: str) -> int:
        """Where the application's news are now: to be taken before one reads, and given to `wait`."""
        return self._marks[app]

    async def wait(self, app: str, mark: int, seconds: float) -> None:
        """Returns when the application may have events newer than the mark, at the latest after so many seconds, or
        `LOOK_EVERY`."""
        if self._marks[app] != mark:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[app]
        waiting.add(future)
        try:
            async with asyncio.timeout(min(seconds, LOOK_EVERY)):
                await future
        except TimeoutError:
            pass
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(app) is waiting:
                del self._waiting[app]

    def _ready(self, app: str) -> None:
        self._marks[app] += 1
        for future in self._waiting.get(app, ()):
            if not future.done():
                future.set_result(None)
