"""The connections' side of the client's machine: what they bring in, and their timers."""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.client.effects import (
    Send,
)
from greenroom.core.client.links import Link, Phase
from greenroom.core.client.turns import ClientTurns
from greenroom.errors import (
    GreenroomError,
    ProtocolError,
    ServiceUnavailableError,
)
from greenroom.messages import (
    Incoming,
    MoveOn,
    NoParams,
    decode_incoming,
    decode_notification,
    encode_request,
)
from greenroom.messages import (
    ParticipantsChanged as WireChanged,
)
from greenroom.messages import (
    SessionEnded as WireEnded,
)


class ClientWire(ClientTurns):
    """Inputs of the shell. The app's side is `greenroom.core.client.ClientSession`."""

    # -- inputs of the shell ---------------------------------------------------------------------------------------

    def dialed(self, now: float, attempt: int) -> None:
        """The connection of this attempt is there."""
        self._wake_up(now)
        farewell = self._farewells.of(attempt)
        link = self._links.get(attempt)
        if farewell is not None and farewell.link is not None and farewell.link.phase is Phase.DIALING:
            self._emit(*self._farewells.dialed(farewell))
        elif link is not None and link.phase is Phase.DIALING:
            self._hello(link)
        self._settle(now)

    def dial_failed(self, now: float, attempt: int, error: GreenroomError, retry_after: float | None = None) -> None:
        """There is no connection. An error that is not retryable ends an open, never an open session.

        retry_after: seconds, where the service said so (HTTP 503).
        """
        self._wake_up(now)
        farewell = self._farewells.of(attempt)
        if farewell is not None:
            self._emit(*self._farewells.lost(now, farewell, CloseCode.ABNORMAL))
        elif self._links.pop(attempt, None) is not None:
            if self._opening is not None and not self._opening.is_reopen and not error.retryable:
                self._open_failed(now, error)
            else:
                self._attempt_failed(now, error, retry_after)
        self._settle(now)

    def lost(self, now: float, attempt: int, code: int, reason: str = "") -> None:
        """The connection is gone. code: of the Close frame, 1006 where there was none."""
        self._wake_up(now)
        farewell = self._farewells.of(attempt)
        link = self._links.pop(attempt, None)
        if farewell is not None:
            self._emit(*self._farewells.lost(now, farewell, code))
        elif link is not None and link.phase is Phase.LIVE:
            self._live_lost(now, link, code, reason)
        elif link is not None:
            self._candidate_lost(now, code, reason)
        self._settle(now)

    def message(self, now: float, attempt: int, data: bytes | str) -> None:
        """A text message came."""
        self._wake_up(now)
        farewell = self._farewells.of(attempt)
        link = self._links.get(attempt)
        try:
            if farewell is not None:
                incoming = decode_incoming(data)
                error = None if incoming.error is None else incoming.error.to_error()
                self._emit(*self._farewells.answered(now, farewell, incoming.id, error))
            elif link is not None:
                self._incoming(now, link, decode_incoming(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            self._broken(now, link, problem)
        self._settle(now)

    def _broken(self, now: float, link: Link | None, problem: Exception) -> None:
        """A message that is none of ours: the connection cannot be trusted, the session goes on."""
        if link is None or link.attempt not in self._links:
            return
        self._hang_up(link)
        error = ProtocolError(f"The service sent a message that this SDK cannot read: {type(problem).__name__}.")
        if link.phase is Phase.LIVE:
            self._live_lost(now, link, CloseCode.COME_BACK, "")
        elif self._opening is not None and not self._opening.is_reopen:
            self._open_failed(now, error)
        else:
            self._attempt_failed(now, error)

    def _incoming(self, now: float, link: Link, incoming: Incoming) -> None:
        if incoming.method is not None:
            if link.phase is Phase.LIVE:
                self._notified(now, incoming.method, decode_notification(incoming.method, incoming.params))
        elif link.phase is Phase.HELLO and incoming.id == link.hello_id:
            self._hello_answered(now, link, incoming)
        elif link.phase is Phase.LIVE and incoming.id == link.ping_id and incoming.id is not None:
            link.ponged()
        elif link.phase is Phase.LIVE and incoming.id is not None:
            request = self._requests.take(incoming.id)
            if request is not None:
                self._answered(now, request, incoming)

    def _notified(self, now: float, method: str, params: object) -> None:
        if isinstance(params, WireChanged):
            self._tell_changed(self._watches.notify(params.participants))
            for wire in params.participants:
                self._own(wire)
        elif isinstance(params, WireEnded):
            self._service_ended(now, params)
        elif isinstance(params, MoveOn):
            self._move_on(now, params)
        elif method == "session.stay":
            self._stay()
        elif method == "session.tokenExpiring" and self._tokens.text == self._tokens.accepted:
            self._tokens.warned()

    def _run_links(self, now: float) -> None:
        for link in list(self._links.values()):
            if link.limit is not None and link.limit <= now:
                self._hang_up(link)
                self._attempt_failed(now, ServiceUnavailableError("The service did not answer in time."))
            elif link.slept(now):
                self._ping(now, link)
            elif link.pong_until is not None and link.pong_until <= now:
                self._hang_up(link)
                self._live_lost(now, link, CloseCode.HEARTBEAT, "")

    def _run_heartbeat(self, now: float) -> None:
        live = self._live_link()
        if live is not None and live.ping_due is not None and live.ping_due <= now and live.pong_until is None:
            self._ping(now, live)

    def _ping(self, now: float, live: Link) -> None:
        ping_id = self._requests.new_id()
        live.pinged(now, ping_id, self._settings)
        self._emit(Send(live.attempt, encode_request(ping_id, "ping", NoParams())))
