"""Connection attempts of the client's machine, by number, and when to dial next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from greenroom.codes import CloseCode
from greenroom.core.backoff import bounded_retry, full_jitter, steered
from greenroom.core.client.effects import ClientSettings, ClientTools, Dial, Disconnect
from greenroom.core.client.output import Output

LATE = 1.0
"""Seconds. A timer that fires this late slept: what arrived meanwhile may not have been read yet."""


class Phase(StrEnum):
    """How far an attempt has come."""

    DIALING = "dialing"
    """The shell connects."""
    HELLO = "hello"
    """`open` or `resume` is sent and not answered."""
    LIVE = "live"
    """Carries the session. At most one attempt is live."""
    CLOSING = "closing"
    """Carries `session.close`. For the app the session is closed already."""


@dataclass(slots=True)
class Attempt:
    """One dial and the connection that it makes.

    deadline: when it has taken too long; None once it is answered, unless its node no longer has the session.
    slept_until: when a timer was found to have slept past the deadline of a pong that is still outstanding.
    """

    number: int
    phase: Phase
    deadline: float | None
    hello_id: int | None = None
    since: float = 0.0
    ping_id: int | None = None
    ping_due: float | None = None
    pong_deadline: float | None = None
    slept_until: float | None = None

    def go_live(self, now: float) -> None:
        """`open` or `resume` was answered. The heartbeat begins with a ping at once (S6)."""
        self.phase, self.deadline, self.since, self.ping_due = Phase.LIVE, None, now, now

    def ping_sent(self, now: float, ping_id: int, settings: ClientSettings) -> None:
        self.ping_id, self.ping_due = ping_id, now + settings.ping_interval
        self.pong_deadline = now + settings.pong_timeout

    def pong_received(self) -> None:
        self.ping_id = self.pong_deadline = self.slept_until = None

    def timer_slept(self, now: float) -> bool:
        """Whether the timer slept past the pong's deadline, so that the pong may wait to be read. True once only:
        where timers are always late, as those of a hidden page, a dead connection must be found too."""
        if self.slept_until is not None or self.pong_deadline is None or now <= self.pong_deadline + LATE:
            return False
        self.slept_until = now
        return True

    def times(self) -> list[float | None]:
        """When something of this attempt is due."""
        if self.phase is not Phase.LIVE:
            return [self.deadline]
        return [self.deadline, self.ping_due if self.pong_deadline is None else self.pong_deadline]


class RedialTimer:
    """When to dial next: exponential backoff with full jitter, or as the service said."""

    def __init__(self, tools: ClientTools) -> None:
        self._tools = tools
        self.failures = 0
        self.due: float | None = None

    def at(self, when: float) -> None:
        self.due = when

    def at_once(self, now: float) -> None:
        """Also forgets earlier failures."""
        self.failures, self.due = 0, now

    def after_failure(self, now: float, retry_after: float | None = None) -> None:
        """retry_after: the service asks not to come sooner."""
        self.failures += 1
        self.due = now + bounded_retry(retry_after) + full_jitter(self.failures, self._tools.random)

    def as_service_says(self, now: float, after: float, jitter: float) -> None:
        """The service said when."""
        self.due = now + steered(bounded_retry(after), bounded_retry(jitter), self._tools.random)

    def stop(self) -> None:
        self.failures, self.due = 0, None


class Attempts:
    """The attempts that carry the session, or are on the way to it: at most one live and one candidate."""

    def __init__(self, tools: ClientTools, settings: ClientSettings, output: Output) -> None:
        self._settings = settings
        self._output = output
        self._by_number: dict[int, Attempt] = {}
        self._last_number = 0
        self.redial = RedialTimer(tools)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._by_number.values()))

    def __contains__(self, attempt: Attempt | None) -> bool:
        return attempt is not None and attempt.number in self._by_number

    def get(self, number: int) -> Attempt | None:
        return self._by_number.get(number)

    def pop(self, number: int) -> Attempt | None:
        """The attempt is over: its connection is gone."""
        return self._by_number.pop(number, None)

    def clear(self) -> None:
        self._by_number.clear()

    def live(self) -> Attempt | None:
        return next((one for one in self if one.phase is Phase.LIVE), None)

    def candidate(self) -> Attempt | None:
        """The attempt that may become the live one."""
        return next((one for one in self if one.phase in (Phase.DIALING, Phase.HELLO)), None)

    def next_number(self) -> int:
        """Numbers are never used again, so that a late input finds nothing."""
        self._last_number += 1
        return self._last_number

    def dial(self, now: float) -> None:
        number = self.next_number()
        self._by_number[number] = Attempt(number, Phase.DIALING, now + self._settings.attempt_timeout, since=now)
        self._output.emit(Dial(number))

    def disconnect(self, attempt: Attempt | None, code: CloseCode = CloseCode.COME_BACK) -> None:
        """Only `close` sends 1000; every other connection is dropped with 4000 (S6). None: nothing to drop."""
        if attempt is not None and self.pop(attempt.number) is not None:
            self._output.emit(Disconnect(attempt.number, code))
