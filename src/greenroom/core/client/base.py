"""What all of the client's machine stands on: its state, its one door for transitions, its links, and the end.

`ClientBase` < `ClientTraffic` (answers) < `ClientTurns` (hello, refusals, losses) < `ClientWire` (what connections
bring in, timers) < `ClientSession` (what the app asks for)."""

from __future__ import annotations

from greenroom.codes import CloseCode
from greenroom.core.client.effects import (
    ClientSettings,
    ClientTools,
    Dial,
    Effect,
    Hangup,
    Reject,
    SessionEnded,
    StateChanged,
    Tell,
)
from greenroom.core.client.farewell import Farewells
from greenroom.core.client.links import Dialer, Link, Phase
from greenroom.core.client.opening import Opening, Session
from greenroom.core.client.requests import Requests
from greenroom.core.client.tokens import TokenKeeper
from greenroom.core.client.watches import Watches
from greenroom.core.states import CLIENT_TRANSITIONS, ClientEvent, SessionState, step
from greenroom.errors import (
    GreenroomError,
    SessionEndedError,
)
from greenroom.messages import (
    Device,
)


class ClientBase:
    """State. The public class is `greenroom.core.client.ClientSession`."""

    def __init__(self, tools: ClientTools, settings: ClientSettings | None = None) -> None:
        self.state = SessionState.DISCONNECTED
        self._tools = tools
        self._settings = settings or ClientSettings()
        self._out: list[Effect] = []
        self._tokens = TokenKeeper(tools, self._settings)
        self._requests = Requests(self._settings)
        self._watches = Watches()
        self._farewells = Farewells(tools, self._settings, self._requests)
        self._dialer = Dialer(tools)
        self._links: dict[int, Link] = {}
        self._next_attempt = 1
        self._opening: Opening | None = None
        self._session: Session | None = None
        self._waiting_for_token = False
        self._offline = False
        self._retry_floor = float("-inf")
        self._seen: tuple[float, float] | None = None
        self._sent_token: str | None = None

    def _emit(self, *effects: Effect) -> None:
        self._out += effects

    def _apply(self, event: ClientEvent) -> None:
        """The one door through which the state changes."""
        state = step(CLIENT_TRANSITIONS, self.state, event)
        if state is not None and state is not self.state:
            self.state = state
            self._emit(StateChanged(state))

    def _settle(self, now: float) -> None:
        raise NotImplementedError

    def _wake_up(self, now: float) -> None:
        raise NotImplementedError

    # -- links ---------------------------------------------------------------------------------------------------

    def _live_link(self) -> Link | None:
        return next((link for link in self._links.values() if link.phase is Phase.LIVE), None)

    def _candidate_link(self) -> Link | None:
        return next((one for one in self._links.values() if one.phase in (Phase.DIALING, Phase.HELLO)), None)

    def _hang_up(self, link: Link, code: CloseCode = CloseCode.COME_BACK) -> None:
        """Only `close` sends 1000; every other connection is dropped with 4000 (S6)."""
        if self._links.pop(link.attempt, None) is not None:
            self._emit(Hangup(link.attempt, code))

    def _dial_due(self) -> float | None:
        if self._offline or self._waiting_for_token or self._candidate_link() is not None:
            return None
        return self._dialer.due if self._opening is not None or self._session is not None else None

    def _dial(self, now: float) -> None:
        attempt, self._next_attempt = self._next_attempt, self._next_attempt + 1
        self._links[attempt] = Link(attempt, Phase.DIALING, now + self._settings.attempt_limit, since=now)
        self._emit(Dial(attempt))

    def _flush(self) -> None:
        live = self._live_link()
        if live is not None:
            self._emit(*self._requests.flush(live.attempt))

    # -- the end ---------------------------------------------------------------------------------------------------

    def _ended(
        self,
        now: float,
        reason: str,
        message: str,
        *,
        by: Device | None = None,
        error: GreenroomError | None = None,
        session: Session | None = None,
    ) -> None:
        """For good, and not by `close`."""
        had = self._session or session
        for link in list(self._links.values()):
            self._hang_up(link)
        ending = SessionEndedError(message or None, end_reason=reason)
        if self._opening is not None:
            self._emit(*(Reject(waiter, error or ending) for waiter in self._opening.waiters))
        self._forget(now, ending)
        self._apply(ClientEvent.ENDED)
        if had is not None:
            self._emit(Tell(SessionEnded(reason, message, by, error or ending)))

    def _forget(self, now: float, error: GreenroomError) -> None:
        """After close or an end nothing is left but the token."""
        self._emit(*self._requests.reject_all(error), *self._tokens.give_up())
        self._opening = self._session = None
        self._links.clear()
        self._watches.clear()
        self._dialer.stop()
        self._tokens.accepted, self._waiting_for_token, self._retry_floor = None, False, float("-inf")
