"""ServerSession: what the service must do next with one connection. No I/O, clock or chance.

Inputs go in with `now`, effects come out of `context.effects()` in order, `deadline()` says when `tick` is next due.
Inputs never raise, in any order. Answers of the engine come back by number, and change nothing when no request waits
for them.

One connection carries one session. Requests are carried out one at a time and answered in order (S19).

The parts, from the top down: `session` (this class: inputs and timers), `methods` (which request does what), `opening`,
`resuming`, `refusals` (of both), `tokens` (refresh, expiry, revocation), `own_participant`, `participants` (read and
watched), `session_rooms`, `closing` (every end), and `context` (what all of them share: state, session, effects).
"""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.rate_limit import TokenBucket
from greenroom.core.requests import Owner
from greenroom.core.server.closing import close_ended, drop, grace_of, refuse_and_drop, release
from greenroom.core.server.context import ATTACHED, EMPTY, TAKES_UPDATES, SessionContext
from greenroom.core.server.effects import Abort, Close, Ping, Send
from greenroom.core.server.endings import close_reason
from greenroom.core.server.heartbeat import Beat, Heartbeat
from greenroom.core.server.joining import allows
from greenroom.core.server.methods import JOINS, METHODS
from greenroom.core.server.opening import check_again
from greenroom.core.server.refusals import refuse
from greenroom.core.server.request_queue import cost_of
from greenroom.core.server.room_changes import invitation_answered, invited, room_left
from greenroom.core.server.services import Now, SessionServices
from greenroom.core.server.tokens import check_token
from greenroom.core.states import ServerEvent, ServerState
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    RateLimitedError,
    ScopeMissingError,
    ServiceUnavailableError,
    TokenExpiredError,
)
from greenroom.messages import (
    SCOPE_OF_METHOD,
    Device,
    HalfPairError,
    MoveOn,
    Request,
    Retry,
    RoomInvitationAnswered,
    decode_params,
    decode_request,
    encode_error,
    encode_notification,
)
from greenroom.model import Invitation

_OVER = frozenset({ServerState.GONE, ServerState.ABANDONED})
_DEAF = _OVER | {ServerState.ENDING}
_TOKEN_COUNTS = frozenset({ServerState.OPEN, ServerState.EXPIRED})
_SERVED_WHEN_EXPIRED = frozenset({"session.refreshToken", "session.close"})
_STAY = encode_notification("session.stay", EMPTY)


class ServerSession:
    """One connection of the service, and the session it carries once `open` or `resume` was answered.

    services: what it may ask of its node. address: the client's. origin: of the page, None where there is none.
    """

    __slots__ = ("_fenced_at", "_heartbeat", "_moved_on_at", "_rate", "context")

    def __init__(self, services: SessionServices, now: Now, *, address: str = "", origin: str | None = None) -> None:
        limits = services.limits
        self.context = SessionContext(services, now, address, origin)
        """What the shell may read: the state, and the session."""
        self._heartbeat = Heartbeat(limits.ping_interval, limits.pong_timeout, now.mono)
        self._rate = TokenBucket(limits.messages_per_second, float(limits.messages_burst), now.mono)
        self._moved_on_at = -inf
        self._fenced_at = -inf

    def deadline(self, now: Now) -> float:
        """When `tick` is due, on the clock of ``now.mono``; infinity once the connection is over."""
        context = self.context
        state = context.state
        if state in _OVER:
            return inf
        due = self._heartbeat.due
        if context.queue.waiting and not context.pending:
            due = min(due, context.queue.paused_until)
        if state in _TOKEN_COUNTS:
            # Tokens live on the wall clock. It may step: every heartbeat looks again.
            left = context.token.due - now.wall
            return min(due, now.mono + left if left > 0.0 else now.mono)
        return min(due, context.hello_due) if state is ServerState.HELLO else due

    # -- inputs: the connection ---------------------------------------------------------------------------------------

    def message(self, data: bytes, now: Now) -> None:
        """The client sent a text message."""
        context = self.context
        state = context.state
        if state in _DEAF:
            return
        if not self._rate.take(now.mono):
            drop(context, CloseCode.RATE_LIMITED, "too many messages", now)
            return
        try:
            request = decode_request(data)
        except GreenroomError as error:
            self._malformed(error, now)
            return
        if not request.method:
            if not (bytes(request.result) or bytes(request.error)):
                self._malformed(IllegalArgumentError("method is missing.", code=ErrorCode.INVALID_REQUEST), now)
            return  # a response to what we never asked (S19)
        if state is ServerState.HELLO:
            self._first(request, now)
            return
        if state is not ServerState.JOINING:
            context.keep_for(context.services.limits.grace)  # the client has seen the reply (S6)
        if request.method == "ping":
            context.reply(request.id, EMPTY)
        elif not context.pending and (not context.queue.waiting or request.method == "session.close"):
            self._carry_out(request, now)
        elif not context.queue.put(request):
            most = context.services.limits.max_waiting
            context.fail(request.id, RateLimitedError(f"More than {most} requests wait.", retry_after=1.0))

    def pong(self, now: Now) -> None:
        """A pong came."""
        self._heartbeat.pong(now.mono)

    def drained(self, now: Now) -> None:
        """What was sent has left the buffer: the next piece of what waits may go."""
        context = self.context
        if context.state in TAKES_UPDATES:
            piece = context.watches.next_piece()
            if piece is None and context.rooms is not None:
                piece = context.rooms.watches.next_piece()
            if piece is not None:
                context.emit(Send(piece))

    def lost(self, code: int, now: Now) -> None:
        """The connection is over. code: of the client's Close, or 1005, 1006, or what our side failed it with."""
        context = self.context
        if context.state is ServerState.JOINING:
            context.keep_for(0.0 if code == CloseCode.NORMAL else grace_of(context, code))
        elif context.state in ATTACHED:
            release(context, code, now)
        context.step(ServerEvent.DROP)

    def tick(self, now: Now) -> None:
        """A deadline may have passed."""
        context = self.context
        state = context.state
        if state in _OVER:
            return
        if state is ServerState.HELLO and now.mono >= context.hello_due:
            drop(context, CloseCode.UNAUTHENTICATED, "no session.open or session.resume in time", now)
            return
        beat = self._heartbeat.tick(now.mono)
        if beat is Beat.WAITING:
            context.emit(Ping())
        elif beat is Beat.DEAD:
            if state in ATTACHED:
                release(context, CloseCode.ABNORMAL, now)
            context.step(ServerEvent.DROP)
            context.emit(Abort(now.mono - self._heartbeat.answered_at))
            return
        if now.wall >= context.token.due:
            check_token(context, now)
        if context.queue.waiting:
            self._carry_out_waiting(now)

    # -- inputs: the engine and the node ------------------------------------------------------------------------------

    def answer(self, number: int, result: Any, now: Now) -> None:
        """The engine's answer to the call of this number: its result, or the GreenroomError."""
        pending = self.context.pending
        then = pending.get(number)
        if then is None:
            return
        pending.clear()  # it was the only one; `pop` would leave each idle session 160 bytes of room for the next
        then(result, now)
        if self.context.queue.waiting:
            self._carry_out_waiting(now)

    def fence(self, now: Now) -> None:
        """The node is no longer certain of its lease: it does not act for the session (S9)."""
        if not self.context.step(ServerEvent.FENCE):
            return
        self._fenced_at = now.mono
        limits = self.context.services.limits
        if now.mono - self._moved_on_at >= limits.move_on_interval:
            self.move_on(0.0, limits.move_on_jitter, now)

    def unfence(self, now: Now, owner: Owner | None = None) -> None:
        """The node has a lease. owner: the right by which it acquired the session again, None where nothing changed."""
        context = self.context
        if owner is not None:
            context.recovered(owner)
        if not context.step(ServerEvent.UNFENCE):
            return
        if self._moved_on_at >= self._fenced_at:
            context.emit(Send(_STAY))
        check_token(context, now)

    def move_on(self, after: float, jitter: float, now: Now, reason: str = "") -> None:
        """Ask the client to resume elsewhere: after so many seconds and a random part of ``jitter``.

        reason: ``draining`` where the node serves until the session has moved; empty where it is fenced.
        """
        if self.context.state in ATTACHED:
            self._moved_on_at = now.mono
            self.context.notify("session.moveOn", MoveOn(after, jitter, reason))

    def leave(self, after: float, jitter: float, now: Now) -> None:
        """The node stops: detach with the full grace, and say when to come back (S10)."""
        reason = msgspec.json.encode(Retry(after, jitter)).decode()
        self.context.keep_for(self.context.services.limits.grace)
        drop(self.context, CloseCode.DRAINING, reason, now)

    def ended(self, reason: str, text: str, now: Now, *, by: Device | None = None) -> None:
        """The session was ended elsewhere: notify the client."""
        context = self.context
        if context.state in ATTACHED or (context.state is ServerState.ENDING and context.owner is not None):
            close_ended(context, reason, text, by)

    def superseded(self, generation: int, now: Now) -> None:
        """A connection of at least ``generation`` has the session; this one ends with a final code of its own (S7)."""
        owner = self.context.owner
        if owner is not None and owner.generation <= generation and self.context.step(ServerEvent.DROP):
            self.context.emit(Close(CloseCode.SUPERSEDED, "a newer connection of this session took over"))

    def directory_changed(self, now: Now) -> None:
        """The directory was read again: what it says of the application counts for open sessions too (S18)."""
        check_again(self.context, now)

    def room_left(self, room: str, reason: str) -> None:
        """The session lost its membership of a room."""
        room_left(self.context, room, reason)

    def invited(self, invitation: Invitation, now: Now) -> None:
        """The session's participant was invited to a room."""
        invited(self.context, invitation, now)

    def invitation_answered(self, answered: RoomInvitationAnswered) -> None:
        """An invitation by the session's participant was answered."""
        invitation_answered(self.context, answered)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _first(self, request: Request, now: Now) -> None:
        context, method, request_id = self.context, request.method, request.id
        if method == "session.close" or (method in JOINS and request_id is not None):
            try:
                METHODS[method](context, request_id, decode_params(method, request.params), now)
            except GreenroomError as error:
                if method == "session.close":
                    refuse_and_drop(context, request_id, error, now)
                else:
                    refuse(context, request_id, error, now, resuming=method == "session.resume")
        elif method == "ping" and context.hellos:
            context.reply(request_id, EMPTY)
        else:
            text = "The first message must be session.open or session.resume, with an id."
            context.fail(request_id, ProtocolError(text))
            drop(context, CloseCode.PROTOCOL_ERROR, text, now)

    def _malformed(self, error: GreenroomError, now: Now) -> None:
        request_id = error.request_id if isinstance(error, HalfPairError) else None
        self.context.emit(Send(encode_error(request_id, error)))
        if self.context.state is ServerState.HELLO:
            drop(self.context, CloseCode.PROTOCOL_ERROR, close_reason(error), now)

    def _carry_out_waiting(self, now: Now) -> None:
        """What waits, up to the first that needs the engine."""
        context = self.context
        while not context.pending and context.state in ATTACHED:
            request = context.queue.take(now.mono)
            if request is None:
                return
            self._carry_out(request, now)

    def _carry_out(self, request: Request, now: Now) -> None:
        error = self._why_not(request.method)
        if error is None:
            try:
                params = decode_params(request.method, request.params)
                cost = cost_of(params)
                if cost and not self.context.queue.charge(cost, now.mono):
                    self.context.queue.put_back(request)
                    return
                METHODS[request.method](self.context, request.id, params, now)
                return
            except GreenroomError as refusal:
                error = refusal
        self.context.fail(request.id, error)

    def _why_not(self, method: str) -> GreenroomError | None:
        state = self.context.state
        if method not in METHODS:
            return GreenroomError(code=ErrorCode.METHOD_NOT_FOUND)
        if method in JOINS:
            return ConflictError("This connection carries a session already.", hint="Use another connection.")
        if state is ServerState.FENCED and method != "session.close":
            return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        if state is ServerState.EXPIRED and method not in _SERVED_WHEN_EXPIRED:
            return TokenExpiredError()
        scope = SCOPE_OF_METHOD.get(method)
        if scope is not None and not allows(self.context.scopes, scope):
            return ScopeMissingError(scope=scope)
        return None
