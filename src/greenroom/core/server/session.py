"""ServerSession: what the service must do next with one connection. No I/O, clock or chance.

Inputs go in with `now`, effects come out of `effects()` in order, `deadline()` says when `tick` is next due. Inputs
never raise, in any order. Answers of the engine come back by number, and change nothing when no request waits for them.

One connection carries one session. Requests are carried out one at a time and answered in order (S19): `_current` is
the one at work, `_queue` what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf
from typing import Any

import msgspec
from msgspec.structs import replace

from greenroom.codes import ERRORS, CloseCode, ErrorCode
from greenroom.core.presence import AVAILABLE
from greenroom.core.rate_limit import TokenBucket
from greenroom.core.requests import (
    Attached,
    DetachRequest,
    EndRequest,
    Owner,
    RefreshRequest,
    SessionRequest,
    UnwatchRequest,
    WatchRequest,
)
from greenroom.core.rooms.requests import RoomRequest
from greenroom.core.rooms.watching import invitation_to_wire
from greenroom.core.server.effects import Abort, Close, Effect, EngineCall, Ping, Refused, Send
from greenroom.core.server.endings import (
    CLOSE_OF_REASON,
    TEXT_OF_REASON,
    VIOLATIONS,
    close_of_refusal,
    close_reason,
    for_client,
    stays_open,
)
from greenroom.core.server.heartbeat import Beat, Heartbeat
from greenroom.core.server.joining import (
    allows,
    attach_request,
    check_same_identity,
    facts_of,
    hash_of,
    join_result,
    known_application,
    open_request,
)
from greenroom.core.server.methods import cost_of, ids_of, status_request, update_request
from greenroom.core.server.participants import get_participants, query_of, watch_participants
from greenroom.core.server.request_queue import RequestQueue
from greenroom.core.server.rooms import (
    NO_ROOMS,
    PERMISSION_LOST,
    ROOM_METHODS,
    AnyRoster,
    AskAboutRoom,
    Asking,
    Rights,
    RoomsBack,
    SessionRooms,
    come_back,
    leaving,
)
from greenroom.core.server.services import ClientToken, Now, SessionServices
from greenroom.core.server.token_clock import TokenClock, TokenDue
from greenroom.core.states import SERVER_TRANSITIONS, ServerEvent, ServerState
from greenroom.core.watching import Watches, cut, encode_update, to_wire
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    RateLimitedError,
    RoomsUnavailableError,
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
    CloseParams,
    Device,
    Empty,
    HalfPairError,
    MoveOn,
    NoParams,
    OpenParams,
    ParticipantResult,
    ParticipantsParams,
    RefreshTokenParams,
    RefreshTokenResult,
    Request,
    ResumeParams,
    Retry,
    RoomInvitationAnswered,
    RoomInvited,
    RoomLeft,
    SessionEnded,
    SetStatusParams,
    TokenExpiring,
    UpdateParams,
    decode_params,
    decode_request,
    encode_error,
    encode_notification,
    encode_reply,
)
from greenroom.model import (
    Application,
    EndReason,
    Invitation,
    ParticipantRecord,
    SessionRecord,
)

WATCH_SCOPE = "notifications:set"

_S, _E = ServerState, ServerEvent
_HELD = frozenset({_S.OPEN, _S.FENCED, _S.EXPIRED})
"""States in which the connection has a session that is to be detached when it is lost."""
_DEAF = frozenset({_S.GONE, _S.ABANDONED, _S.ENDING})
_SERVED_WHEN_EXPIRED = frozenset({"session.refreshToken", "session.close"})
_REASONS = {reason.value: reason for reason in EndReason}
_EMPTY = Empty()
_STAY = encode_notification("session.stay", _EMPTY)

RequestId = int | str | None
Then = Callable[[Any, Now], None]


class PendingCall(msgspec.Struct):
    """What waits for the engine. number: of the call. then: what to do with the answer."""

    number: int
    then: Then


class LocalSession(msgspec.Struct):
    """A session as its node knows it: what is written back into an engine that lost everything (S15).

    participant: the latest version known here. secret_hash: of the current resume secret. attempt: the last one taken.
    """

    record: SessionRecord
    participant: ParticipantRecord
    secret_hash: bytes
    attempt: int


class ServerSession:
    """One connection of the service, and the session it carries once `open` or `resume` was answered.

    services: what it may ask of its node. address: the client's. origin: of the page, None where there is none.
    """

    __slots__ = (
        "_current",
        "_effects",
        "_fenced_at",
        "_grace_if_lost",
        "_heartbeat",
        "_hello_due",
        "_hellos",
        "_moved_on_at",
        "_news",
        "_numbers",
        "_queue",
        "_rate",
        "address",
        "app",
        "external_id",
        "jti",
        "origin",
        "owner",
        "participant_id",
        "rooms",
        "scopes",
        "services",
        "session",
        "state",
        "token",
        "watches",
    )

    def __init__(self, services: SessionServices, now: Now, *, address: str = "", origin: str | None = None) -> None:
        limits = services.limits
        self.services = services
        self.address = address
        self.origin = origin
        self.state = _S.HELLO
        self.owner: Owner | None = None
        """By which right the session is written; None before it is open."""
        self.session: LocalSession | None = None
        self.app = ""
        self.participant_id = ""
        self.external_id: str | None = None
        self.scopes: tuple[str, ...] = ()
        self.jti = ""
        """Of the session's token."""
        self.token = TokenClock(limits.token_warning, limits.token_grace)
        self.watches = Watches()
        self.rooms: SessionRooms | None = None
        """None until the session has to do with a room."""
        self._news: list[Effect] | None = None
        """Notifications that wait until the resume is answered; None: it is."""
        self._effects: list[Effect] = []
        self._current: PendingCall | None = None
        self._numbers = 0
        self._hellos = 0
        self._hello_due = now.mono + limits.hello_timeout
        self._heartbeat = Heartbeat(limits.ping_interval, limits.pong_timeout, now.mono)
        self._rate = TokenBucket(limits.messages_per_second, float(limits.messages_burst), now.mono)
        self._queue = RequestQueue(limits)
        self._grace_if_lost = limits.grace
        self._moved_on_at = -inf
        self._fenced_at = -inf

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
        due = self._heartbeat.due
        if self._queue.waiting and self._current is None:
            due = min(due, self._queue.paused_until)
        if state is _S.HELLO:
            return min(due, self._hello_due)
        if state is _S.OPEN or state is _S.EXPIRED:
            # Tokens live on the wall clock. It may step: every heartbeat looks again.
            left = self.token.due - now.wall
            return min(due, now.mono + max(0.0, left))
        return due

    # -- inputs: the connection ---------------------------------------------------------------------------------------

    def message(self, data: bytes, now: Now) -> None:
        """The client sent a text message."""
        state = self.state
        if state in _DEAF:
            return
        if not self._rate.take(now.mono):
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
            self._first(request, now)
            return
        if state is not _S.JOINING:
            self._grace_if_lost = self.services.limits.grace  # the client has seen the reply (S6)
        if request.method == "ping":
            self._reply(request.id, _EMPTY)
        elif self._current is None and (not self._queue.waiting or request.method == "session.close"):
            self._carry_out(request, now)
        elif not self._queue.put(request):
            most = self.services.limits.max_waiting
            self._fail(request.id, RateLimitedError(f"More than {most} requests wait.", retry_after=1.0))

    def pong(self, now: Now) -> None:
        """A pong came."""
        self._heartbeat.pong(now.mono)

    def drained(self, now: Now) -> None:
        """What was sent has left the buffer: the next piece of what waits may go."""
        # After the token's end no update is sent: they wait for the refresh.
        if self.state is _S.OPEN or self.state is _S.FENCED:
            piece = self.watches.next_piece()
            if piece is None and self.rooms is not None:
                piece = self.rooms.watches.next_piece()
            if piece is not None:
                self._effects.append(Send(piece))

    def lost(self, code: int, now: Now) -> None:
        """The connection is over. code: of the client's Close, or 1005, 1006, or what our side failed it with."""
        state = self.state
        if state is _S.JOINING:
            self._grace_if_lost = 0.0 if code == CloseCode.NORMAL else self._grace_of(code)
        elif state in _HELD:
            self._release(code, now)
        self._step(_E.DROP)

    def tick(self, now: Now) -> None:
        """A deadline may have passed."""
        state = self.state
        if state is _S.GONE or state is _S.ABANDONED:
            return
        if state is _S.HELLO and now.mono >= self._hello_due:
            self._drop(CloseCode.UNAUTHENTICATED, "no session.open or session.resume in time", now)
            return
        beat = self._heartbeat.tick(now.mono)
        if beat is Beat.WAITING:
            self._effects.append(Ping())
        elif beat is Beat.DEAD:
            if state in _HELD:
                self._release(CloseCode.ABNORMAL, now)
            self._step(_E.DROP)
            self._effects.append(Abort(now.mono - self._heartbeat.answered_at))
            return
        if now.wall >= self.token.due:
            self._check_token(now)
        if self._queue.waiting:
            self._carry_out_waiting(now)

    # -- inputs: the engine and the node ------------------------------------------------------------------------------

    def answer(self, number: int, result: Any, now: Now) -> None:
        """The engine's answer to the call of this number: its result, or the GreenroomError."""
        current = self._current
        if current is None or current.number != number:
            return
        self._current = None
        current.then(result, now)
        if self._queue.waiting:
            self._carry_out_waiting(now)

    def participant_changed(self, record: ParticipantRecord) -> None:
        """The session's own participant changed. Older versions than the one known change nothing (S11)."""
        session = self.session
        if session is not None and session.participant.version < record.version:
            session.participant = record

    def fence(self, now: Now) -> None:
        """The node is not certain of its lease any more: it does not act for the session (S9)."""
        if not self._step(_E.FENCE):
            return
        self._fenced_at = now.mono
        limits = self.services.limits
        if now.mono - self._moved_on_at >= limits.move_on_interval:
            self.move_on(0.0, limits.move_on_jitter, now)

    def unfence(self, now: Now, owner: Owner | None = None) -> None:
        """The node has a lease. owner: the right by which it took the session back, None where nothing changed."""
        if owner is not None and self.owner is not None and owner.generation >= self.owner.generation:
            self.owner = owner
        if not self._step(_E.UNFENCE):
            return
        if self._moved_on_at >= self._fenced_at:
            self._effects.append(Send(_STAY))
        self._check_token(now)

    def move_on(self, after: float, jitter: float, now: Now, reason: str = "") -> None:
        """Ask the client to resume elsewhere: after so many seconds and a random part of ``jitter``.

        reason: ``draining`` where the node serves until the session has moved; empty where it is fenced.
        """
        if self.state in _HELD:
            self._moved_on_at = now.mono
            self._notify("session.moveOn", MoveOn(after, jitter, reason))

    def leave(self, after: float, jitter: float, now: Now) -> None:
        """The node stops: detach with the full grace, and say when to come back (S10)."""
        reason = msgspec.json.encode(Retry(after, jitter)).decode()
        self._grace_if_lost = self.services.limits.grace
        self._drop(CloseCode.DRAINING, reason, now)

    def ended(self, reason: str, text: str, now: Now, *, by: Device | None = None) -> None:
        """The session was ended elsewhere: notify the client."""
        if self.state in _HELD or (self.state is _S.ENDING and self.owner is not None):
            self._close_ended(reason, text, by)

    def superseded(self, generation: int, now: Now) -> None:
        """A connection of at least ``generation`` has the session; this one ends with a final code of its own (S7)."""
        owner = self.owner
        if owner is not None and owner.generation <= generation and self._step(_E.DROP):
            self._effects.append(Close(CloseCode.SUPERSEDED, "a newer connection of this session took over"))

    def end(self, reason: EndReason, text: str, now: Now) -> None:
        """This node ends the session: its application was disabled, its token revoked or expired."""
        owner = self.owner
        if self.state not in _HELD or owner is None:
            return
        self._step(_E.END)
        text = text or TEXT_OF_REASON[reason]
        request = EndRequest(session_id=owner.session_id, reason=reason, text=text, owner=owner)
        self._ask(request, lambda _result, _now: self._close_ended(reason, text, None))

    def directory_changed(self, now: Now) -> None:
        """The directory was read again: what it says of the application counts for open sessions too (S18)."""
        application = self.services.application(self.app)
        if application is None:
            return  # nothing missing is read as deleted (S15)
        if application.disabled:
            self.end(EndReason.APPLICATION_DISABLED, "", now)
        elif self.token.issued_at <= application.revoked_before or self.services.is_revoked(self.app, self.jti):
            self.end(EndReason.TOKEN_REVOKED, "", now)
        elif self.rooms is not None and self.owner is not None and self.state in _HELD:
            rights = self._rights()
            self._leave_rooms(rights.lost_by_setting(now))
            rights.unwatch(now)

    def room_left(self, room: str, reason: str) -> None:
        """The session lost its membership of a room."""
        if self.rooms is not None and self.rooms.left(room) and self.state in _HELD:
            self._notify_after_reply("rooms.left", RoomLeft(room, reason))

    def invited(self, invitation: Invitation, now: Now) -> None:
        """The session's participant was invited to a room."""
        if self.state in _HELD and self._session_rooms().note(invitation, now):
            self._notify_after_reply("rooms.invited", RoomInvited(invitation_to_wire(invitation)))

    def invitation_answered(self, answered: RoomInvitationAnswered) -> None:
        """An invitation by the session's participant was answered."""
        if self.state in _HELD:
            self._notify_after_reply("rooms.answered", answered)

    def _notify_after_reply(self, method: str, params: msgspec.Struct) -> None:
        """As `_notify`, but never before the reply to a resume."""
        (self._effects if self._news is None else self._news).append(Send(encode_notification(method, params)))

    # -- the first message --------------------------------------------------------------------------------------------

    def _first(self, request: Request, now: Now) -> None:
        method = request.method
        if method in _JOINS and request.id is not None:
            self._hellos += 1
            try:
                _JOINS[method](self, request.id, decode_params(method, request.params), now)
            except GreenroomError as error:
                self._refuse(request.id, error, now, resuming=method == "session.resume")
        elif method == "session.close":
            self._close_by_secret(request, now)
        elif method == "ping" and self._hellos:
            self._reply(request.id, _EMPTY)
        else:
            text = "The first message must be session.open or session.resume, with an id."
            if request.id is not None:
                self._fail(request.id, ProtocolError(text))
            self._drop(CloseCode.PROTOCOL_ERROR, text, now)

    def _open(self, request_id: RequestId, params: OpenParams, now: Now) -> None:
        """`session.open`. Raises what refuses it."""
        services = self.services
        request = open_request(params, services, address=self.address, origin=self.origin, now=now)
        # Set before it is open: what changes from now on is received and waits for the reply (S12).
        self.app = request.app
        self.watches.hold((request.participant_id,))
        self._grace_if_lost = services.limits.grace_unconfirmed

        def then(result: Any, now: Now) -> None:
            if not isinstance(result, Attached):
                self._not_joined(request_id, result, now, resuming=False)
            elif self._joined(result, request.secret_hash, 0):
                back = NO_ROOMS
                if result.invitations or result.lost_rooms or result.session.rooms:
                    back = come_back(result, self._rights(), {}, now, resuming=False)
                    self.rooms = back.rooms
                self._answer_join(request_id, result.participant, (), now, back)

        self._step(_E.HELLO)
        self._ask(request, then)

    def _resume(self, request_id: RequestId, params: ResumeParams, now: Now) -> None:
        """`session.resume`. Raises what refuses it."""
        services = self.services
        request, token = attach_request(params, services, address=self.address, origin=self.origin, now=now)
        self._grace_if_lost = services.limits.grace

        def then(result: Any, now: Now) -> None:
            if not isinstance(result, Attached):
                self._note_if_refused(result, now)
                self._not_joined(request_id, result, now, resuming=True)
            # Accepted or repeated: in both cases the next secret is the current one now (S1).
            elif self._joined(result, request.next_secret_hash, request.attempt):
                services.note_resumed(request.session_id, now)
                try:
                    if token is not None:
                        self._check_same_identity(token)
                except GreenroomError as error:
                    self._detach_refused(request_id, error, now)
                else:
                    known = dict(params.watching_rooms)
                    back = come_back(result, self._rights(), known, now, has_new_token=token is not None)
                    self.rooms = back.rooms
                    self._watch_again(request_id, dict(params.watching), back)

        self._step(_E.HELLO)
        self._ask(request, then)

    def _note_if_refused(self, error: GreenroomError, now: Now) -> None:
        if isinstance(error, SessionEndedError):
            self.services.note_failed_resume(self.address, now)

    def _joined(self, attached: Attached, secret_hash: bytes, attempt: int) -> bool:
        """The engine attached the session. False where its connection is gone: then it is let go of again."""
        record = attached.session
        self.app = record.app
        owner = self.owner = Owner(record.id, record.generation, record.lease)
        abandoned = self.state is _S.ABANDONED
        self._step(_E.JOINED)
        if abandoned:
            # No grace: its client closed it.
            if self._grace_if_lost <= 0.0:
                self._notify_engine(_end_of(owner))
            else:
                self._notify_engine(DetachRequest(owner, self._grace_if_lost))
            return False
        self.participant_id = record.participant_id
        self.external_id = record.external_id
        self.scopes = record.scopes
        self.jti = record.jti
        since = record.token_grace_since
        self.token.start(
            record.token_issued_at, record.token_expires_at, grace_since=None if since is None else since / 1000
        )
        self.session = LocalSession(record, attached.participant, secret_hash, attempt)
        return True

    def _watch_again(self, request_id: RequestId, known: dict[str, int], back: RoomsBack) -> None:
        """A resume brings its watches: subscribe and read before it is answered; what differs is in the reply (S12).

        The session's own participant is one of them: only now it is known who that is.
        """
        own = self.participant_id
        known.pop(own, None)
        self._news = []
        application = self._application()
        most = 0 if application is None or not allows(self.scopes, WATCH_SCOPE) else application.settings.max_watched
        known = dict(islice(known.items(), most))
        ids = (own, *known)
        self.watches.hold(ids)

        def then(result: Any, now: Now) -> None:
            if self.state not in _HELD:
                return
            if isinstance(result, GreenroomError):
                # The session is attached; the client's repeat is a repeat after a lost reply (S1).
                self._detach_refused(request_id, result, now)
                return
            self.participant_changed(result[0])
            changed = [one for one in result[1:] if known.get(one.id) != one.version]

            def answer(rosters: Any, now: Now) -> None:
                if self.state not in _HELD:
                    return
                if isinstance(rosters, GreenroomError) and not isinstance(rosters, RoomsUnavailableError):
                    self._detach_refused(request_id, rosters, now)
                    return
                self._answer_join(request_id, result[0], changed, now, back, rosters)
                self.watches.answer({one.id: one.version for one in result[1:] if known.get(one.id) == one.version})
                self._leave_rooms(back.leave)

            if back.watch is None:
                answer(None, now)
            else:
                self._ask(back.watch, answer)

        self._ask(WatchRequest(self.app, ids, known), then)

    def _answer_join(
        self,
        request_id: RequestId,
        participant: ParticipantRecord,
        changed: Sequence[ParticipantRecord],
        now: Now,
        back: RoomsBack,
        rosters: Sequence[AnyRoster] | GreenroomError | None = None,
    ) -> None:
        owner, limits = self.owner, self.services.limits
        assert owner is not None
        updates = [encode_update(record) for record in changed]
        first = cut(updates, MAX_PIECE_BYTES) if updates else 0
        status = None if self.session is None else self.session.record.status
        result = join_result(
            owner, limits, self.token.expires_at, now, participant, changed[:first], self.scopes, status
        )
        if back is not NO_ROOMS:
            result = back.with_news(result, rosters)
        self._effects.append(Send(encode_reply(request_id, result)))
        self._effects += self._news or ()
        self._news = None
        versions = {participant.id: participant.version}
        versions.update((one.id, one.version) for one in updates[:first])
        # The rest waits for the buffer, as any change does.
        versions.update((one.id, -1) for one in updates[first:])
        self.watches.answer(versions)
        for one in updates[first:]:
            self.watches.enqueue(one)
        self.directory_changed(now)  # while the attach was under way
        if now.wall >= self.token.due:
            self._check_token(now)

    def _refuse(self, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
        """Answer why, then wait for another open or close, as the refusal asks."""
        self._effects.append(Refused(ERRORS[error.code].reason, resuming))
        self._fail(request_id, error)
        if not stays_open(error, resuming=resuming):
            self._drop(close_of_refusal(error), close_reason(error), now)
        elif self._hellos >= self.services.limits.max_hellos:
            self._drop(CloseCode.RATE_LIMITED, "too many attempts on one connection", now)
        else:
            self._hello_due = now.mono + self.services.limits.hello_timeout

    def _not_joined(self, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
        waiting = self._queue.clear()
        self.watches = Watches()
        abandoned = self.state is _S.ABANDONED
        self._step(_E.REFUSED)
        if abandoned:
            return
        self._refuse(request_id, error, now, resuming=resuming)
        for request in waiting:
            if self.state is _S.HELLO:
                self._fail(request.id, SessionNotOpenError())

    def _detach_refused(self, request_id: RequestId, error: GreenroomError, now: Now) -> None:
        """Joined, and yet refused: the session waits, detached, for its full grace."""
        self._fail(request_id, error)
        self._drop(close_of_refusal(error), close_reason(error), now)

    def _close_by_secret(self, request: Request, now: Now) -> None:
        """`session.close` as the first message (S6)."""
        try:
            params = decode_params(request.method, request.params)
            if params.session_id is None or params.resume_secret is None:
                raise IllegalArgumentError("Before open, session.close needs sessionId and resumeSecret.")
            secret_hash = hash_of(params.resume_secret)
            self.services.check_resume(params.session_id, self.address, now)
        except GreenroomError as error:
            if request.id is not None:
                self._fail(request.id, error)
            code = CloseCode.RATE_LIMITED if isinstance(error, RateLimitedError) else CloseCode.PROTOCOL_ERROR
            self._drop(code, close_reason(error), now)
            return

        def then(result: Any, now: Now) -> None:
            if isinstance(result, GreenroomError):
                self._note_if_refused(result, now)
                self._fail(request.id, result)
                self._drop(close_of_refusal(result), close_reason(result), now)
            else:
                self._closed(request.id)

        self._step(_E.END)
        self._ask(EndRequest(session_id=params.session_id, reason=EndReason.CLOSED, secret_hash=secret_hash), then)

    def _malformed(self, error: GreenroomError, now: Now) -> None:
        request_id = error.request_id if isinstance(error, HalfPairError) else None
        self._effects.append(Send(encode_error(request_id, error)))
        if self.state is _S.HELLO:
            self._drop(CloseCode.PROTOCOL_ERROR, close_reason(error), now)

    # -- requests of an open session ----------------------------------------------------------------------------------

    def _carry_out_waiting(self, now: Now) -> None:
        """What waits, up to the first that needs the engine."""
        while self._current is None and self.state in _HELD:
            request = self._queue.take(now.mono)
            if request is None:
                return
            self._carry_out(request, now)

    def _carry_out(self, request: Request, now: Now) -> None:
        error = self._why_not(request.method)
        if error is None:
            try:
                params = decode_params(request.method, request.params)
                cost = cost_of(params)
                if cost and not self._queue.charge(cost, now.mono):
                    self._queue.put_back(request)
                    return
                _METHODS[request.method](self, request.id, params, now)
                return
            except GreenroomError as refusal:
                error = refusal
        self._fail(request.id, error)

    def _why_not(self, method: str) -> GreenroomError | None:
        if method not in METHODS:
            return GreenroomError(code=ErrorCode.METHOD_NOT_FOUND)
        if method in _JOINS:
            return ConflictError("This connection carries a session already.", hint="Use another connection.")
        if self.state is _S.FENCED and method != "session.close":
            return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        if self.state is _S.EXPIRED and method not in _SERVED_WHEN_EXPIRED:
            return TokenExpiredError()
        scope = SCOPE_OF_METHOD.get(method)
        if scope is not None and not allows(self.scopes, scope):
            return ScopeMissingError(scope=scope)
        return None

    def _request(
        self,
        call: SessionRequest | RoomRequest,
        request_id: RequestId,
        then: Callable[[Any, Now], msgspec.Struct | bytes],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Ask the engine for a request of the client's.

        ``then`` makes the reply of the result, or raises what refuses it. ``undo`` is called where it is refused.
        """
        generation = 0 if self.owner is None else self.owner.generation

        def finish(result: Any, now: Now) -> None:
            if self.state is _S.GONE:
                return
            try:
                if isinstance(result, GreenroomError):
                    moved = self.owner is not None and self.owner.generation > generation
                    raise for_client(result, moved=moved)
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

    def _close(self, request_id: RequestId, params: CloseParams, now: Now) -> None:
        """`session.close`: ends the session, then the connection."""
        owner = self.owner
        assert owner is not None
        if params.session_id is not None and params.session_id != owner.session_id:
            raise IllegalArgumentError("sessionId is not this connection's session.")
        self._step(_E.END)
        self._queue.clear()
        self._ask(_end_of(owner), lambda _result, _now: self._closed(request_id))

    def _refresh_token(self, request_id: RequestId, params: RefreshTokenParams, now: Now) -> None:
        """`session.refreshToken`: the same participant, a later end; new scopes count at once, also fewer."""
        owner = self.owner
        assert owner is not None
        token = self.services.verify(params.token, self.address, now, session_id=owner.session_id)
        known_application(self.services, token)
        self._check_same_identity(token)
        before = self._rights()
        leave = before.lost_by(before._replace(scopes=token.scopes, grants=token.room_grants), now)

        def then(_result: Any, now: Now) -> RefreshTokenResult:
            session = self.session
            if session is not None and session.record.room_grants != token.room_grants:
                session.record = replace(session.record, room_grants=token.room_grants)
            self.scopes = token.scopes
            self.jti = token.jti
            self.token.start(token.issued_at, token.expires_at)
            if now.wall < token.expires_at:
                self._step(_E.REFRESHED)
            if not allows(self.scopes, WATCH_SCOPE):
                self._unwatch_now(one for one in self.watches.ids if one != self.participant_id)
            self._rights().unwatch(now)
            for room in leave:
                self.room_left(room, PERMISSION_LOST)
            return RefreshTokenResult(token.expires_at * 1000, list(token.scopes))

        self._request(RefreshRequest(owner, facts_of(token), leave), request_id, then)

    def _update_participant_info(self, request_id: RequestId, params: UpdateParams, now: Now) -> None:
        """`session.updateParticipantInfo`: repeatable by its updateId (S14)."""
        request = update_request(params, self.owner, self.app, self.participant_id, self._application())
        self._request(request, request_id, lambda record, _now: self._own_participant(record))

    def _set_status(self, request_id: RequestId, params: SetStatusParams, now: Now) -> None:
        """`session.setStatus`: of this session; the participant's follows from all of its sessions."""
        request = status_request(params, self.owner, self.app, self.participant_id)

        def then(record: ParticipantRecord, _now: Now) -> ParticipantResult:
            session = self.session
            assert session is not None
            session.record = replace(session.record, status=None if request.status == AVAILABLE else request.status)
            self.participant_changed(record)
            return self._own_participant(record)

        self._request(request, request_id, then)

    def _get_participant(self, request_id: RequestId, params: NoParams, now: Now) -> None:
        """`session.getParticipant`: read from the engine, so never older than what any watcher was sent."""
        query = query_of(self.app, (self.participant_id,))
        self._request(query, request_id, lambda records, _now: self._own_participant(records[0]))

    def _own_participant(self, record: ParticipantRecord) -> ParticipantResult:
        self.watches.replied({record.id: record.version})
        return ParticipantResult(to_wire(record))

    def _get(self, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
        """`participants.get`"""
        most = self.services.limits.max_reply_bytes
        query, reply = get_participants(request_id, params, self.app, self._application(), self.watches, most)
        self._request(query, request_id, reply)

    def _watch(self, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
        """`participants.watch`"""
        watches, most = self.watches, self.services.limits.max_reply_bytes
        request, reply = watch_participants(request_id, params, self.app, self._application(), watches, most)

        def undo() -> None:
            gone = watches.release(request.ids)
            if gone:
                self._notify_engine(UnwatchRequest(self.app, gone))

        self._request(request, request_id, reply, undo)

    def _unwatch(self, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
        """`participants.unwatch`: of the session's own participant changes are always sent."""
        gone = self.watches.drop(one for one in ids_of(params, self._application()) if one != self.participant_id)
        self._request(UnwatchRequest(self.app, gone), request_id, lambda _result, _now: _EMPTY)

    def _unwatch_now(self, ids: Iterable[str]) -> None:
        gone = self.watches.drop(ids)
        if gone:
            self._notify_engine(UnwatchRequest(self.app, gone))

    def _about_room(self, ask: AskAboutRoom, request_id: RequestId, params: Any, now: Now) -> None:
        """`rooms.…`"""
        session, owner = self.session, self.owner
        assert session is not None
        assert owner is not None
        rooms, name = self._session_rooms(), session.participant.name
        asking = Asking(self.app, self.participant_id, name, owner, self._rights(), rooms, self.services)
        call = ask(asking, params, now)
        self._request(call.request, request_id, call.reply, call.undo)

    def _session_rooms(self) -> SessionRooms:
        if self.rooms is None:
            self.rooms = SessionRooms(is_granted=self._rights().is_granted)
        return self.rooms

    def _rights(self) -> Rights:
        grants = () if self.session is None else self.session.record.room_grants
        return Rights(self._application(), self.scopes, grants, self.rooms)

    def _leave_rooms(self, rooms: Iterable[str]) -> None:
        """These are not granted any more (R7)."""
        owner = self.owner
        if owner is not None:
            for room in rooms:
                self._notify_engine(leaving(self.app, self.participant_id, room, owner, PERMISSION_LOST))
                self.room_left(room, PERMISSION_LOST)

    def _application(self) -> Application | None:
        return self.services.application(self.app)

    def _check_same_identity(self, token: ClientToken) -> None:
        check_same_identity(token, self._application(), self.app, self.participant_id, self.external_id)

    # -- endings ------------------------------------------------------------------------------------------------------

    def _grace_of(self, code: int) -> float:
        """Seconds for which the session outlives the connection (S6)."""
        if code == CloseCode.GOING_AWAY:
            return self.services.limits.grace_going_away
        return self._grace_if_lost

    def _release(self, code: int, now: Now) -> None:
        """The connection of a session is gone: end it where its client said so, else detach it."""
        owner = self.owner
        assert owner is not None
        if code in VIOLATIONS:
            self.services.note_violation(owner.session_id, now)
            self.services.note_violation(self.participant_id, now)
        if code == CloseCode.NORMAL:
            self._notify_engine(_end_of(owner))
        else:
            self._notify_engine(DetachRequest(owner, self._grace_of(code)))

    def _drop(self, code: CloseCode, reason: str, now: Now) -> None:
        """Our side ends the connection; its session, if any, is kept for its grace."""
        if self.state in _HELD:
            self._release(code, now)
        if self._step(_E.DROP):
            self._effects.append(Close(code, reason))

    def _close_ended(self, reason: str, text: str, by: Device | None) -> None:
        """The session has ended: notify the client, then close."""
        if not self._step(_E.DROP):
            return
        known = _REASONS.get(reason, EndReason.TIMEOUT)
        text = text or TEXT_OF_REASON[known]
        self._notify("session.ended", SessionEnded(reason=reason, message=text, by=None if by is None else By(by)))
        self._effects.append(Close(CLOSE_OF_REASON[known], reason))

    def _closed(self, request_id: RequestId) -> None:
        """The session was ended by its client: answer, then close."""
        if self._step(_E.DROP):
            self._reply(request_id, _EMPTY)
            self._effects.append(Close(CloseCode.NORMAL, "closed"))

    def _check_token(self, now: Now) -> None:
        while self.state is _S.OPEN or self.state is _S.EXPIRED:
            due = self.token.tick(now.wall, expired=self.state is _S.EXPIRED)
            if due is TokenDue.WARNING:
                self._notify("session.tokenExpiring", TokenExpiring(self.token.expires_at * 1000))
            elif due is TokenDue.EXPIRED:
                self._step(_E.EXPIRE)
            elif due is TokenDue.OVER:
                self.end(EndReason.TOKEN_EXPIRED, "", now)
            else:
                return

    # -- steps and effects --------------------------------------------------------------------------------------------

    def _step(self, event: ServerEvent) -> bool:
        """The only place where the state changes. False where the event means nothing now."""
        after = SERVER_TRANSITIONS.get((self.state, event))
        if after is None:
            return False
        self.state = after
        if after is _S.GONE:
            self._current = None
            self._queue.clear()
        return True

    def _ask(self, request: SessionRequest | RoomRequest, then: Then) -> None:
        self._numbers += 1
        self._current = PendingCall(self._numbers, then)
        self._effects.append(EngineCall(self._numbers, request))

    def _notify_engine(self, request: SessionRequest | RoomRequest) -> None:
        """Ask the engine for something whose answer nobody waits for."""
        self._numbers += 1
        self._effects.append(EngineCall(self._numbers, request))

    def _reply(self, request_id: RequestId, result: msgspec.Struct) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_reply(request_id, result)))

    def _fail(self, request_id: RequestId, error: GreenroomError) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_error(request_id, error)))

    def _notify(self, method: str, params: msgspec.Struct) -> None:
        self._effects.append(Send(encode_notification(method, params)))


_METHODS: dict[str, Callable[[ServerSession, RequestId, Any, Now], None]] = {
    "session.close": ServerSession._close,
    "session.refreshToken": ServerSession._refresh_token,
    "session.updateParticipantInfo": ServerSession._update_participant_info,
    "session.setStatus": ServerSession._set_status,
    "session.getParticipant": ServerSession._get_participant,
    "participants.get": ServerSession._get,
    "participants.watch": ServerSession._watch,
    "participants.unwatch": ServerSession._unwatch,
}
"""Requests of an open session. `ping` is answered at once."""


def _about_room(ask: AskAboutRoom) -> Callable[[ServerSession, RequestId, Any, Now], None]:
    return lambda session, request_id, params, now: session._about_room(ask, request_id, params, now)


_METHODS.update({method: _about_room(ask) for method, ask in ROOM_METHODS.items()})
_JOINS: dict[str, Callable[[ServerSession, RequestId, Any, Now], None]] = {
    "session.open": ServerSession._open,
    "session.resume": ServerSession._resume,
}
"""Requests that bring a session to a connection."""


def _end_of(owner: Owner) -> EndRequest:
    """The client closed its session."""
    return EndRequest(session_id=owner.session_id, reason=EndReason.CLOSED, owner=owner)
