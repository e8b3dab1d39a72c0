"""ServerSession: what the service must do next with one connection. No I/O, no clock, no dice.

Inputs go in with `now`, effects come out of `effects()` in order, `deadline()` says when `tick` is next due. Inputs
never raise, in any order. Answers of the engine come back by number, and die by number when nobody waits for them.

One connection carries one session. Requests are carried out one at a time and answered in order (S19): `_current` is
the one at work, `_queue` what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import msgspec

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.calls import (
    Abort,
    Call,
    ClientToken,
    Close,
    CloseBySecret,
    DetachSession,
    Effect,
    EndSession,
    EngineCall,
    House,
    Joined,
    Now,
    OpenSession,
    Owned,
    Ping,
    ResumeSession,
    Send,
    UnwatchParticipants,
    WatchParticipants,
)
from greenroom.core.endings import CLOSE_OF_REASON, TEXT_OF_REASON, close_of_refusal, may_go_on
from greenroom.core.hello import allows, check_same_identity, first_words, hash_of, prepare_open, prepare_resume
from greenroom.core.serving import HANDLERS, RequestId
from greenroom.core.states import SERVER_TRANSITIONS, ServerCue, ServerState, step
from greenroom.core.watching import Watches, cut, tell, to_wire
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    RateLimitedError,
    ScopeMissingError,
    ServiceUnavailableError,
    SessionEndedError,
    SessionNotOpenError,
    TokenExpiredError,
)
from greenroom.messages import (
    MAX_PIECE_BYTES,
    METHODS,
    SCOPE_OF_METHOD,
    By,
    Device,
    Empty,
    MoveOn,
    OpenResult,
    Request,
    Retry,
    SessionEnded,
    TokenExpiring,
    WireSession,
    decode_params,
    decode_request,
    encode_error,
    encode_notification,
    encode_reply,
)
from greenroom.model import EndReason, ParticipantRecord, SessionRecord

WATCH_SCOPE = "notifications:set"
CAPABILITIES = ("resume", "watch")

_S, _C = ServerState, ServerCue
_REASONS = {reason.value: reason for reason in EndReason}
_EMPTY = Empty()
_STAY = encode_notification("session.stay", _EMPTY)
_HELD = frozenset({_S.OPEN, _S.FENCED, _S.EXPIRED})
"""States in which the connection has a session that is to be detached when it is lost."""
_DEAF = frozenset({_S.GONE, _S.ABANDONED, _S.ENDING})
_SERVED_WHEN_EXPIRED = frozenset({"session.refreshToken", "session.close"})


class Heartbeat(Enum):
    """Of a connection."""

    RESTING = "resting"
    """The last ping was answered; the next is due at `_beat_due`."""
    WAITING = "waiting"
    """A pong is due by `_beat_due`. Only a pong counts: what else comes in proves one direction only."""


class Doing(NamedTuple):
    """The request at work. number: of its call; 0 until there is one. then: what to do with the engine's answer."""

    number: int
    request_id: RequestId
    then: Callable[[Any, Now], None]


class ServerSession:
    """One connection of the service, and the session it carries once `open` or `resume` was answered.

    house: what it may ask of its node. address: the client's. origin: of the page, None where there is none.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_beat",
        "_beat_due",
        "_current",
        "_effects",
        "_ends_at",
        "_fenced_at",
        "_grace_if_lost",
        "_hello_due",
        "_hellos",
        "_moved_on_at",
        "_numbers",
        "_queue",
        "_warned_for",
        "address",
        "app",
        "expires_at",
        "external_id",
        "house",
        "issued_at",
        "origin",
        "owner",
        "participant_id",
        "scopes",
        "state",
        "watches",
    )

    def __init__(self, house: House, now: Now, *, address: str = "", origin: str | None = None) -> None:
        limits = house.limits
        self.house = house
        self.address = address
        self.origin = origin
        self.state = _S.HELLO
        self.owner: Owned | None = None
        """The session and by which right it is written; None before it is open."""
        self.app = ""
        self.participant_id = ""
        self.external_id: str | None = None
        self.scopes: tuple[str, ...] = ()
        self.issued_at = 0
        self.expires_at = 0
        """Of the token; Unix seconds."""
        self.watches = Watches()
        self._effects: list[Effect] = []
        self._queue: deque[Request] | None = None
        self._current: Doing | None = None
        self._numbers = 0
        self._hellos = 0
        self._hello_due = now.mono + limits.hello
        self._beat = Heartbeat.RESTING
        self._beat_due = now.mono + limits.ping
        self._grace_if_lost = limits.grace
        self._warned_for = 0
        self._ends_at = inf
        self._moved_on_at = -inf
        self._fenced_at = -inf
        self._allowance = float(limits.messages_burst)
        self._allowance_at = now.mono

    # -- out ----------------------------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What to do now, in order. Each is given out once."""
        effects = self._effects
        if effects:
            self._effects = []
        return effects

    def deadline(self, now: Now) -> float:
        """When `tick` is due, on the clock of ``now.mono``; infinity once the connection is over."""
        state = self.state
        if state is _S.GONE or state is _S.ABANDONED:
            return inf
        due = self._beat_due
        if state is _S.HELLO:
            return min(due, self._hello_due)
        if state is _S.OPEN or state is _S.EXPIRED:
            # Tokens live on the wall clock. It may step: every heartbeat looks again.
            return min(due, now.mono + max(0.0, self._token_due() - now.wall))
        return due

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
            self._reply(request.id, _EMPTY)
        elif self._current is None:
            self._carry_out(request, now)
        else:
            self._wait(request)

    def pong(self, now: Now) -> None:
        """A pong came."""
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
            self._grace_if_lost = 0.0 if code == CloseCode.NORMAL else self._grace_of(code, joining=True)
        elif state in _HELD:
            self._let_go(code)
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

    def move_on(self, after: float, jitter: float, now: Now) -> None:
        """Ask the client to resume elsewhere: after so many seconds and a random part of ``jitter``."""
        if self.state in _HELD:
            self._moved_on_at = now.mono
            self._notify("session.moveOn", MoveOn(after, jitter))

    def leave(self, after: float, jitter: float, now: Now) -> None:
        """The node stops: detach with the full grace, and say when to come back (S10)."""
        reason = msgspec.json.encode(Retry(after, jitter)).decode()
        self._grace_if_lost = self.house.limits.grace
        self._drop(CloseCode.DRAINING, reason, now)

    def ended(self, reason: str, text: str, now: Now, *, by: Device | None = None) -> None:
        """The session was ended elsewhere: say so."""
        if self.state in _HELD or (self.state is _S.ENDING and self.owner is not None):
            self._tell_end(reason, text, by)

    def superseded(self, generation: int, now: Now) -> None:
        """A connection of at least ``generation`` has the session; this one ends with a final code of its own (S7)."""
        owner = self.owner
        if owner is not None and owner.generation <= generation and self._step(_C.DROP):
            self._effects.append(Close(CloseCode.SUPERSEDED, "a newer connection of this session took over"))

    def end(self, reason: EndReason, text: str, now: Now) -> None:
        """This node ends the session: its application was disabled, its token revoked or spent."""
        if self.state not in _HELD:
            return
        owner = self.owner
        assert owner is not None
        self._step(_C.END)
        text = text or TEXT_OF_REASON[reason]
        self._ask(EndSession(owner, reason, text), None, lambda _result, _now: self._tell_end(reason, text, None))

    # -- hello --------------------------------------------------------------------------------------------------------

    def _hello(self, request: Request, now: Now) -> None:
        method = request.method
        if method == "session.open" and request.id is not None:
            self._begin(request, now, resuming=False)
        elif method == "session.resume" and request.id is not None:
            self._begin(request, now, resuming=True)
        elif method == "session.close":
            self._close_by_secret(request, now)
        elif method == "ping" and self._hellos:
            self._reply(request.id, _EMPTY)
        else:
            text = "The first message must be session.open or session.resume, with an id."
            if request.id is not None:
                self._fail(request.id, ProtocolError(text))
            self._drop(CloseCode.PROTOCOL_ERROR, text, now)

    def _begin(self, request: Request, now: Now, *, resuming: bool) -> None:
        self._hellos += 1
        prepare: Callable[..., OpenSession | ResumeSession] = prepare_resume if resuming else prepare_open
        try:
            params = decode_params(request.method, request.params)
            call = prepare(params, self.house, origin=self.origin, address=self.address, now=now)
        except GreenroomError as error:
            self._refuse(request.id, error, now, resuming=resuming)
            return
        self._step(_C.HELLO)
        limits = self.house.limits
        self._grace_if_lost = limits.grace if resuming else limits.grace_unconfirmed
        if isinstance(call, OpenSession):
            # Known before it is open: what changes from now on is heard and waits for the reply (S12).
            self.app = call.app
            self.watches.hold((call.participant_id,))

        def then(result: Any, at: Now) -> None:
            if isinstance(result, Joined):
                self._joined(request.id, result, call, at)
            else:
                self._not_joined(request.id, result, at, resuming=resuming)

        self._ask(call, request.id, then)

    def _refuse(self, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
        """Answer why, then wait for another open or close, as the refusal asks."""
        self._fail(request_id, error)
        if not may_go_on(error, resuming=resuming):
            self._drop(close_of_refusal(error), first_words(error), now)
        elif self._hellos >= self.house.limits.max_hellos:
            self._drop(CloseCode.RATE_LIMITED, "too many attempts on one connection", now)
        else:
            self._hello_due = now.mono + self.house.limits.hello

    def _not_joined(self, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
        waiting, self._queue = self._queue, None
        self.watches = Watches()
        abandoned = self.state is _S.ABANDONED
        self._step(_C.REFUSED)
        if abandoned:
            return
        self._refuse(request_id, error, now, resuming=resuming)
        for request in waiting or ():
            if self.state is _S.HELLO:
                self._fail(request.id, SessionNotOpenError())

    def _joined(self, request_id: RequestId, joined: Joined, call: OpenSession | ResumeSession, now: Now) -> None:
        record = joined.session
        self.app = record.app
        self.owner = Owned(record.id, record.generation, record.lease)
        abandoned = self.state is _S.ABANDONED
        self._step(_C.JOINED)
        if abandoned:
            self._duty(self._farewell(self.owner))
            return
        self._remember(record, now)
        if isinstance(call, OpenSession):
            self._answer_join(request_id, joined, (), now)
            return
        try:
            if call.token is not None:
                application = self.house.application(self.app)
                check_same_identity(call.token, application, self.app, self.participant_id, self.external_id)
        except GreenroomError as error:
            self._part(request_id, error, now)
            return
        self._watch_again(request_id, joined, dict(call.watching) if allows(self.scopes, WATCH_SCOPE) else {})

    def _watch_again(self, request_id: RequestId, joined: Joined, known: dict[str, int]) -> None:
        """A resume brings its watches: subscribe and read before it is answered; what differs is in the reply (S12).

        The session's own participant is one of them: only now it is known who that is.
        """
        own = self.participant_id
        known.pop(own, None)
        ids = (own, *known)
        self.watches.hold(ids)

        def then(result: Any, now: Now) -> None:
            if self.state not in _HELD:
                return
            if isinstance(result, GreenroomError):
                # The session is attached; the client's repeat is a repeat after a lost reply (S1).
                self._part(request_id, result, now)
                return
            fresh = Joined(joined.session, result[0])
            self._answer_join(request_id, fresh, [one for one in result[1:] if known.get(one.id) != one.version], now)
            self.watches.answer({one.id: one.version for one in result[1:] if known.get(one.id) == one.version})

        self._ask(WatchParticipants(self.app, ids), request_id, then)

    def _part(self, request_id: RequestId, error: GreenroomError, now: Now) -> None:
        """Joined, and yet refused: the session waits, detached, for its full grace."""
        self._fail(request_id, error)
        self._drop(close_of_refusal(error), first_words(error), now)

    def _remember(self, record: SessionRecord, now: Now) -> None:
        self.app = record.app
        self.participant_id = record.participant_id
        self.external_id = record.external_id
        self._set_token(record.scopes, record.token_issued_at, record.token_expires_at, now)

    def _set_token(self, scopes: tuple[str, ...], issued_at: int, expires_at: int, now: Now) -> None:
        self.scopes, self.issued_at, self.expires_at = scopes, issued_at, expires_at
        # A session resumed after its token's end gets the same time to refresh as one that was connected then (S5).
        self._ends_at = max(float(expires_at), now.wall) + self.house.limits.token_overrun

    def _answer_join(
        self, request_id: RequestId, joined: Joined, changed: Sequence[ParticipantRecord], now: Now
    ) -> None:
        assert self.owner is not None
        told = [tell(record) for record in changed]
        first = cut(told, MAX_PIECE_BYTES)
        session = WireSession(
            self.owner.session_id, self.owner.generation, self.house.limits.grace, self.expires_at * 1000
        )
        result = OpenResult(
            session=session,
            participant=to_wire(joined.participant),
            scopes=list(self.scopes),
            capabilities=list(CAPABILITIES),
            changed=[to_wire(record) for record in changed[:first]],
        )
        self._reply(request_id, result)
        self.watches.answer({joined.participant.id: joined.participant.version})
        self.watches.answer({item.id: item.version for item in told[:first]})
        # The rest waits for the buffer, as any change does.
        self.watches.answer(dict.fromkeys((item.id for item in told[first:]), -1))
        for item in told[first:]:
            self.watches.take(item)
        self._check_application(now)
        self._check_token(now)

    def _close_by_secret(self, request: Request, now: Now) -> None:
        try:
            params = decode_params(request.method, request.params)
            if params.session_id is None or params.resume_secret is None:
                raise IllegalArgumentError("Before open, session.close needs sessionId and resumeSecret.")
            call = CloseBySecret(params.session_id, hash_of(params.resume_secret))
        except GreenroomError as error:
            if request.id is not None:
                self._fail(request.id, error)
            self._drop(CloseCode.PROTOCOL_ERROR, first_words(error), now)
            return
        self._step(_C.END)

        def then(result: Any, at: Now) -> None:
            if isinstance(result, GreenroomError):
                self._fail(request.id, result)
                self._drop(close_of_refusal(result), first_words(result), at)
            else:
                self._finish_close(request.id)

        self._ask(call, request.id, then)

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
        while self._queue and self._current is None and self.state in _HELD:
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
        self._ask(EndSession(owner, EndReason.CLOSED), request_id, lambda _result, _now: self._finish_close(request_id))

    def _finish_close(self, request_id: RequestId) -> None:
        if self._step(_C.DROP):
            self._reply(request_id, _EMPTY)
            self._effects.append(Close(CloseCode.NORMAL, "closed"))

    def refreshed(self, token: ClientToken, now: Now) -> None:
        """The engine took the new token: its scopes count at once, also fewer (used by `serving`)."""
        self._set_token(token.scopes, token.issued_at, token.expires_at, now)
        if now.wall < token.expires_at:
            self._step(_C.REFRESHED)
        if not allows(self.scopes, WATCH_SCOPE):
            self.unwatch(self.watches.drop([one for one in self.watches.ids if one != self.participant_id]))

    def unwatch(self, ids: tuple[str, ...]) -> None:
        """These are not watched any more (used by `serving`)."""
        if ids:
            self._duty(UnwatchParticipants(self.app, ids))

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

        self._ask(call, request_id, finish)

    def _excused(self, error: GreenroomError, generation: int) -> GreenroomError:
        """While a call was under way the node took its session back: the refusal is for the old right (S7)."""
        if isinstance(error, SessionEndedError) and self.owner is not None and self.owner.generation > generation:
            return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=0.5)
        return error

    # -- clocks -------------------------------------------------------------------------------------------------------

    def _heartbeat(self, now: Now) -> None:
        if self._beat is Heartbeat.RESTING:
            self._beat = Heartbeat.WAITING
            self._beat_due = now.mono + self.house.limits.pong
            self._effects.append(Ping())
            return
        if self.state in _HELD:
            self._let_go(CloseCode.ABNORMAL)
        elif self.state is _S.JOINING:
            self._grace_if_lost = self._grace_of(CloseCode.ABNORMAL, joining=True)
        self._step(_C.DROP)
        self._effects.append(Abort())

    def _token_due(self) -> float:
        """The wall time of the next thing to do about the token."""
        if self.state is _S.EXPIRED:
            return self._ends_at
        if self._warned_for != self.expires_at:
            return self.expires_at - self.house.limits.token_warning
        return float(self.expires_at)

    def _check_token(self, now: Now) -> None:
        if self.state is _S.OPEN:
            left = self.expires_at - now.wall
            if left <= self.house.limits.token_warning and self._warned_for != self.expires_at:
                self._warned_for = self.expires_at
                self._notify("session.tokenExpiring", TokenExpiring(self.expires_at * 1000))
            if left <= 0:
                self._step(_C.EXPIRE)
        if self.state is _S.EXPIRED and now.wall >= self._ends_at:
            self.end(EndReason.TOKEN_EXPIRED, "", now)

    def _check_application(self, now: Now) -> None:
        """What changed while the attach was under way counts too (S18)."""
        application = self.house.application(self.app)
        if application is None:
            return  # nothing missing is read as deleted (S15)
        if application.disabled:
            self.end(EndReason.APPLICATION_DISABLED, "", now)
        elif self.issued_at <= application.revoked_before:
            self.end(EndReason.TOKEN_REVOKED, "", now)

    directory_changed = _check_application
    """The directory was read again."""

    def _spend(self, now: Now) -> bool:
        limits = self.house.limits
        earned = (now.mono - self._allowance_at) * limits.messages_per_second
        if earned > 0:
            self._allowance = min(self._allowance + earned, float(limits.messages_burst))
            self._allowance_at = now.mono
        self._allowance -= 1.0
        return self._allowance >= 0.0

    # -- endings ------------------------------------------------------------------------------------------------------

    def _grace_of(self, code: int, *, joining: bool = False) -> float:
        """Seconds for which the session outlives the connection (S6)."""
        if code == CloseCode.GOING_AWAY:
            return self.house.limits.grace_left
        return self._grace_if_lost

    def _let_go(self, code: int) -> None:
        """The connection of a session is gone: end it where its client said so, else detach it."""
        assert self.owner is not None
        if code == CloseCode.NORMAL:
            self._duty(EndSession(self.owner, EndReason.CLOSED))
        else:
            self._duty(DetachSession(self.owner, self._grace_of(code)))

    def _farewell(self, owner: Owned) -> EngineCall:
        """What becomes of a session whose connection was gone before it was joined. No grace: its client closed it."""
        if self._grace_if_lost <= 0.0:
            return EndSession(owner, EndReason.CLOSED)
        return DetachSession(owner, self._grace_if_lost)

    def _drop(self, code: CloseCode, reason: str, now: Now) -> None:
        """Our side ends the connection; its session, if any, is kept for its grace."""
        if self.state in _HELD:
            self._let_go(code)
        if self._step(_C.DROP):
            self._effects.append(Close(code, reason))

    def _tell_end(self, reason: str, text: str, by: Device | None) -> None:
        if not self._step(_C.DROP):
            return
        known = _REASONS.get(reason, EndReason.TIMEOUT)
        text = text or TEXT_OF_REASON[known]
        ended = SessionEnded(reason=reason, message=text, by=None if by is None else By(by))
        self._notify("session.ended", ended)
        self._effects.append(Close(CLOSE_OF_REASON[known], reason))

    # -- small parts --------------------------------------------------------------------------------------------------

    def _step(self, cue: ServerCue) -> bool:
        """The one door through which the state changes. False where the cue means nothing now."""
        after = step(SERVER_TRANSITIONS, self.state, cue)
        if after is None:
            return False
        self.state = after
        if after is _S.GONE:
            self._queue = self._current = None
        return True

    def _ask(self, call: EngineCall, request_id: RequestId, then: Callable[[Any, Now], None]) -> None:
        self._numbers += 1
        self._current = Doing(self._numbers, request_id, then)
        self._effects.append(Call(self._numbers, call))

    def _duty(self, call: EngineCall) -> None:
        """Something the shell sees to; nobody waits for the answer."""
        self._numbers += 1
        self._effects.append(Call(self._numbers, call))

    def _reply(self, request_id: RequestId, result: msgspec.Struct) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_reply(request_id, result)))

    def _fail(self, request_id: RequestId, error: GreenroomError) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_error(request_id, error)))

    def _notify(self, method: str, params: msgspec.Struct) -> None:
        self._effects.append(Send(encode_notification(method, params)))

    def _malformed(self, error: GreenroomError, now: Now) -> None:
        self._effects.append(Send(encode_error(None, error)))
        if self.state is _S.HELLO:
            self._drop(CloseCode.PROTOCOL_ERROR, first_words(error), now)
