"""When a session's token ends, and what is due before and after (S5). All instants are Unix seconds."""

from __future__ import annotations

from enum import Enum
from math import inf

_WARNED_OF_LIFE = 0.25
"""No warning before the last quarter of a token's life: SDKs would have refreshed it by then."""


class TokenDue(Enum):
    """What `TokenClock.tick` found."""

    NOTHING = "nothing"
    WARNING = "warning"
    """Notify the client, once for each token, that it ends soon."""
    EXPIRED = "expired"
    """It has ended: only a refresh is served from now on."""
    OVER = "over"
    """Nor was it refreshed in the grace that follows: end the session."""


class TokenClock:
    """Starts without a token. warning, grace: seconds, as in `SessionLimits`."""

    __slots__ = (
        "_ends_at",
        "_grace",
        "_granted_for",
        "_warn_at",
        "_warned_for",
        "_warning",
        "due",
        "expires_at",
        "issued_at",
    )

    def __init__(self, warning: float, grace: float) -> None:
        self._warning = warning
        self._grace = grace
        self._warned_for = self._granted_for = 0
        self._ends_at = self._warn_at = inf
        self.issued_at = self.expires_at = 0
        self.due = inf
        """When to `tick`."""

    def start(self, issued_at: int, expires_at: int, grace_since: float | None = None) -> None:
        """This token counts from now on. grace_since: from when its grace counts where the session was resumed after
        its end; there is one for each token, however often the session is resumed."""
        self.issued_at, self.expires_at = issued_at, expires_at
        if grace_since is not None:
            self._granted_for = expires_at
        self._ends_at = (expires_at if grace_since is None else grace_since) + self._grace
        self._warn_at = expires_at - min(self._warning, max(0, expires_at - issued_at) * _WARNED_OF_LIFE)
        self.due = float(expires_at) if self._warned_for == expires_at else self._warn_at

    def tick(self, now: float, *, expired: bool) -> TokenDue:
        """What is due, one thing a call: call it until it is NOTHING or OVER. expired: whether the session knows of the
        end."""
        if expired:
            self.due = self._ends_at
            return TokenDue.OVER if now >= self._ends_at else TokenDue.NOTHING
        if self._warned_for != self.expires_at and now >= self._warn_at:
            self._warned_for, self.due = self.expires_at, float(self.expires_at)
            return TokenDue.WARNING
        if now < self.expires_at:
            return TokenDue.NOTHING
        if self._granted_for != self.expires_at:
            # A node that slept, or was fenced, over the token's end gives its clients their time all the same: once.
            self._granted_for = self.expires_at
            self._ends_at = max(self._ends_at, now + self._grace)
        self.due = self._ends_at
        return TokenDue.EXPIRED
