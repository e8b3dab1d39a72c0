"""ServerSession: what the service must do next with one connection. No I/O, no clock, no dice.

Inputs go in with `now`, effects come out of `effects()` in order, `deadline()` says when `tick` is next due. Inputs
never raise, in any order. Answers of the engine come back by number, and die by number when nobody waits for them.

One connection carries one session. Requests are carried out one at a time and answered in order (S19): `_current` is
the one at work, `_queue` what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.server.calls import (
    ClientToken,
    Close,
    EndSession,
    EngineCall,
    Now,
    Owned,
    Send,
)
from greenroom.core.server.ground import EMPTY, HELD, WATCH_SCOPE, Heartbeat, RequestId
from greenroom.core.server.hello import allows
from greenroom.core.server.join import ServerJoin
from greenroom.core.server.serving import HANDLERS
from greenroom.core.states import ServerEvent, ServerState
from greenroom.core.watching import to_wire
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    RateLimitedError,
    RevisionConflictError,
    ScopeMissingError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenExpiredError,
)
from greenroom.messages import (
    METHODS,
    SCOPE_OF_METHOD,
    Device,
    MoveOn,
    Request,
    Retry,
    decode_params,
    decode_request,
    encode_notification,
)
from greenroom.model import EndReason, ParticipantRecord

_S, _C = ServerState, ServerEvent
_STAY = encode_notification("session.stay", EMPTY)
_DEAF = frozenset({_S.GONE, _S.ABANDONED, _S.ENDING})
_SERVED_WHEN_EXPIRED = frozenset({"session.refreshToken", "session.close"})


class ServerSession(ServerJoin):
    """One connection of the service, and the session it carries once `open` or `resume` was answered.

    house: what it may ask of its node. address: the client's. origin: of the page, None where there is none.
    """

    __slots__ = ()

    # -- inputs: the connection ---------------------------------------------------------------------------------------

    def message(self, data: bytes, now: Now) -> None:
        """The client sent a text message."""
        state = self.state
        if state in _DEAF:
            return
        if not self._spend(now):
            self._drop(CloseCode.RATE_LIMITED, "too many messages", now)
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
        if state is _S.HELLO:
            self._hello(request, now)
            return
        if state is not _S.JOINING:
            self._grace_if_lost = self.house.limits.grace  # the client has seen the reply (S6)
        if request.method == "ping":
            self._reply(request.id, EMPTY)
        elif self._current is None:
            self._carry_out(request, now)
        else:
            self._wait(request)

    def pong(self, now: Now) -> None:
        """A pong came."""
        self.heard_at = now.mono
        if self._beat is Heartbeat.WAITING:
            self._beat = Heartbeat.RESTING
            self._beat_due = now.mono + self.house.limits.ping

    def drained(self, now: Now) -> None:
        """What was sent has left the buffer: the next piece of what waits may go."""
        # Nothing is told on a spent token: it waits for the refresh.
        if self.state is _S.OPEN or self.state is _S.FENCED:
            piece = self.watches.next_piece()
            if piece is not None:
                self._effects.append(Send(piece))

    def lost(self, code: int, now: Now) -> None:
        """The connection is over. code: of the client's Close, or 1005, 1006, or what our side failed it with."""
        state = self.state
        if state is _S.JOINING:
            self._grace_if_lost = 0.0 if code == CloseCode.NORMAL else self._grace_of(code)
        elif state in HELD:
            self._let_go(code, now)
        self._step(_C.DROP)

    def tick(self, now: Now) -> None:
        """A deadline may have passed."""
        state = self.state
        if state is _S.GONE or state is _S.ABANDONED:
            return
        if state is _S.HELLO and now.mono >= self._hello_due:
            self._drop(CloseCode.UNAUTHENTICATED, "no session.open or session.resume in time", now)
            return
        if now.mono >= self._beat_due:
            self._heartbeat(now)
        self._check_token(now)

    # -- inputs: the engine and the node ------------------------------------------------------------------------------

    def answer(self, number: int, result: Any, now: Now) -> None:
        """The engine's answer to the call of this number: its result, or the GreenroomError."""
        current = self._current
        if current is None or current.number != number:
            return
        self._current = None
        current.then(result, now)
        self._go_on(now)

    def fence(self, now: Now) -> None:
        """The node is not certain of its lease any more: it does not act for the session (S9)."""
        if not self._step(_C.FENCE):
            return
        self._fenced_at = now.mono
        limits = self.house.limits
        if now.mono - self._moved_on_at >= limits.move_on_interval:
            self.move_on(0.0, limits.move_on_jitter, now)

    def unfence(self, now: Now, owner: Owned | None = None) -> None:
        """The node has a lease. owner: the right by which it took the session back, None where nothing changed."""
        if owner is not None and self.owner is not None and owner.generation >= self.owner.generation:
            self.owner = owner
        if not self._step(_C.UNFENCE):
            return
        if self._moved_on_at >= self._fenced_at:
            self._effects.append(Send(_STAY))
        self._check_token(now)

    def move_on(self, after: float, jitter: float, now: Now, reason: str = "") -> None:
        """Ask the client to resume elsewhere: after so many seconds and a random part of ``jitter``.

        reason: ``draining`` where the node serves until the session has moved; empty where it is fenced.
        """
        if self.state in HELD:
            self._moved_on_at = now.mono
            self._notify("session.moveOn", MoveOn(after, jitter, reason))

    def leave(self, after: float, jitter: float, now: Now) -> None:
        """The node stops: detach with the full grace, and say when to come back (S10)."""
        reason = msgspec.json.encode(Retry(after, jitter)).decode()
        self._grace_if_lost = self.house.limits.grace
        self._drop(CloseCode.DRAINING, reason, now)

    def ended(self, reason: str, text: str, now: Now, *, by: Device | None = None) -> None:
        """The session was ended elsewhere: say so."""
        if self.state in HELD or (self.state is _S.ENDING and self.owner is not None):
            self._tell_end(reason, text, by)

    def superseded(self, generation: int, now: Now) -> None:
        """A connection of at least ``generation`` has the session; this one ends with a final code of its own (S7)."""
        owner = self.owner
        if owner is not None and owner.generation <= generation and self._step(_C.DROP):
            self._effects.append(Close(CloseCode.SUPERSEDED, "a newer connection of this session took over"))

    # -- requests -----------------------------------------------------------------------------------------------------

    def _wait(self, request: Request) -> None:
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= self.house.limits.max_waiting:
            most = self.house.limits.max_waiting
            self._fail(request.id, RateLimitedError(f"More than {most} requests wait.", retry_after=1.0))
        else:
            self._queue.append(request)

    def _go_on(self, now: Now) -> None:
        """Carry out what waits, up to the first that needs the engine."""
        while self._queue and self._current is None and self.state in HELD:
            self._carry_out(self._queue.popleft(), now)

    def _carry_out(self, request: Request, now: Now) -> None:
        error = self._why_not(request.method)
        if error is None:
            try:
                params = decode_params(request.method, request.params)
                HANDLERS[request.method](self, request.id, params, now)
                return
            except GreenroomError as refusal:
                error = refusal
        self._fail(request.id, error)

    def _why_not(self, method: str) -> GreenroomError | None:
        if method not in METHODS:
            return GreenroomError(code=ErrorCode.METHOD_NOT_FOUND)
        if method in ("session.open", "session.resume"):
            return ConflictError("This connection carries a session already.", hint="Use another connection.")
        if self.state is _S.FENCED and method != "session.close":
            return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        if self.state is _S.EXPIRED and method not in _SERVED_WHEN_EXPIRED:
            return TokenExpiredError()
        scope = SCOPE_OF_METHOD.get(method)
        if scope is not None and not allows(self.scopes, scope):
            return ScopeMissingError(scope=scope)
        return None

    def close_session(self, request_id: RequestId) -> None:
        """`session.close` (used by `serving`)."""
        owner = self.owner
        assert owner is not None
        self._step(_C.END)
        self._queue = None
        self._ask(EndSession(owner, EndReason.CLOSED), lambda _result, _now: self._finish_close(request_id))

    def refreshed(self, token: ClientToken, now: Now) -> None:
        """The engine took the new token: its scopes count at once, also fewer (used by `serving`)."""
        self.scopes = token.scopes
        self.issued_at, self.expires_at = token.issued_at, token.expires_at
        self._ends_at = token.expires_at + self.house.limits.token_overrun
        if now.wall < token.expires_at:
            self._step(_C.REFRESHED)
        if not allows(self.scopes, WATCH_SCOPE):
            self.unwatch(self.watches.drop([one for one in self.watches.ids if one != self.participant_id]))

    def request(
        self,
        call: EngineCall,
        request_id: RequestId,
        then: Callable[[Any, Now], msgspec.Struct | bytes],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Ask the engine for a request of the client's (used by `serving`).

        ``then`` makes the reply of the result, or raises what refuses it. ``undo`` is called where it is refused.
        """
        generation = 0 if self.owner is None else self.owner.generation

        def finish(result: Any, now: Now) -> None:
            if self.state is _S.GONE:
                return
            try:
                if isinstance(result, GreenroomError):
                    raise self._excused(result, generation)
                reply = then(result, now)
            except GreenroomError as error:
                if undo is not None:
                    undo()
                self._fail(request_id, error)
                return
            if isinstance(reply, bytes):
                if request_id is not None:
                    self._effects.append(Send(reply))
            else:
                self._reply(request_id, reply)

        self._ask(call, finish)

    def _excused(self, error: GreenroomError, generation: int) -> GreenroomError:
        """The refusal as the client may hear it. While a call was under way the node took its session back: then it is
        for the old right (S7)."""
        if isinstance(error, RevisionConflictError) and isinstance(error.participant, ParticipantRecord):
            error.participant = to_wire(error.participant)
        if isinstance(error, SessionEndedError) and self.owner is not None and self.owner.generation > generation:
            return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=0.5)
        return error
