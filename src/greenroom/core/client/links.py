"""Connections of the client's machine, by attempt number, and when the next dial is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from greenroom.core.backoff import full_jitter, steered
from greenroom.core.client.effects import ClientSettings, ClientTools

LATE = 1.0
"""Seconds. A timer as late as this slept: what came meanwhile may not have been read yet."""


class Phase(StrEnum):
    """Where a connection is."""

    DIALING = "dialing"
    """The shell connects."""
    HELLO = "hello"
    """Open or resume is sent and not answered."""
    LIVE = "live"
    """Carries the session. There is one at most."""
    LEAVING = "leaving"
    """Carries a farewell: the session is closed on this side already."""


@dataclass(slots=True)
class Link:
    """limit: when the attempt has taken too long, None once it is answered. slept_until: when a timer was found to have
    slept over the time of an answer that is still waited for."""

    attempt: int
    phase: Phase
    limit: float | None
    hello_id: int | None = None
    since: float = 0.0
    ping_id: int | None = None
    ping_due: float | None = None
    pong_until: float | None = None
    slept_until: float | None = None

    def go_live(self, now: float) -> None:
        """Answered: the heartbeat begins with a ping at once (S6)."""
        self.phase, self.limit, self.since, self.ping_due = Phase.LIVE, None, now, now

    def pinged(self, now: float, ping_id: int, settings: ClientSettings) -> None:
        self.ping_id, self.ping_due = ping_id, now + settings.ping_every
        self.pong_until = now + settings.pong_limit

    def ponged(self) -> None:
        self.ping_id = self.pong_until = self.slept_until = None

    def slept(self, now: float) -> bool:
        """Whether the timer slept over the time of the answer, which may wait to be read. Once: where timers are always
        late, as those of a hidden page, a dead connection must be found too."""
        if self.slept_until is not None or self.pong_until is None or now <= self.pong_until + LATE:
            return False
        self.slept_until = now
        return True


class Dialer:
    """When to dial next: full jitter, or as the service said."""

    def __init__(self, tools: ClientTools) -> None:
        self._tools = tools
        self.failures = 0
        self.due: float | None = None

    def at(self, when: float) -> None:
        self.due = when

    def soon(self, now: float) -> None:
        """Forget earlier failures."""
        self.failures, self.due = 0, now

    def again(self, now: float, retry_after: float | None = None) -> None:
        """After a failure. retry_after: the service asks not to come sooner."""
        self.failures += 1
        self.due = now + max(0.0, retry_after or 0.0) + full_jitter(self.failures, self._tools.random)

    def steer(self, now: float, after: float, jitter: float) -> None:
        """The service said when."""
        self.due = now + steered(after, jitter, self._tools.random)

    def stop(self) -> None:
        self.failures, self.due = 0, None
