"""How a session comes to a connection: `open`, `resume`, and `session.close` as the first message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenroom.codes import ERRORS, CloseCode
from greenroom.core.server.calls import (
    CloseBySecret,
    Joined,
    Now,
    OpenSession,
    Owned,
    ResumeSession,
    Send,
    WatchParticipants,
)
from greenroom.core.server.endings import close_of_refusal, may_go_on
from greenroom.core.server.ground import EMPTY, HELD, WATCH_SCOPE, Held, RequestId, ServerGround
from greenroom.core.server.hello import allows, check_same_identity, first_words, hash_of, prepare_open, prepare_resume
from greenroom.core.states import ServerEvent, ServerState
from greenroom.core.watching import Watches, cut, tell, to_wire
from greenroom.errors import (
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    SessionNotOpenError,
)
from greenroom.messages import (
    MAX_PIECE_BYTES,
    HalfPairError,
    OpenResult,
    Request,
    WireSession,
    decode_params,
    encode_error,
)
from greenroom.model import ParticipantRecord, SessionRecord

CAPABILITIES = ("resume", "watch")
_S, _C = ServerState, ServerEvent


class ServerJoin(ServerGround):
    """From the first message to the reply of `open` or `resume`."""

    __slots__ = ()

    def _hello(self, request: Request, now: Now) -> None:
        method = request.method
        if method == "session.open" and request.id is not None:
            self._begin(request, now, resuming=False)
        elif method == "session.resume" and request.id is not None:
            self._begin(request, now, resuming=True)
        elif method == "session.close":
            self._close_by_secret(request, now)
        elif method == "ping" and self._hellos:
            self._reply(request.id, EMPTY)
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

        self._ask(call, then)

    def _refuse(self, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
        """Answer why, then wait for another open or close, as the refusal asks."""
        self.refused = (ERRORS[error.code].reason, resuming)
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
            self.held = Held(joined, call.secret_hash, 0)
            self._answer_join(request_id, joined, (), now)
            return
        # Accepted or repeated: in both cases the next secret is the current one now (S1).
        self.held = Held(joined, call.next_secret_hash, call.attempt)
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
            if self.state not in HELD:
                return
            if isinstance(result, GreenroomError):
                # The session is attached; the client's repeat is a repeat after a lost reply (S1).
                self._part(request_id, result, now)
                return
            fresh = Joined(joined.session, result[0])
            self._answer_join(request_id, fresh, [one for one in result[1:] if known.get(one.id) != one.version], now)
            self.watches.answer({one.id: one.version for one in result[1:] if known.get(one.id) == one.version})

        self._ask(WatchParticipants(self.app, ids), then)

    def _part(self, request_id: RequestId, error: GreenroomError, now: Now) -> None:
        """Joined, and yet refused: the session waits, detached, for its full grace."""
        self._fail(request_id, error)
        self._drop(close_of_refusal(error), first_words(error), now)

    def _remember(self, record: SessionRecord, now: Now) -> None:
        self.app = record.app
        self.participant_id = record.participant_id
        self.external_id = record.external_id
        self.scopes = record.scopes
        self.issued_at, self.expires_at = record.token_issued_at, record.token_expires_at
        # A session resumed after its token's end gets the same time to refresh as one that was connected then (S5).
        self._ends_at = max(float(self.expires_at), now.wall) + self.house.limits.token_overrun

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

        self._ask(call, then)

    def _malformed(self, error: GreenroomError, now: Now) -> None:
        request_id = error.request_id if isinstance(error, HalfPairError) else None
        self._effects.append(Send(encode_error(request_id, error)))
        if self.state is _S.HELLO:
            self._drop(CloseCode.PROTOCOL_ERROR, first_words(error), now)
