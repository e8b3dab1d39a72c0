"""What connections bring in: dials that succeed or fail, messages, losses, and timeouts."""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.client.attempts import Attempt, Phase
from greenroom.core.client.effects import ClientSettings, SendText
from greenroom.core.client.lifecycle import Lifecycle
from greenroom.errors import GreenroomError, ProtocolError, ServiceUnavailableError
from greenroom.messages import (
    Incoming,
    MoveOn,
    NoParams,
    ParticipantsChanged,
    SessionEnded,
    decode_incoming,
    decode_notification,
    encode_request,
)


class Inbound:
    """Finds out which part of the machine an input is for. What no part waits for is ignored."""

    def __init__(self, settings: ClientSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._attempts = lifecycle.attempts
        self._closes = lifecycle.closes
        self._requests = lifecycle.requests
        self._output = lifecycle.output

    def dialed(self, number: int) -> None:
        closing, attempt = self._closes.of(number), self._attempts.get(number)
        if closing is not None:
            self._output.emit(*self._closes.dialed(closing))
        elif attempt is not None and attempt.phase is Phase.DIALING:
            self._lifecycle.send_hello(attempt)

    def dial_failed(self, now: float, number: int, error: GreenroomError, retry_after: float | None) -> None:
        closing = self._closes.of(number)
        if closing is not None:
            self._output.emit(*self._closes.lost(now, closing, CloseCode.ABNORMAL))
        elif self._attempts.pop(number) is not None:
            self._lifecycle.dial_failed(now, error, retry_after)

    def lost(self, now: float, number: int, code: int, reason: str) -> None:
        closing, attempt = self._closes.of(number), self._attempts.pop(number)
        if closing is not None:
            self._output.emit(*self._closes.lost(now, closing, code))
        elif attempt is not None and attempt.phase is Phase.LIVE:
            self._lifecycle.live_lost(now, attempt, code, reason)
        elif attempt is not None:
            self._lifecycle.candidate_lost(now, code, reason)

    def message(self, now: float, number: int, data: bytes | str) -> None:
        closing, attempt = self._closes.of(number), self._attempts.get(number)
        try:
            if closing is not None:
                incoming = decode_incoming(data)
                error = None if incoming.error is None else incoming.error.to_error()
                self._output.emit(*self._closes.answered(now, closing, incoming.id, error))
            elif attempt is not None:
                self._dispatch(now, attempt, decode_incoming(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            self._unreadable(now, attempt, problem)

    def _unreadable(self, now: float, attempt: Attempt | None, problem: Exception) -> None:
        """The connection cannot be trusted any more. The session continues."""
        if attempt is None or attempt not in self._attempts:
            return
        self._attempts.disconnect(attempt)
        if attempt.phase is Phase.LIVE:
            self._lifecycle.live_lost(now, attempt, CloseCode.COME_BACK, "")
            return
        error = ProtocolError(f"The service sent a message that this SDK cannot read: {type(problem).__name__}.")
        self._lifecycle.dial_failed(now, error)

    def _dispatch(self, now: float, attempt: Attempt, incoming: Incoming) -> None:
        if incoming.method is not None:
            if attempt.phase is Phase.LIVE:
                self._notified(now, incoming.method, decode_notification(incoming.method, incoming.params))
        elif attempt.phase is Phase.HELLO and incoming.id == attempt.hello_id:
            self._lifecycle.hello_answered(now, attempt, incoming)
        elif attempt.phase is Phase.LIVE and incoming.id is not None:
            if incoming.id == attempt.ping_id:
                attempt.pong_received()
                return
            request = self._requests.take(incoming.id)
            if request is None:
                return
            if self._lifecycle.replies.received(now, self._lifecycle.session, request, incoming):
                self._lifecycle.session_unknown(now, attempt)

    def _notified(self, now: float, method: str, params: object) -> None:
        lifecycle, replies, tokens = self._lifecycle, self._lifecycle.replies, self._lifecycle.tokens
        if isinstance(params, ParticipantsChanged):
            replies.changed(lifecycle.watches.update(params.participants))
            for wire in params.participants:
                replies.own_record(lifecycle.session, wire)
        elif isinstance(params, SessionEnded):
            lifecycle.ended_by_service(now, params)
        elif isinstance(params, MoveOn):
            lifecycle.move_on(now, params)
        elif method == "session.stay":
            lifecycle.stay()
        elif method == "session.tokenExpiring" and tokens.text == tokens.accepted:
            tokens.expiry_notice()
        elif method.startswith("rooms."):
            lifecycle.rooms.notified(params)

    # -- timers ---------------------------------------------------------------------------------------------------

    def run_timeouts(self, now: float) -> None:
        """Give up attempts and connections that take too long."""
        for attempt in self._attempts:
            if attempt.deadline is not None and attempt.deadline <= now:
                self._attempts.disconnect(attempt)
                if attempt.phase is Phase.LIVE:
                    self._lifecycle.live_lost(now, attempt, CloseCode.COME_BACK, "")
                else:
                    error = ServiceUnavailableError("The service did not answer in time.")
                    self._lifecycle.attempt_failed(now, error)
            elif attempt.timer_slept(now):
                self._ping(now, attempt)
            elif attempt.pong_deadline is not None and attempt.pong_deadline <= now:
                self._attempts.disconnect(attempt)
                self._lifecycle.live_lost(now, attempt, CloseCode.HEARTBEAT, "")

    def run_heartbeat(self, now: float) -> None:
        """Ping the live connection when it is time."""
        live = self._attempts.live()
        if live is not None and live.ping_due is not None and live.ping_due <= now and live.pong_deadline is None:
            self._ping(now, live)

    def _ping(self, now: float, live: Attempt) -> None:
        ping_id = self._requests.new_id()
        live.ping_sent(now, ping_id, self._settings)
        self._output.emit(SendText(live.number, encode_request(ping_id, "ping", NoParams())))
