"""What the client's machine asks of its shell, what it reports to the app, and its settings.

The browser SDK has the same effects with the same fields, as plain objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError
from greenroom.messages import Device, SdkVersion
from greenroom.model import Invitation, Member, Participant

_NO_SDK = SdkVersion()


class ClaimsView(Protocol):
    """The claims of a token, read without checking its signature (`greenroom.tokens.reader.peek`)."""

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
    """Durations in seconds, and counts."""

    attempt_timeout: float = 8.0
    """From a dial to the reply to `open` or `resume`."""
    ping_interval: float = 15.0
    pong_timeout: float = 8.0
    """15 + 8 seconds: a half-open connection is found within 25 s (promise 4)."""
    refresh_timeout: float = 10.0
    """For the app's refresh callback."""
    refresh_gap: float = 5.0
    """Between the starts of two calls of the refresh callback."""
    close_timeout: float = 2.0
    """For the reply to `session.close`; `close` waits no longer than this."""
    end_timeout: float = 2.0
    """From the first reply that says that the session has ended, to `session.ended`; then the session is resumed."""
    request_timeout: float = 10.0
    stable_after: float = 10.0
    """A connection that lived this long resets the reconnect delays."""
    reopen_gap: float = 60.0
    """Between two sessions opened in place of lost ones. A session lost sooner is not replaced: never a loop."""
    watches_per_message: int = 256
    """Pairs of id and version in one message (S12)."""
    max_in_flight: int = 16
    """Requests sent and not answered; the service queues 32 (S19)."""


@dataclass(frozen=True, slots=True)
class ClientTools:
    """All that the machine takes from outside beside `now`: randomness, the wall clock, and the token reader.

    random: a number in [0, 1). random_bytes: so many bytes. wall: Unix seconds.
    peek: reads a token's claims without checking the signature; raises TokenInvalidError.
    """

    random: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    wall: Callable[[], float]
    peek: Callable[[object], ClaimsView]
    sdk: SdkVersion = _NO_SDK


# -- for the shell ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect. Report the result with `dialed` or `dial_failed`, with the same attempt number."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text message on the connection of this attempt."""

    attempt: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, or cancel the dial, of this attempt with this close code."""

    attempt: int
    code: int


@dataclass(frozen=True, slots=True)
class RequestToken:
    """Call the app's refresh callback. Report the result with `token`, with the same number."""

    number: int
    is_expired: bool


@dataclass(frozen=True, slots=True)
class CancelTokenRequest:
    """The result of this call of the refresh callback is no longer needed."""

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
    """The session has a new state."""

    state: SessionState


# -- for the app ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionEndedEvent:
    """The session ended for good, not by `close`. by: the device that replaced it, where one did."""

    reason: str
    message: str
    by: Device | None = None
    error: GreenroomError | None = None


@dataclass(frozen=True, slots=True)
class SessionReopenedEvent:
    """A new session replaces one that the service no longer had. reason: why it was gone."""

    participant: Participant
    reason: str
    previous_id: str
    """The participant's id before. It differs where the participant is anonymous."""


@dataclass(frozen=True, slots=True)
class TokenRefreshFailedEvent:
    """A refresh failed. Harmless unless is_expired."""

    error: GreenroomError
    is_expired: bool


@dataclass(frozen=True, slots=True)
class ParticipantUpdatedEvent:
    """The session's own participant changed, here or on another device."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantsChangedEvent:
    """Watched participants changed: the latest record of each."""

    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class RoomChangedEvent:
    """A roster changed: who came, who changed, and who left with the reason ("" where the service did not say: it
    happened while the connection was away). All three are empty where only the count changed."""

    room: str
    version: int
    count: int
    joined: tuple[Member, ...] = ()
    changed: tuple[Member, ...] = ()
    left: tuple[tuple[Member, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoomMessageEvent:
    """A message to a room in which the session is. sender: participant id, None for the app's backend."""

    room: str
    number: int
    sender: str | None
    message: Any


@dataclass(frozen=True, slots=True)
class RoomMessagesMissedEvent:
    """So many messages of a room were not sent to this client, because it read too slowly."""

    room: str
    count: int


@dataclass(frozen=True, slots=True)
class RoomLeftEvent:
    """The session is no longer in the room, and the app has not left it. error: where joining again was refused."""

    room: str
    reason: str
    error: GreenroomError | None = None


@dataclass(frozen=True, slots=True)
class RoomUnwatchedEvent:
    """The room is no longer watched, and the app has not ended that. error: where watching it again was refused."""

    room: str
    reason: str
    error: GreenroomError | None = None


@dataclass(frozen=True, slots=True)
class RoomInvitedEvent:
    """The session's participant was invited to a room."""

    invitation: Invitation


@dataclass(frozen=True, slots=True)
class RoomInvitationAnsweredEvent:
    """An invitation by the session's participant was answered."""

    invitation_id: str
    room: str
    participant_id: str
    accepted: bool


AppEvent = (
    SessionEndedEvent
    | SessionReopenedEvent
    | TokenRefreshFailedEvent
    | ParticipantUpdatedEvent
    | ParticipantsChangedEvent
    | RoomChangedEvent
    | RoomMessageEvent
    | RoomMessagesMissedEvent
    | RoomLeftEvent
    | RoomUnwatchedEvent
    | RoomInvitedEvent
    | RoomInvitationAnsweredEvent
)


@dataclass(frozen=True, slots=True)
class Notify:
    """An event for the app's delegate."""

    event: AppEvent


Effect = Dial | SendText | Disconnect | RequestToken | CancelTokenRequest | Resolve | Reject | StateChanged | Notify
