"""What a session may ask of its node, and the limits it is given."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

import msgspec

from greenroom.model import Application, RoomGrant


class Now(msgspec.Struct, frozen=True, gc=False):
    """An instant on both clocks. mono: seconds that never run backwards, for all timers. wall: Unix seconds, for tokens
    alone (S5)."""

    mono: float
    wall: float


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Timers and limits of one connection; seconds, bytes or counts. A setting of the service has the same name."""

    hello_timeout: float = 10.0
    """To the first `open` or `resume`, and again after one that failed."""
    max_hellos: int = 5
    """Opens and resumes that may fail on one connection; then it is closed."""
    ping_interval: float = 15.0
    """From a pong to the next ping."""
    pong_timeout: float = 8.0
    """For the pong; then the transport is aborted."""
    grace: float = 40.0
    """For which a session outlives its connection."""
    grace_going_away: float = 5.0
    """Grace after close 1001 (page closed or reloaded)."""
    grace_unconfirmed: float = 10.0
    """Grace while the client has sent nothing since the reply to its open (S6)."""
    token_warning: float = 60.0
    """Before a token's end, `session.tokenExpiring` is sent."""
    token_grace: float = 30.0
    """After a token's end, in which it can still be refreshed (S5)."""
    messages_per_second: float = 50.0
    messages_burst: int = 100
    ids_per_second: float = 2_000.0
    """Participants that the requests of one connection may name, in the long run; what is more waits (S19)."""
    ids_burst: int = 4_000
    max_waiting: int = 32
    """Requests that wait while one is carried out (S19)."""
    move_on_interval: float = 60.0
    """`session.moveOn` is sent at most this often because of fencing (S9)."""
    move_on_jitter: float = 10.0
    max_reply_bytes: int = 224 * 1024
    """The largest answer to `participants.get` and `watch`; a connection with 256 KiB unwritten is closed."""


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
    def policy(self) -> PolicyClaim | None:
        """None leaves the application's."""

    @property
    def room_grants(self) -> tuple[RoomGrant, ...]: ...
    @property
    def name(self) -> str | None: ...
    @property
    def avatar_url(self) -> str | None: ...


class SessionServices(Protocol):
    """What a session may ask of its node: quick, without I/O."""

    @property
    def limits(self) -> SessionLimits:
        """Timers and limits."""

    def verify(
        self, token: str, address: str, now: Now, *, session_id: str | None = None, opening: bool = False
    ) -> ClientToken:
        """The token, if it is good. session_id: of the open session that it is to refresh, whose own failures alone
        count then. opening: RateLimitedError where the node takes no more opens of the application that the token names
        in this second; before its signature is checked, which is what an open costs.

        Raises TokenInvalidError, TokenExpiredError, RateLimitedError (a bad one, after too many),
        ServiceUnavailableError (its issuer's keys are not here yet)."""

    @property
    def revoked_jtis(self) -> Container[tuple[str, str]]:
        """Application and jti of tokens that were revoked one by one, as far as it is known here."""

    def application(self, key: str) -> Application | None:
        """The application, disabled ones too; None where unknown or deleted."""

    def admit(self, app: str, participant: str, now: Now) -> None:
        """Counts one open for the application and the participant. participant: its id, or what else stands for it
        where it is anonymous. Raises RateLimitedError where either takes more than its share, or too many connections
        of the participant broke the protocol lately."""

    def check_resume(self, session_id: str, address: str, now: Now) -> None:
        """Raises RateLimitedError where too many resumes failed from this address, the session was resumed too often,
        or too many of its connections broke the protocol lately."""

    def note_resumed(self, session_id: str, now: Now) -> None:
        """The session was resumed."""

    def note_failed_resume(self, address: str, now: Now) -> None:
        """The engine refused a session's secret that came from this address."""

    def note_violation(self, key: str, now: Now) -> None:
        """A connection was closed for breaking the protocol. key: its participant, or its session."""

    def admit_join(self, app: str, participant_id: str, now: Now) -> None:
        """Counts a join of a room. Raises RateLimitedError where the participant joins too many (R12)."""

    def admit_invitations(self, app: str, inviter: str, count: int, now: Now) -> None:
        """Counts invitations. Raises RateLimitedError where the inviter sends too many (R9)."""

    def random_bytes(self, count: int) -> bytes:
        """For ids of sessions and rooms."""
