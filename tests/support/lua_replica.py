"""A replica of the Redis in memory: it receives writes a moment later, in order, a function's all at once (Redis sends
them as one MULTI). A failover makes a master of what it has received so far; the rest is lost.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.lua_commands import Commands

if TYPE_CHECKING:
    from tests.support.lua_redis import LuaServer

Writes = list[tuple[str, tuple[bytes, ...]]]
"""Commands and their arguments."""
LAG = 0.001
"""Seconds until a write has been received, while the link between the two works."""
REFUSES_AFTER = 1.5
"""Seconds of a silent replica after which the master takes no writes, in the durable profile (`min-replicas-to-write`
with `min-replicas-max-lag 1`: it looks once a second)."""


class Replica:
    """now: seconds. Offsets count the functions that wrote something."""

    def __init__(self, server: LuaServer, now: Callable[[], float]) -> None:
        self._server = server
        self._now = now
        self._commands = Commands(lambda: 0, lambda _channel, _message: 0)
        self._behind: deque[tuple[int, float, Writes]] = deque()
        self._cut_at: float | None = None
        self.offset = 0
        """Of the master: how much was written."""
        self._applied = 0

    def sent(self, writes: Writes) -> None:
        """The master has carried out a function that wrote."""
        self.offset += 1
        self._behind.append((self.offset, self._now(), writes))
        if len(self._behind) > 500:
            self._catch_up()

    def has(self, offset: int) -> bool:
        """Whether it has received all up to there: what WAIT asks."""
        self._catch_up()
        return self._applied >= offset

    def cut_off(self) -> None:
        """From the master: it receives nothing more."""
        if self._cut_at is None:
            self._cut_at = self._now()

    def joined_up(self) -> None:
        """It reaches the master again, and receives what it missed."""
        self._cut_at = None

    @property
    def silent_for(self) -> float:
        """Seconds since it was cut off; 0 where it is not."""
        return 0.0 if self._cut_at is None else self._now() - self._cut_at

    def promote(self) -> int:
        """It is the master now, and what was the master restarts as its replica. How many functions' writes are
        lost."""
        self._catch_up()
        lost = self.offset - self._applied
        self._server.commands.data = self._commands.data
        self.follow()
        return lost

    def follow(self) -> None:
        """Take over what the master knows now: a full resynchronisation."""
        self._behind.clear()
        self._cut_at = None
        self._applied = self.offset
        self._commands.data = copy.deepcopy(self._server.commands.data)

    def _catch_up(self) -> None:
        until = (self._now() if self._cut_at is None else self._cut_at) - LAG
        while self._behind and self._behind[0][1] <= until:
            self._applied, _, writes = self._behind.popleft()
            for name, arguments in writes:
                self._commands.execute(name, *arguments)
