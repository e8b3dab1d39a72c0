"""Looks up names on an app's behalf, in threads that nothing else waits for.

The system's resolver blocks, for half a minute where a name server is silent, and cannot be cancelled. In the event
loop's own pool of a few threads one application's silent name server would stop the webhooks and key sets of all, and
whatever else resolves names (a connection to Redis that is made again). So each look-up has a thread of its own, an
application has at most a few at a time, and further ones of that application wait.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

AT_ONCE = 4
"""Look-ups of one application that are under way at a time."""

ON_BEHALF_OF: ContextVar[str] = ContextVar("ON_BEHALF_OF", default="")
"""The application for which the current task connects."""

Answers = list[tuple[Any, ...]]
"""As `socket.getaddrinfo` gives them."""


class NameLookups:
    """Of one node. at_once: for each application. look_up: as `socket.getaddrinfo`; may block."""

    def __init__(self, *, at_once: int = AT_ONCE, look_up: Callable[..., Answers] | None = None) -> None:
        self._at_once = at_once
        self._look_up = look_up
        self._slots: dict[str, asyncio.Semaphore] = {}

    async def look_up(self, app: str, host: str, port: int, family: socket.AddressFamily) -> Answers:
        """The addresses of a host, for an application. Raises OSError. Cancelled it returns at once; the slot is free
        again when the thread has ended."""
        slot = self._slots.setdefault(app, asyncio.Semaphore(self._at_once))
        await slot.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answers] = loop.create_future()

        def ended(answers: Answers | None, error: BaseException | None) -> None:
            slot.release()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answers or [])

        def work() -> None:
            answers, failed = None, None
            try:
                # Looked up now: tests put another in its place.
                answers = (self._look_up or socket.getaddrinfo)(host, port, type=socket.SOCK_STREAM, family=family)
            except BaseException as error:
                failed = error
            try:
                loop.call_soon_threadsafe(ended, answers, failed)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        threading.Thread(target=work, name="greenroom-lookup", daemon=True).start()
        return await future
