"""What `ServerSession` asks for and is told: its effects, the calls it makes to the engine, and their answers.

The machine knows no engine: a shell turns these calls into the engine's requests, adds node and lease, and hands the
answer back under the call's number.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from greenroom.model import Application, EndReason, ParticipantRecord, SessionPolicy, SessionRecord


class Now(NamedTuple):
    """An instant on both clocks. mono: seconds that never run backwards, for all timers. wall: Unix seconds, for tokens
    alone (S5)."""

    mono: float
    wall: float


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Timers and limits of one connection; seconds, bytes or counts. Each is a setting of the service."""

    hello: float = 10.0
    """To the first `open` or `resume`, and again after one that failed."""
    max_hellos: int = 5
    """Opens and resumes that may fail on one connection; then it is closed."""
    ping: float = 15.0
    """From a pong to the next ping."""
    pong: float = 8.0
    """For the pong; then the transport is aborted."""
    grace: float = 40.0
    """For which a session outlives its connection."""
    grace_left: float = 5.0
    """The same where the page was left or reloaded (1001)."""
    grace_unconfirmed: float = 10.0
    """The same while the client has sent nothing since it was told that its session is open (S6)."""
    token_warning: float = 60.0
    """Before a token's end, `session.tokenExpiring` is sent."""
    token_overrun: float = 30.0
    """After a token's end, in which it can still be refreshed (S5)."""
    messages_per_second: float = 50.0
    messages_burst: int = 100
    max_waiting: int = 32
    """Requests that wait while one is carried out (S19)."""
    move_on_interval: float = 60.0
    """`session.moveOn` is sent at most this often because of fencing (S9)."""
    move_on_jitter: float = 10.0
    max_reply_bytes: int = 224 * 1024
    """The largest answer to `participants.get` and `watch`; what waits to be written is cut off at 256 KiB."""


class PolicyClaim(Protocol):
    """How a token narrows its application's policy; `msgspec.UNSET` leaves the application's."""

    @property
    def max_sessions(self) -> int | msgspec.UnsetType: ...
    @property
    def when_full(self) -> str | msgspec.UnsetType: ...
    @property
    def same_device(self) -> str | msgspec.UnsetType: ...


class ClientToken(Protocol):
    """A verified client access token, as far as sessions care (`greenroom.tokens.VerifiedToken` is one)."""

    @property
    def app(self) -> str: ...
    @property
    def participant_id(self) -> str | None: ...
    @property
    def external_id(self) -> str | None: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def issued_at(self) -> int: ...
    @property
    def expires_at(self) -> int: ...
    @property
    def jti(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def policy(self) -> PolicyClaim: ...


class House(Protocol):
    """What a session may ask of its node: quick, without I/O."""

    @property
    def limits(self) -> SessionLimits:
        """Timers and limits."""

    def verify(self, token: str, address: str, now: Now) -> ClientToken:
        """The token, if it is good. Raises TokenInvalidError, TokenExpiredError, RateLimitedError (too many bad ones
        from this address)."""

    def application(self, key: str) -> Application | None:
        """The application, disabled ones too; None where unknown or deleted."""

    def check_room(self, now: Now) -> None:
        """Raises RateLimitedError where the node takes no more opens in this second: before a signature is looked at,
        which is what an open costs."""

    def admit(self, now: Now) -> None:
        """Counts one open. Raises RateLimitedError as `check_room`."""

    def cut_off(self, key: str, now: Now) -> None:
        """A connection was cut off for how it behaved. key: its participant, or its session."""

    def check_conduct(self, key: str, now: Now) -> None:
        """Raises RateLimitedError where too many connections of the participant, or session, were cut off lately."""

    def random_bytes(self, count: int) -> bytes:
        """For ids of sessions."""


# -- calls to the engine ----------------------------------------------------------------------------------------------


class Owned(msgspec.Struct, frozen=True):
    """On whose behalf a session is written (S7)."""

    session_id: str
    generation: int
    lease: str


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: `Joined`."""

    token: ClientToken
    app: str
    participant_id: str
    external_id: str | None
    open_id: str
    secret_hash: bytes
    session_id: str
    name: str | None
    avatar_url: str | None
    if_new: bool
    may_change_profile: bool
    policy: SessionPolicy
    max_application_sessions: int | None
    device_id: str | None
    device_name: str | None
    sdk: str
    anonymous: bool


class ResumeSession(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: `Joined`."""

    session_id: str
    secret_hash: bytes
    next_secret_hash: bytes
    attempt: int
    token: ClientToken | None
    watching: tuple[tuple[str, int], ...] = ()
    """(participant id, version) that the client has: of no concern to the engine."""


class EndSession(msgspec.Struct, frozen=True):
    """A duty: the shell keeps what the engine cannot take now and writes it first when it is back (S6). Answer: None,
    at the latest when it is kept."""

    owner: Owned
    reason: EndReason
    text: str = ""


class DetachSession(msgspec.Struct, frozen=True):
    """A duty like `EndSession`. Nobody waits for the answer."""

    owner: Owned
    grace: float


class CloseBySecret(msgspec.Struct, frozen=True):
    """`session.close` as the first message (S6). Answer: None."""

    session_id: str
    secret_hash: bytes


class RefreshSession(msgspec.Struct, frozen=True):
    """Answer: None, once stored."""

    owner: Owned
    token: ClientToken


class UpdateProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: the ParticipantRecord."""

    owner: Owned
    app: str
    participant_id: str
    update_id: str
    name: str | None
    avatar_url: str | None
    if_revision: int | None


class ReadParticipants(msgspec.Struct, frozen=True):
    """Answer: the ParticipantRecords, in order."""

    app: str
    ids: tuple[str, ...]


class WatchParticipants(msgspec.Struct, frozen=True):
    """Subscribe, then read (S12). Answer: as `ReadParticipants`."""

    app: str
    ids: tuple[str, ...]


class UnwatchParticipants(msgspec.Struct, frozen=True):
    """Answer: None."""

    app: str
    ids: tuple[str, ...]


EngineCall = (
    OpenSession
    | ResumeSession
    | EndSession
    | DetachSession
    | CloseBySecret
    | RefreshSession
    | UpdateProfile
    | ReadParticipants
    | WatchParticipants
    | UnwatchParticipants
)


class Joined(msgspec.Struct, frozen=True):
    """The engine attached the session to this connection."""

    session: SessionRecord
    participant: ParticipantRecord


# -- effects ----------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """One text message."""

    data: bytes


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A ping frame."""


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the connection with this code and say why. The machine hears nothing more that counts."""

    code: int
    reason: str


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Drop the connection without a word."""


class Call(msgspec.Struct, frozen=True):
    """Ask the engine; the answer comes back under this number."""

    number: int
    request: EngineCall


Effect = Send | Ping | Close | Abort | Call
