"""What sessions may ask of their node: tokens, applications, and whether one more may be opened or resumed.

Credentials are checked first, and only failures are counted: a good token is never refused because of another client's
bad ones. What it costs to check bad ones is bounded for each address. Each open counts for its application and for its
participant, so that neither can take what others need.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from greenroom.core.rate_limit import KeyedBuckets, KeyedLimits, SharedBudget
from greenroom.core.server.services import Now, SessionLimits
from greenroom.errors import (
    GreenroomError,
    IllegalArgumentError,
    RateLimitedError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.server.tenants.applications import Tenants
from greenroom.server.wire.addresses import Limits
from greenroom.tokens import TokenKind, VerifiedToken, peek, verify

PARTICIPANT_SHARE = 0.1
"""Of the opens that a node takes in a second, at most, for one participant."""
POOL_BYTES = 4_096
JOINS_PER_MINUTE, JOINS_BURST = 30.0, 160.0
"""Of rooms, by one participant (R12): ten sessions of it that come back join their 16 rooms each."""
INVITATIONS_PER_MINUTE = 30.0
"""By one participant, with a burst of the same number (R9)."""
CHECKS_PER_SECOND, CHECKS_BURST = 200.0, 2_000.0
"""Bad signatures of one address that are looked at: some 2 % of a core."""


class Admission:
    """Implements `core.server.services.SessionServices`.

    opens_per_second: of the node, with a burst of the same number. opens_per_participant: a minute, with a burst of the
    same number; and as many resumes of one session. failed_auth: bad tokens a minute for each application and address,
    after which more of them have to wait. failed_resumes: a minute for each address, with a burst of the same number.
    Trusted proxies are exempt from both. protocol_violations: connections a minute, of a participant or a session, that
    may be closed for breaking the protocol; above it the next `open` or `resume` is refused. now: monotonic seconds at
    start.
    """

    def __init__(
        self,
        tenants: Tenants,
        *,
        issuer: str,
        session_limits: SessionLimits,
        limits: Limits,
        opens_per_second: float,
        opens_per_participant: float,
        failed_auth: float,
        failed_resumes: float,
        protocol_violations: float,
        now: float,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.limits = session_limits
        self._draw = random_bytes
        self._pool, self._pool_at = b"", 0
        self._tenants = tenants
        self._revocations = tenants.revocations
        self._issuer = issuer
        self._addresses = limits
        self._opens = SharedBudget(opens_per_second, now)
        share = opens_per_second * PARTICIPANT_SHARE
        self._participants = KeyedLimits((opens_per_participant / 60, opens_per_participant), (share, max(1.0, share)))
        self._resumes = KeyedBuckets(opens_per_participant / 60, opens_per_participant)
        self._failed = KeyedBuckets(failed_auth / 60, failed_auth)
        self._checks = KeyedBuckets(CHECKS_PER_SECOND, CHECKS_BURST)
        self._failed_resumes = KeyedBuckets(failed_resumes / 60, failed_resumes)
        self._violations = KeyedBuckets(protocol_violations / 60, protocol_violations)
        self._joins = KeyedBuckets(JOINS_PER_MINUTE / 60, JOINS_BURST)
        self._invitations = KeyedBuckets(INVITATIONS_PER_MINUTE / 60, INVITATIONS_PER_MINUTE)
        self._full = False
        self.revoked_jtis = tenants.revocations.revoked_jtis
        """See `SessionServices.revoked_jtis`."""
        self.application = tenants.get
        """See `SessionServices.application`."""

    # -- tokens -------------------------------------------------------------------------------------------------------

    def verify(
        self, token: str, address: str, now: Now, *, session_id: str | None = None, opening: bool = False
    ) -> VerifiedToken:
        """See `SessionServices.verify`."""
        if opening and self._full:
            self._check_room(token, now)
        source = address if session_id is None else session_id
        if source in self._checks.buckets and not self._is_exempt(address, session_id):
            self._check_source(source, now)
        try:
            found = verify(
                token,
                self._tenants.keys.ring,
                kind=TokenKind.CLIENT,
                issuer=self._issuer,
                now=now.wall,
                minted=self._tenants.minted,
            )
        except TokenInvalidError as error:
            found = self._of_issuer(token, error, "" if self._is_exempt(address, session_id) else source, now)
        if (found.app, found.jti) in self.revoked_jtis:
            raise self._revocations.refusal(found)
        return found

    def _check_source(self, source: str, now: Now) -> None:
        wait = self._checks.wait(source, now.mono)
        if wait > 0:
            raise RateLimitedError("Too many bad tokens came from this address.", retry_after=max(1.0, wait))

    def _is_exempt(self, address: str, session_id: str | None) -> bool:
        return session_id is None and self._addresses.is_trusted(address)

    def _of_issuer(self, token: str, error: TokenInvalidError, source: str, now: Now) -> VerifiedToken:
        """A token that is none of the service's: perhaps an application's own issuer made it. error: raised where it is
        not such a token either. source: what a bad one counts under; "" for nothing."""
        try:
            found = self._tenants.issuers.verify(token, now.wall)
        except TokenInvalidError as other:
            error, found = other, None
        except ServiceUnavailableError:
            if source:
                self._checks.take(source, now.mono)
            raise
        if found is not None:
            return found
        if source:
            self._note_failure(token, source, now)
        raise error

    def _note_failure(self, token: str, source: str, now: Now) -> None:
        """Counts a bad token. Raises RateLimitedError where there were too many."""
        self._checks.take(source, now.mono)
        key = self._attempt(token, source)
        if not self._failed.take(key, now.mono):
            wait = self._failed.wait(key, now.mono)
            raise RateLimitedError(
                "The token is not valid, and too many bad ones came from this address.",
                hint=f"Use a valid token, which is accepted at once; a bad one is checked again in {int(wait) + 1} s.",
                retry_after=wait,
            )

    def _attempt(self, token: str, source: str) -> str:
        """What a bad token counts under: the application that it says it is of, where there is such a one, and where it
        came from. Names that are made up count as one, or making them up would be a way around."""
        return f"{self._application_named(token) or ''}\n{source}"

    def _application_named(self, token: str) -> str | None:
        """The application that a token says it is of, where there is such a one."""
        try:
            app = peek(token).app
        except GreenroomError:
            return None
        return app if self._tenants.get(app) is not None else self._tenants.issuers.application_of(token)

    # -- random bytes -------------------------------------------------------------------------------------------------

    def random_bytes(self, count: int) -> bytes:
        """See `SessionServices.random_bytes`. None is given out twice. Drawn 4 KiB at a time: each draw is a call of
        the operating system, at which another thread may take over."""
        at = self._pool_at
        if at + count > len(self._pool):
            self._pool, at = self._draw(max(POOL_BYTES, count)), 0
        self._pool_at = at + count
        return self._pool[at : at + count]

    # -- opens and resumes --------------------------------------------------------------------------------------------

    def _check_room(self, token: str, now: Now) -> None:
        """Refuses before the signature is checked, which is what an open costs."""
        app = self._application_named(token)
        if app is None:
            return  # it will be refused for what it is
        if self._opens.is_full(app, now.mono):
            raise _no_room()
        self._full = False

    def admit(self, app: str, participant: str, now: Now) -> None:
        """See `SessionServices.admit`."""
        if participant in self._violations.buckets:
            self.check_violations(participant, now)
        key = f"{app}\n{participant}"
        wait = self._participants.take(key, now.mono)
        if wait > 0:
            raise RateLimitedError(
                "The participant opens too many sessions.",
                hint="Open one session and keep it; it resumes by itself.",
                retry_after=max(1.0, wait),
            )
        if not self._opens.take(app, now.mono):
            self._participants.put_back(key)
            self._full = True
            raise _no_room()

    def check_resume(self, session_id: str, address: str, now: Now) -> None:
        """See `SessionServices.check_resume`."""
        self.check_violations(session_id, now)
        wait = self._failed_resumes.wait(address, now.mono)
        if wait > 0:
            raise RateLimitedError("Too many resumes failed from this address.", retry_after=max(1.0, wait))
        wait = self._resumes.wait(session_id, now.mono)
        if wait > 0:
            raise RateLimitedError(
                "The session is resumed too often.",
                hint="Keep the connection; a new one is needed only when it is lost.",
                retry_after=max(1.0, wait),
            )

    def note_resumed(self, session_id: str, now: Now) -> None:
        """See `SessionServices.note_resumed`. Only what succeeds counts: an id is not a secret."""
        self._resumes.take(session_id, now.mono)

    def note_failed_resume(self, address: str, now: Now) -> None:
        """See `SessionServices.note_failed_resume`."""
        if not self._addresses.is_trusted(address):
            self._failed_resumes.take(address, now.mono)

    def note_violation(self, key: str, now: Now) -> None:
        """See `SessionServices.note_violation`."""
        self._violations.take(key, now.mono)

    def check_violations(self, key: str, now: Now) -> None:
        """See `SessionServices.check_violations`."""
        wait = self._violations.wait(key, now.mono)
        if wait > 0:
            raise RateLimitedError(
                "Too many connections were closed for protocol violations.",
                hint="Correct the client: the close code of each said what was wrong.",
                retry_after=wait,
            )

    # -- rooms --------------------------------------------------------------------------------------------------------

    def admit_join(self, app: str, participant_id: str, now: Now) -> None:
        """See `SessionServices.admit_join`."""
        key = f"{app}\n{participant_id}"
        if not self._joins.take(key, now.mono):
            raise RateLimitedError(
                "The participant joins rooms too often.",
                hint="Join a room once; a resumed session is still in it.",
                retry_after=max(1.0, self._joins.wait(key, now.mono)),
            )

    def admit_invitations(self, app: str, inviter: str, count: int, now: Now) -> None:
        """See `SessionServices.admit_invitations`."""
        key = f"{app}\n{inviter}"
        if not self._invitations.take(key, now.mono, count):
            most = int(INVITATIONS_PER_MINUTE)
            if count > most:
                raise IllegalArgumentError(f"More than {most} are invited.", hint="Invite fewer at a time.")
            raise RateLimitedError(
                "The participant invites too many.",
                hint=f"At most {most} a minute.",
                retry_after=max(1.0, self._invitations.wait(key, now.mono, count)),
            )


def _no_room() -> RateLimitedError:
    # The SDK adds a random part: it spreads clients that come in one second over the seconds that admitting them takes.
    return RateLimitedError("The node accepts no more opens in this second.", retry_after=1.0)
