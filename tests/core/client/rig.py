"""A machine without a shell, for tests of what single inputs do: nothing is random, time is a number."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from greenroom.core.client import ClientSession
from greenroom.core.client import effects as fx
from greenroom.tokens.reader import peek
from tests.support.scenarios import token_text

WALL = 1_700_000_000
RESULT = {
    "session": {"id": "p1-s", "generation": 1, "grace": 40, "expiresAt": 0},
    "participant": {"id": "ada", "revision": 0, "version": 1, "presence": "online", "sessions": 1, "lastSeen": None},
    "scopes": ["*"],
}
"""Of an open, and of a resume."""
Found = TypeVar("Found")


class Rig:
    """The machine, the time, and its effects since they were looked at last. Attempt 1 is its first dial."""

    def __init__(self, *, refreshable: bool = False, life: int = 3600) -> None:
        self.now = 0.0
        self.machine = ClientSession(
            fx.ClientTools(random=lambda: 0.5, random_bytes=bytes, wall=lambda: WALL + self.now, peek=peek)
        )
        token = token_text({"app": "app", "xid": "ada", "iat": WALL, "exp": WALL + life})
        self.machine.set_token(0.0, token, refreshable=refreshable)
        self.settings = fx.ClientSettings()
        self._effects: list[fx.Effect] = []

    def effects(self) -> list[fx.Effect]:
        """All since the last call."""
        found, self._effects = [*self._effects, *self.machine.effects()], []
        return found

    def some(self, kind: type[Found]) -> list[Found]:
        """Those of one kind; the others are forgotten."""
        return [one for one in self.effects() if isinstance(one, kind)]

    def events(self) -> list[Any]:
        """What the app was notified of."""
        return [one.event for one in self.some(fx.Notify)]

    def sent(self) -> list[dict[str, Any]]:
        """What was sent, decoded."""
        return [json.loads(one.data) for one in self.some(fx.SendText)]

    def dial(self, attempt: int = 1) -> dict[str, Any]:
        """A connection is made; the hello on it."""
        self.machine.tick(self.now)
        self.machine.dialed(self.now, attempt)
        return self.sent()[-1]

    def say(self, message: Any, attempt: int = 1) -> None:
        """The service sends this."""
        data = message if isinstance(message, bytes | str) else json.dumps({"jsonrpc": "2.0", **message})
        self.machine.message(self.now, attempt, data)

    def open(self) -> None:
        """The session is open on attempt 1, and its first ping answered."""
        self.machine.open(self.now, 1)
        hello = self.dial()
        self.say({"id": hello["id"], "result": RESULT})
        self.machine.tick(self.now)
        (ping,) = self.sent()
        self.say({"id": ping["id"], "result": {}})
        self.effects()

    def at(self, now: float) -> None:
        """Time goes on to this instant, deadline by deadline."""
        while (due := self.machine.deadline()) is not None and due <= now:
            self.now = max(self.now, due)
            self.machine.tick(self.now)
            self._effects += self.machine.effects()
        self.now = now
