"""What sessions may ask of their node: tokens, applications, and whether one more may come."""

from __future__ import annotations

import os
from collections.abc import Callable

from greenroom.core.rate_limit import KeyedBuckets, TokenBucket
from greenroom.core.server.services import Now, SessionLimits
from greenroom.errors import GreenroomError, RateLimitedError, TokenInvalidError
from greenroom.model import Application
from greenroom.server.tenants.applications import Tenants
from greenroom.server.wire.addresses import Limits
from greenroom.tokens import TokenKind, VerifiedToken, peek, verify


class Admission:
    """Implements `core.server.services.SessionServices`.

    opens_per_second: of the node, with a burst of the same number. failed_auth: bad tokens a minute for each
    application and address; trusted proxies are exempt. protocol_violations: connections a minute, of a participant or
    a session, that may be closed for breaking the protocol; above it the next `open` or `resume` is refused. now:
    monotonic seconds at start.
    """

    def __init__(
        self,
        tenants: Tenants,
        *,
        issuer: str,
        session_limits: SessionLimits,
        limits: Limits,
        opens_per_second: float,
        failed_auth: float,
        protocol_violations: float,
        now: float,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.limits = session_limits
        self.random_bytes = random_bytes
        self.application: Callable[[str], Application | None] = tenants.get
        self._tenants = tenants
        self._issuer = issuer
        self._addresses = limits
        self._opens = TokenBucket(opens_per_second, max(1.0, opens_per_second), now)
        self._failed = KeyedBuckets(failed_auth / 60, failed_auth)
        self._violations = KeyedBuckets(protocol_violations / 60, protocol_violations)

    def verify(self, token: str, address: str, now: Now) -> VerifiedToken:
        """See `SessionServices.verify`."""
        if len(self._failed):
            self._check_failed(token, address, now)
        try:
            found = verify(
                token,
                self._tenants.ring,
                kind=TokenKind.CLIENT,
                issuer=self._issuer,
                now=now.wall,
                minted=self._tenants.minted,
            )
        except TokenInvalidError:
            if not self._addresses.is_trusted(address):
                self._failed.take(self._attempt(token, address), now.mono)
            raise
        refusal = self._tenants.revocations.refusal(found)
        if refusal is not None:
            raise refusal
        return found

    def _check_failed(self, token: str, address: str, now: Now) -> None:
        wait = self._failed.wait(self._attempt(token, address), now.mono)
        if wait > 0:
            raise RateLimitedError(
                "Too many bad tokens came from this address.",
                hint=f"Wait {int(wait) + 1} s, then use a good one.",
                retry_after=wait,
            )

    def check_room(self, now: Now) -> None:
        """See `SessionServices.check_room`."""
        if self._opens.level(now.mono) < 1.0:
            raise _no_room()

    def admit(self, participant_id: str, now: Now) -> None:
        """See `SessionServices.admit`."""
        self.check_violations(participant_id, now)
        if not self._opens.take(now.mono):
            raise _no_room()

    def note_violation(self, key: str, now: Now) -> None:
        """See `SessionServices.note_violation`."""
        self._violations.take(key, now.mono)

    def check_violations(self, key: str, now: Now) -> None:
        """See `SessionServices.check_violations`."""
        wait = self._violations.wait(key, now.mono)
        if wait > 0:
            raise RateLimitedError(
                "Too many connections were closed for breaking the protocol.",
                hint="Correct the client: the close code of each said what was wrong.",
                retry_after=wait,
            )

    def _attempt(self, token: str, address: str) -> str:
        """What a sign-in counts under: the application that the token says it is of, where there is such a one, and the
        address. Names that are made up count as one, or making them up would be a way around."""
        try:
            app = peek(token).app
        except GreenroomError:
            app = ""
        return f"{app if self.application(app) is not None else ''}\n{address}"


def _no_room() -> RateLimitedError:
    # The SDK adds a random part: a crowd that came in one second is spread over those it takes to let it in.
    return RateLimitedError("The node takes no more opens in this second.", retry_after=1.0)
