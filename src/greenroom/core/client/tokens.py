"""The one place that holds the client access token, and when it is refreshed (platform.md, tokens; S5).

At 1/2 and 3/4 of its life ``refresh(False)``; at its end, or when the service says that it is no longer good,
``refresh(True)``. One call in flight, never two within 5 s, 10 s limit each.
"""

from __future__ import annotations

from enum import Enum

from greenroom.core.client.effects import AskToken, ClientSettings, ClientTools, DropAsk, Effect, Glance
from greenroom.errors import GreenroomError, TokenError, TokenInvalidError, TokenRefreshError

_LEEWAY = 25.0
"""Seconds; 5 fewer than the service's, for the way there."""
_MARKS = 3
"""Of a whole schedule: at 1/2, at 3/4, at the end."""


class Origin(Enum):
    """Where a token came from: given by the app, or just made by its refresh callback."""

    GIVEN = "given"
    CALLBACK = "callback"


class TokenKeeper:
    """Token, schedule and the one refresh in flight. `due` and `run` are the machine's timer."""

    def __init__(self, tools: ClientTools, settings: ClientSettings) -> None:
        self._tools = tools
        self._settings = settings
        self.text: str | None = None
        self.glance: Glance | None = None
        self.refreshable = False
        self.accepted: str | None = None
        """What the service has taken last; a resume carries another one only."""
        self._expires = 0.0  # wall
        self._marks: list[tuple[float, bool]] = []  # (wall, is_expired), ascending
        self._wanted: bool | None = None
        self._number = 0
        self._asking: AskToken | None = None
        self._asked_at: float | None = None

    @property
    def initialized(self) -> bool:
        return self.text is not None or self.refreshable

    @property
    def asking(self) -> bool:
        """Whether a refresh is in flight or about to be."""
        return self._asking is not None or self._wanted is not None

    def usable(self) -> bool:
        """Whether there is a token whose life is not over."""
        return self.text is not None and self._tools.wall() < self._expires

    def in_leeway(self) -> bool:
        """Whether the service still takes a new token for this one: it waits 30 s after its end (S5)."""
        return self._tools.wall() < self._expires + _LEEWAY

    def check(self, answer: object) -> tuple[str, Glance]:
        """A token to adopt. Raises TokenRefreshError or TokenInvalidError, which name the claim."""
        if answer is None:
            raise TokenRefreshError(
                "The refresh callback returned None; did it forget its return?", hint="Return the new access_token."
            )
        if not isinstance(answer, str):
            raise TokenRefreshError(
                f"The refresh callback returned {type(answer).__name__}, not a string.",
                hint="Return the access_token alone.",
            )
        glance = self._tools.peek(answer)
        if self.glance is not None:
            self._check_identity(self.glance, glance)
        return answer, glance

    @staticmethod
    def _check_identity(old: Glance, new: Glance) -> None:
        for claim, before, after in (
            ("app", old.app, new.app),
            ("xid (the external id)", old.external_id, new.external_id),
        ):
            if before != after:
                raise TokenInvalidError(
                    f"The new token's claim {claim} is not the old one's.",
                    hint="Return a token for the same participant of the same application.",
                )

    def adopt(self, text: str, glance: Glance, origin: Origin) -> None:
        """Hold this token from now on, and plan its refreshes."""
        self.text, self.glance, self._wanted = text, glance, None
        wall = self._tools.wall()
        life = max(0, glance.expires_at - glance.issued_at)
        start = float(glance.issued_at)
        # A token made this moment that looks spent, or not yet issued, says that this clock is wrong, not the token.
        if origin is Origin.CALLBACK and not glance.issued_at <= wall < glance.expires_at:
            start = wall
        self._expires = start + life
        marks = [(start + life / 2, False), (start + life * 3 / 4, False), (self._expires, True)]
        self._marks = [mark for mark in marks if mark[0] > wall or mark[1]]

    def forget_identity(self) -> None:
        """The next token may be for anybody: the app initialises anew."""
        self.glance = None

    def want(self, *, is_expired: bool) -> None:
        """A refresh is needed. Joined to the one in flight, if any."""
        if self.refreshable and self._asking is None:
            self._wanted = bool(self._wanted) or is_expired

    def warned(self) -> None:
        """The service said that the token ends soon. News only where this clock is so far behind that no mark of the
        schedule has come yet; else one more call would be one too many."""
        if len(self._marks) == _MARKS:
            self.want(is_expired=False)

    def spend(self) -> None:
        """The service said that the token is no longer good."""
        self._expires = min(self._expires, self._tools.wall())
        self._marks = []
        self.want(is_expired=True)

    def due(self, now: float, wall: float, *, live: bool) -> float | None:
        """When `run` has something to do; live: whether the schedule counts (a connection carries the session).

        now and wall: the same instant on both clocks.
        """
        if self._asking is not None:
            assert self._asked_at is not None
            return self._asked_at + self._settings.ask_limit
        if self._wanted is not None:
            return now if self._asked_at is None else max(now, self._asked_at + self._settings.ask_gap)
        if live and self._marks and self.refreshable:
            return now + max(0.0, self._marks[0][0] - wall)
        return None

    def run(self, now: float, *, live: bool) -> tuple[list[Effect], TokenError | None, bool]:
        """Effects; and where the refresh in flight took too long, its error and whether it was for a spent token."""
        asking = self._asking
        if asking is not None:
            assert self._asked_at is not None
            if now < self._asked_at + self._settings.ask_limit:
                return [], None, False
            self._asking = None
            limit = f"{self._settings.ask_limit:g}"
            error = TokenRefreshError(f"The refresh callback took more than {limit} s.")
            return [DropAsk(asking.number)], error, asking.is_expired
        wall = self._tools.wall()
        while live and self.refreshable and self._marks and self._marks[0][0] <= wall:
            self.want(is_expired=self._marks.pop(0)[1])
        due = self.due(now, wall, live=live)
        if self._wanted is None or due is None or due > now:
            return [], None, False
        self._number += 1
        self._asking = AskToken(self._number, self._wanted)
        self._wanted, self._asked_at = None, now
        return [self._asking], None, False

    def answer(self, number: int, answer: object) -> tuple[GreenroomError | None, bool] | None:
        """Take the callback's answer: (error or None, whether asked for a spent token); None for a late one."""
        asking = self._asking
        if asking is None or asking.number != number:
            return None
        self._asking = None
        if isinstance(answer, GreenroomError):
            return answer, asking.is_expired
        if isinstance(answer, BaseException):
            error = TokenRefreshError(f"The refresh callback raised {type(answer).__name__}.")
            error.__cause__ = answer
            return error, asking.is_expired
        try:
            text, glance = self.check(answer)
        except GreenroomError as error:
            return error, asking.is_expired
        if text != self.text:
            self.adopt(text, glance, Origin.CALLBACK)
        elif asking.is_expired and not self.usable():
            return TokenRefreshError("The refresh callback returned the token that is spent."), True
        return None, asking.is_expired

    def give_up(self) -> list[Effect]:
        """Nothing is waited for any more (the session is closed); the token is kept."""
        asking, self._asking, self._wanted = self._asking, None, None
        return [] if asking is None else [DropAsk(asking.number)]
