"""Holds the client access token, and decides when the app's refresh callback is called (platform.md, tokens; S5).

At 1/2 and 3/4 of the token's life ``refresh(False)``; at its end, or when the service says that the token is no longer
valid, ``refresh(True)``. One call at a time, never two within 5 s, and each may take 10 s.
"""

from __future__ import annotations

from enum import Enum

from greenroom.core.client.clock import ServiceClock
from greenroom.core.client.effects import (
    CancelTokenRequest,
    ClaimsView,
    ClientSettings,
    ClientTools,
    Effect,
    RequestToken,
)
from greenroom.errors import GreenroomError, TokenError, TokenInvalidError, TokenRefreshError

LEEWAY = 25.0
"""Seconds. The service waits 30; five of them are left for the way there."""
_FULL_SCHEDULE = 3
"""Refreshes in the life of a token: at 1/2, at 3/4, at the end."""


class TokenOrigin(Enum):
    """Whether the app gave the token, or its refresh callback returned it, and therefore just made it."""

    GIVEN = "given"
    CALLBACK = "callback"


class TokenManager:
    """The token, its schedule, and the refresh in flight. `due` and `run` are its timer."""

    def __init__(self, tools: ClientTools, settings: ClientSettings, clock: ServiceClock) -> None:
        self._tools = tools
        self._clock = clock
        self._settings = settings
        self.text: str | None = None
        self.claims: ClaimsView | None = None
        self.refreshable = False
        self.accepted: str | None = None
        """The token that the service accepted last. A resume carries a token only if it is another one."""
        self._expires = 0.0  # service time
        self._refused = False
        self._schedule: list[tuple[float, bool]] = []  # (service time, is_expired), ascending
        self._wanted: bool | None = None
        self._number = 0
        self._in_flight: RequestToken | None = None
        self._requested_at: float | None = None

    @property
    def initialized(self) -> bool:
        return self.text is not None or self.refreshable

    def is_usable(self) -> bool:
        """Whether there is a token that has not expired, as far as is known."""
        return self.text is not None and not self._refused and self._clock.time < self._expires

    def may_be_tried(self) -> bool:
        """Whether a dial may carry the token. Without a refresh callback the service judges whether it has expired: the
        device's clock may be wrong."""
        return self.is_usable() or (self.text is not None and not self._refused and not self.refreshable)

    def _is_known_to_have_expired(self) -> bool:
        return self._refused or (self._clock.is_known and not self.is_usable())

    def in_leeway(self) -> bool:
        """Whether the service still accepts a new token in place of this one: for 30 s after its end (S5)."""
        return self._clock.time < self._expires + LEEWAY

    def check(self, answer: object, origin: TokenOrigin) -> tuple[str, ClaimsView]:
        """The token and its claims. Raises TokenRefreshError, or TokenInvalidError, which says what it found."""
        if not isinstance(answer, str):
            raise _not_a_string(answer, origin)
        text = answer.strip()
        _check_pasted(text)
        claims = self._tools.peek(text)
        if self.claims is not None:
            self._check_identity(self.claims, claims)
        return text, claims

    @staticmethod
    def _check_identity(old: ClaimsView, new: ClaimsView) -> None:
        for claim, before, after in (
            ("app (or iss)", old.app, new.app),
            ("xid (the external id; or sub)", old.external_id, new.external_id),
        ):
            if before != after:
                raise TokenInvalidError(
                    f"The new token's claim {claim} differs from the old one's.",
                    hint="Return a token for the same participant of the same application.",
                )

    def adopt(self, text: str, claims: ClaimsView, origin: TokenOrigin) -> None:
        """Use this token from now on, and schedule its refreshes."""
        self.text, self.claims, self._wanted, self._refused = text, claims, None, False
        self._make_schedule(just_issued=origin is TokenOrigin.CALLBACK)

    def clock_learned(self) -> None:
        """The service accepted the token, and may have sent its time: schedule the refreshes again."""
        if self.claims is not None and not self._refused:
            self._make_schedule(just_issued=True)

    def _make_schedule(self, *, just_issued: bool) -> None:
        assert self.claims is not None
        issued_at, expires_at, now = self.claims.issued_at, self.claims.expires_at, self._clock.time
        life = max(0, expires_at - issued_at)
        # A token that is valid and looks expired, or not yet issued, means that the device's clock is wrong: also one
        # that was known, and was set since.
        looks_wrong = just_issued and not issued_at <= now < expires_at
        start = now if looks_wrong else float(issued_at)
        self._expires = start + life
        schedule = [(start + life / 2, False), (start + life * 3 / 4, False), (self._expires, True)]
        self._schedule = [one for one in schedule if one[0] > now or one[1]]

    def forget_identity(self) -> None:
        """The next token may be for another participant: the app initialises again."""
        self.claims = None

    def request_refresh(self, *, is_expired: bool) -> None:
        """A refresh is needed. It joins the one in flight, if there is one."""
        if self.refreshable and self._in_flight is None:
            self._wanted = bool(self._wanted) or is_expired

    def expiry_notice(self) -> None:
        """The service said that the token ends soon. Ignored unless this clock is so far behind that none of the
        scheduled refreshes has happened yet."""
        if len(self._schedule) == _FULL_SCHEDULE:
            self.request_refresh(is_expired=False)

    def expire(self) -> None:
        """The service said that the token is no longer valid."""
        self._refused = True
        self._schedule = []
        self.request_refresh(is_expired=True)

    def due(self, now: float, *, live: bool) -> float | None:
        """When `run` has something to do. live: a connection carries the session, so that the schedule counts."""
        if self._in_flight is not None:
            assert self._requested_at is not None
            return self._requested_at + self._settings.refresh_timeout
        if self._wanted is not None:
            return now if self._requested_at is None else max(now, self._requested_at + self._settings.refresh_gap)
        if live and self._schedule and self.refreshable:
            return now + max(0.0, self._schedule[0][0] - self._clock.time)
        return None

    def run(self, now: float, *, live: bool) -> tuple[list[Effect], TokenError | None, bool]:
        """The effects; and where the refresh in flight timed out, its error and whether the token had expired."""
        request = self._in_flight
        if request is not None:
            assert self._requested_at is not None
            if now < self._requested_at + self._settings.refresh_timeout:
                return [], None, False
            self._in_flight = None
            limit = f"{self._settings.refresh_timeout:g}"
            error = TokenRefreshError(f"The refresh callback took more than {limit} s.")
            return [CancelTokenRequest(request.number)], error, request.is_expired
        while live and self.refreshable and self._schedule and self._schedule[0][0] <= self._clock.time:
            self.request_refresh(is_expired=self._schedule.pop(0)[1])
        due = self.due(now, live=live)
        if self._wanted is None or due is None or due > now:
            return [], None, False
        self._number += 1
        self._in_flight = RequestToken(self._number, self._wanted)
        self._wanted, self._requested_at = None, now
        return [self._in_flight], None, False

    def answer(self, number: int, answer: object) -> tuple[GreenroomError | None, bool] | None:
        """Take the callback's result. Returns the error or None, and whether the token had expired; None for a late
        result."""
        request = self._in_flight
        if request is None or request.number != number:
            return None
        self._in_flight = None
        if isinstance(answer, GreenroomError):
            return answer, request.is_expired
        if isinstance(answer, BaseException):
            error = TokenRefreshError(
                f"The refresh callback raised {type(answer).__name__}: {answer}".rstrip(": ") + ".",
                hint="Correct the refresh callback.",
            )
            error.__cause__ = answer
            return error, request.is_expired
        try:
            text, claims = self.check(answer, TokenOrigin.CALLBACK)
        except GreenroomError as error:
            return error, request.is_expired
        if text != self.text:
            self.adopt(text, claims, TokenOrigin.CALLBACK)
        elif request.is_expired and self._is_known_to_have_expired():
            return TokenRefreshError("The refresh callback returned the token that has expired."), True
        elif request.is_expired:
            self._make_schedule(just_issued=True)  # the device's clock is wrong: the service decides
        return None, request.is_expired

    def cancel(self) -> list[Effect]:
        """The session is over: no refresh is needed. The token is kept."""
        request, self._in_flight, self._wanted = self._in_flight, None, None
        return [] if request is None else [CancelTokenRequest(request.number)]


def _not_a_string(answer: object, origin: TokenOrigin) -> TokenError:
    given = type(answer).__name__
    if origin is TokenOrigin.GIVEN:
        remedy = "await it first" if hasattr(answer, "__await__") else "pass the access_token alone"
        return TokenInvalidError(f"The token is of type {given}, not a string: {remedy}.", hint="")
    if answer is None:
        missing = "The refresh callback returned None. Is its return statement missing?"
        return TokenRefreshError(missing, hint="Return the new access_token.")
    wrong = f"The refresh callback returned {given}, not a string."
    return TokenRefreshError(wrong, hint="Return the access_token alone.")


def _check_pasted(text: str) -> None:
    """Raises TokenInvalidError for what people paste around a token."""
    if text[:1] in ("'", '"'):
        raise TokenInvalidError(f"The token begins with {text[0]}: pass it without quotes.", hint="")
    if text[:7].lower() == "bearer ":
        raise TokenInvalidError("The token begins with Bearer: pass the part after it.", hint="")
    if text[:1] in ("{", "["):
        raise TokenInvalidError("The token is JSON: pass its access_token alone.", hint="")
