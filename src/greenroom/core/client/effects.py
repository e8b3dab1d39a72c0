"""What the client's machine asks of its shell, what it tells the app, and its numbers.

The browser SDK has the same effects with the same fields: keep them plain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError
from greenroom.messages import Device, SdkVersion
from greenroom.model import Participant

_NO_SDK = SdkVersion()


class Glance(Protocol):
    """What a token says of itself, unverified (`greenroom.tokens.reader.peek`)."""

    @property
    def app(self) -> str: ...
    @property
    def external_id(self) -> str | None: ...
    @property
    def issued_at(self) -> int: ...
    @property
    def expires_at(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Durations in seconds."""

    attempt_limit: float = 8.0
    """From a dial to the answer to open or resume."""
    ping_every: float = 15.0
    pong_limit: float = 8.0
    """15 + 8 seconds are inside the 25 in which a half-open link must be found (promise 4)."""
    ask_limit: float = 10.0
    """For the app's refresh callback."""
    ask_gap: float = 5.0
    """Between the starts of two refreshes."""
    close_limit: float = 2.0
    """For the answer to `session.close`; `close` does not wait longer."""
    request_limit: float = 10.0
    stable_after: float = 10.0
    """A connection that lived as long starts the delays anew."""
    reopen_gap: float = 60.0
    """Between two sessions opened in place of lost ones; a loss before that is final: never a loop."""
    resume_watches: int = 256
    """Pairs in one message (S12)."""
    in_flight: int = 16
    """Requests sent and not answered; the service lets 32 wait (S19)."""


@dataclass(frozen=True, slots=True)
class ClientTools:
    """Chance, wall clock and token reader: all that the machine takes from outside beside `now`.

    random: a number in [0, 1). random_bytes: so many bytes. wall: Unix seconds.
    peek: reads a token's claims without checking the signature, raises TokenInvalidError.
    """

    random: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    wall: Callable[[], float]
    peek: Callable[[object], Glance]
    sdk: SdkVersion = _NO_SDK


# -- to the shell -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect; answer with `dialed` or `dial_failed` of the same attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text message on a connection."""

    attempt: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """End a connection, or a dial under way, with this close code."""

    attempt: int
    code: int


@dataclass(frozen=True, slots=True)
class AskToken:
    """Call the app's refresh callback; answer with `token` of the same number."""

    number: int
    is_expired: bool


@dataclass(frozen=True, slots=True)
class DropAsk:
    """The answer to this call of the refresh callback is not waited for any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """A caller's result."""

    waiter: int
    result: Any


@dataclass(frozen=True, slots=True)
class Reject:
    """A caller's error."""

    waiter: int
    error: GreenroomError


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session's state is another one now."""

    state: SessionState


# -- to the app -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session ended for good, not by `close`. by: the device that took its place, where one did."""

    reason: str
    message: str
    by: Device | None = None
    error: GreenroomError | None = None


@dataclass(frozen=True, slots=True)
class SessionReopened:
    """A new session stands in place of one that the service no longer had. reason: why it was gone."""

    participant: Participant
    reason: str
    previous_id: str
    """The participant's id before: another one where the participant is anonymous."""


@dataclass(frozen=True, slots=True)
class TokenRefreshFailed:
    """A refresh failed. Harmless unless is_expired."""

    error: GreenroomError
    is_expired: bool


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    """The session's own participant changed, here or on another device."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantsChanged:
    """Watched participants changed: the latest of each."""

    participants: tuple[Participant, ...]


AppEvent = SessionEnded | SessionReopened | TokenRefreshFailed | ParticipantUpdated | ParticipantsChanged


@dataclass(frozen=True, slots=True)
class Tell:
    """Something for the app's delegate."""

    event: AppEvent


Effect = Dial | Send | Hangup | AskToken | DropAsk | Resolve | Reject | StateChanged | Tell
