"""The connections' side of the client's machine: dials, hellos, answers, heartbeats, losses and what follows."""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.client_effects import (
    ClientSettings,
    ClientTools,
    Dial,
    Effect,
    Hangup,
    ParticipantsChanged,
    ParticipantUpdated,
    Reject,
    Resolve,
    Send,
    SessionEnded,
    SessionReopened,
    StateChanged,
    Tell,
    TokenRefreshFailed,
)
from greenroom.core.client_farewell import Farewells
from greenroom.core.client_links import Dialer, Link, Phase
from greenroom.core.client_opening import Opening, Session
from greenroom.core.client_requests import HELD_CODES, Request, Requests
from greenroom.core.client_tokens import TokenKeeper
from greenroom.core.client_verdicts import (
    Verdict,
    end_reason_of,
    error_of_close,
    verdict_of_close,
    verdict_of_end,
    verdict_of_error,
)
from greenroom.core.client_watches import Watches, pieces_of_known
from greenroom.core.states import CLIENT_TRANSITIONS, ClientCue, SessionState, step
from greenroom.errors import (
    GreenroomError,
    ProtocolError,
    RevisionConflictError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenExpiredError,
    TokenRefreshError,
)
from greenroom.messages import (
    Device,
    Incoming,
    MoveOn,
    NoParams,
    OpenResult,
    RefreshTokenParams,
    WireParticipant,
    decode_incoming,
    decode_notification,
    decode_result,
    encode_request,
)
from greenroom.messages import (
    ParticipantsChanged as WireChanged,
)
from greenroom.messages import (
    SessionEnded as WireEnded,
)
from greenroom.model import Participant, ParticipantInfo

DRAINING = "draining"
"""A reason of `session.moveOn`: the node is well and goes on serving until the session has moved."""


class ClientWire:
    """State and everything that connections bring about. The app's side is `greenroom.core.client.ClientSession`."""

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

    def _cue(self, cue: ClientCue) -> None:
        """The one door through which the state changes."""
        state = step(CLIENT_TRANSITIONS, self.state, cue)
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

    def _run_links(self, now: float) -> None:
        for link in list(self._links.values()):
            if link.limit is not None and link.limit <= now:
                self._hang_up(link)
                self._attempt_failed(now, ServiceUnavailableError("The service did not answer in time."))
            elif link.pong_until is not None and link.pong_until <= now:
                self._hang_up(link)
                self._live_lost(now, link, CloseCode.HEARTBEAT, "")

    def _run_heartbeat(self, now: float) -> None:
        live = self._live_link()
        if live is not None and live.ping_due is not None and live.ping_due <= now and live.pong_until is None:
            live.pinged(now, self._requests.new_id(), self._settings)
            assert live.ping_id is not None
            self._emit(Send(live.attempt, encode_request(live.ping_id, "ping", NoParams())))

    def _flush(self) -> None:
        live = self._live_link()
        if live is not None:
            self._emit(*self._requests.flush(live.attempt))

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

    # -- hello ---------------------------------------------------------------------------------------------------

    def _new_opening(self, info: ParticipantInfo, device: Device, reason: str | None = None) -> Opening:
        opening = Opening(info, device, "", "", reopen_reason=reason)
        self._new_ids(opening)
        return opening

    def _new_ids(self, opening: Opening) -> None:
        opening.open_id = self._tools.random_bytes(16).hex()
        opening.secret = self._tools.random_bytes(32).hex()

    def _hello(self, link: Link) -> None:
        """Send open or resume, again where the first was refused on this connection."""
        token, session = self._tokens.text, self._session
        params: msgspec.Struct
        if self._opening is not None:
            assert token is not None
            method, params = "session.open", self._opening.params(token, self._tools.sdk)
        else:
            assert session is not None
            newer = token if token != self._tokens.accepted else None
            watching = self._watches.known()[: self._settings.resume_watches]
            method, params = "session.resume", session.resume(self._tools.random_bytes(32).hex(), newer, watching)
        link.phase, link.hello_id = Phase.HELLO, self._requests.new_id()
        self._sent_token = token
        self._emit(Send(link.attempt, encode_request(link.hello_id, method, params)))

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

    def _hello_answered(self, now: float, link: Link, incoming: Incoming) -> None:
        opening = self._opening
        if incoming.error is not None:
            error = incoming.error.to_error()
            if opening is not None:
                self._open_refused(now, link, opening, error)
            else:
                self._resume_refused(now, link, error)
            return
        result: OpenResult = decode_result("session.open", incoming.result)
        old = self._live_link()
        link.go_live(now)
        if old is not None:
            self._hang_up(old)
        self._tokens.accepted = self._sent_token
        self._dialer.due, self._retry_floor = None, float("-inf")
        if opening is not None:
            self._opened(now, opening, result)
        else:
            self._resumed(result)
        if self._tokens.text != self._tokens.accepted:
            self._send_token()

    def _opened(self, now: float, opening: Opening, result: OpenResult) -> None:
        participant = result.participant.to_participant()
        self._opening = None
        self._session = Session(
            id=result.session.id,
            grace=result.session.grace,
            secret=opening.secret,
            participant=participant,
            scopes=tuple(result.scopes),
            info=opening.info,
            device=opening.device,
            since=now,
            reopened=opening.is_reopen,
        )
        self._cue(ClientCue.OPENED)
        if opening.reopen_reason is not None:
            self._emit(Tell(SessionReopened(participant, opening.reopen_reason, opening.previous_id)))
            self._requests.resend()
            self._watch_again(self._watches.known())
        self._emit(*(Resolve(waiter, participant) for waiter in opening.waiters))

    def _resumed(self, result: OpenResult) -> None:
        assert self._session is not None
        self._session.resumed(result)
        self._requests.resend()
        self._cue(ClientCue.RESUMED)
        self._own(result.participant, snapshot=True)
        self._tell_changed(self._watches.snapshot(result.changed, only_held=True))
        self._watch_again(self._watches.known()[self._settings.resume_watches :])

    def _watch_again(self, known: list[tuple[str, int]]) -> None:
        """What the hello could not carry. Answers are snapshots of those that differ."""
        for request in self._requests:
            if request.waiter is None and request.method == "participants.watch":
                self._requests.take(request.id)
        for params in pieces_of_known(known, self._settings.resume_watches):
            self._requests.add("participants.watch", params, None, None)

    # -- refusals ------------------------------------------------------------------------------------------------

    def _open_refused(self, now: float, link: Link, opening: Opening, error: GreenroomError) -> None:
        verdict = verdict_of_error(error)
        if verdict is Verdict.REFRESH and self._tokens.refreshable and not opening.refreshed:
            opening.refreshed = True
            self._hang_up(link)
            self._refresh_then_dial(now)
        elif verdict is Verdict.RETRY:
            self._hang_up(link)
            self._attempt_failed(now, error, _retry_after(error))
        elif verdict is Verdict.RENEW and not opening.renewed:
            # The session that an unanswered open made has come and gone meanwhile.
            opening.renewed = True
            self._new_ids(opening)
            self._hello(link)
        else:
            self._hang_up(link)
            self._open_failed(now, error)

    def _open_failed(self, now: float, error: GreenroomError) -> None:
        opening = self._opening
        if opening is None:
            return
        if opening.is_reopen:
            no_token = isinstance(error, TokenExpiredError | TokenRefreshError)
            reason = opening.reopen_reason if no_token else end_reason_of(error)
            self._ended(now, reason or "", str(error), error=error)
            return
        waiters = list(opening.waiters)
        self._forget(now, error)
        self._cue(ClientCue.FAILED)
        self._emit(*(Reject(waiter, error) for waiter in waiters))

    def _resume_refused(self, now: float, link: Link, error: GreenroomError) -> None:
        verdict = verdict_of_error(error)
        if verdict is Verdict.RENEW:
            self._reopen(now, end_reason_of(error), error, link)
            return
        self._hang_up(link)
        if verdict is Verdict.RETRY:
            self._attempt_failed(now, error, _retry_after(error))
        elif verdict is Verdict.REFRESH and self._tokens.refreshable:
            self._refresh_then_dial(now)
        elif verdict is not Verdict.SUPERSEDED or self._live_link() is None:
            self._ended(now, end_reason_of(error), str(error), error=error)

    def _refresh_then_dial(self, now: float) -> None:
        self._tokens.spend()
        self._waiting_for_token = True
        self._dialer.at(now)

    def _reopen(self, now: float, reason: str, error: GreenroomError | None, link: Link | None = None) -> None:
        """One new session in place of one that is gone; link: a connection on which to ask for it."""
        session = self._session
        if session is None:
            return
        can = self._tokens.usable() or self._tokens.refreshable
        if not can or (session.reopened and now < session.since + self._settings.reopen_gap):
            text = "" if error is None else str(error)
            self._ended(now, reason, text, error=error or SessionEndedError(end_reason=reason))
            return
        live = self._live_link()
        if live is not None:
            self._hang_up(live)
        opening = self._new_opening(session.last_info(), session.device, reason)
        opening.previous_id = session.participant.id
        self._opening, self._tokens.accepted = opening, None
        self._cue(ClientCue.LOST)
        if link is not None and self._tokens.usable():
            link.limit = now + self._settings.attempt_limit
            self._hello(link)
        else:
            if link is not None:
                self._hang_up(link)
            self._dialer.soon(now)

    # -- losses --------------------------------------------------------------------------------------------------

    def _attempt_failed(self, now: float, error: GreenroomError, retry_after: float | None = None) -> None:
        if self._opening is not None:
            self._opening.last_error = error
        if retry_after is not None:
            self._retry_floor = now + retry_after
        self._dialer.again(now, retry_after)

    def _candidate_lost(self, now: float, code: int, text: str) -> None:
        verdict = verdict_of_close(code)
        error = error_of_close(code, text)
        if verdict is Verdict.FINAL and self._live_link() is None:
            if self._opening is not None:
                self._open_failed(now, error)
            else:
                self._ended(now, end_reason_of(error), str(error), error=error)
        elif verdict is Verdict.RENEW and self._opening is None:
            self._reopen(now, end_reason_of(error), error)
        elif verdict is Verdict.REFRESH and self._tokens.refreshable:
            self._refresh_then_dial(now)
        else:
            message = f"The connection was lost (close code {code}{': ' + text if text else ''})."
            self._attempt_failed(now, ServiceUnavailableError(message))

    def _live_lost(self, now: float, link: Link, code: int, text: str) -> None:
        session = self._session
        if session is None:
            return
        verdict, error = verdict_of_close(code), error_of_close(code, text)
        candidate = self._candidate_link()
        if verdict is Verdict.SUPERSEDED and candidate is not None and candidate.phase is Phase.HELLO:
            verdict = Verdict.RETRY  # by ourselves: the answer to the newer attempt is on its way
        if verdict in (Verdict.FINAL, Verdict.SUPERSEDED):
            self._ended(now, end_reason_of(error), str(error), error=error)
            return
        session.lost_at = now
        if verdict is Verdict.RENEW:
            if candidate is not None:
                self._hang_up(candidate)
            self._reopen(now, end_reason_of(error), error)
            return
        self._cue(ClientCue.LOST)
        if verdict is Verdict.REFRESH and self._tokens.refreshable:
            self._refresh_then_dial(now)
        elif candidate is None and self._dialer.due is None:
            if now >= link.since + self._settings.stable_after:
                self._dialer.failures = 0
            self._dialer.again(now)

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
        self._cue(ClientCue.ENDED)
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

    # -- answers and notifications ---------------------------------------------------------------------------------

    def _answered(self, now: float, request: Request, incoming: Incoming) -> None:
        if incoming.error is not None:
            self._refused(now, request, incoming.error.to_error())
            return
        try:
            result = decode_result(request.method, incoming.result)
        except msgspec.MsgspecError:
            if request.waiter is not None:
                self._emit(Reject(request.waiter, ProtocolError(f"The answer to {request.method} cannot be read.")))
            return
        value: object = None
        if request.method in ("session.updateParticipantInfo", "session.getParticipant"):
            value = result.participant.to_participant()
            self._own(result.participant)
        elif request.method in ("participants.get", "participants.watch"):
            value = [one.to_participant() for one in result.participants]
            if request.method == "participants.watch":
                self._tell_changed(self._watches.snapshot(result.participants, only_held=request.waiter is None))
        elif request.method == "session.refreshToken":
            assert isinstance(request.params, RefreshTokenParams)
            self._tokens.accepted = request.params.token
            if self._session is not None:
                self._session.scopes = tuple(result.scopes)
            self._requests.resend_held()
        if request.waiter is not None:
            self._emit(Resolve(request.waiter, value))

    def _refused(self, now: float, request: Request, error: GreenroomError) -> None:
        if request.method == "session.refreshToken":
            self._token_refused(now, request, error)
        elif error.code in HELD_CODES:
            self._requests.hold(request, error)
            if verdict_of_error(error) is Verdict.REFRESH:
                self._tokens.spend()
        elif request.waiter is not None:
            if isinstance(error, RevisionConflictError):
                error.participant = _participant_of(error.participant)
            self._emit(Reject(request.waiter, error))
        elif error.retryable:
            self._requests.hold(request, error)  # the machine's own: with the next resume

    def _token_refused(self, now: float, request: Request, error: GreenroomError) -> None:
        if error.retryable and verdict_of_error(error) is not Verdict.REFRESH:
            self._requests.hold(request, error)
            return
        self._emit(Tell(TokenRefreshFailed(error, not self._tokens.usable())))
        if verdict_of_error(error) is Verdict.REFRESH:
            self._tokens.spend()

    def _send_token(self) -> None:
        """Renew on the open connection (promise 6)."""
        if self._live_link() is None or self._tokens.text in (None, self._tokens.accepted):
            return
        assert self._tokens.text is not None
        self._requests.drop_own("session.refreshToken")
        self._requests.add("session.refreshToken", RefreshTokenParams(self._tokens.text), None, None)

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
            self._tokens.want(is_expired=False)

    def _service_ended(self, now: float, params: WireEnded) -> None:
        if params.retry is not None:
            live = self._live_link()
            if live is not None:
                self._hang_up(live)
            if self._session is not None:
                self._session.lost_at = now
            self._cue(ClientCue.LOST)
            self._dialer.steer(now, params.retry.after, params.retry.jitter)
            self._retry_floor = now + params.retry.after
        elif verdict_of_end(params.reason) is Verdict.RENEW:
            self._reopen(now, params.reason, SessionEndedError(params.message or None, end_reason=params.reason))
        else:
            by = None if params.by is None else params.by.device
            error = SessionEndedError(params.message or None, end_reason=params.reason)
            self._ended(now, params.reason, params.message, by=by, error=error)

    def _move_on(self, now: float, params: MoveOn) -> None:
        """Make before break: the old connection is kept until another has been accepted (promise 8, S9)."""
        if params.reason != DRAINING:
            self._cue(ClientCue.MOVE_ON)
        if self._candidate_link() is None:
            self._dialer.steer(now, params.after, params.jitter)
            self._retry_floor = now + params.after

    def _stay(self) -> None:
        """The node is well again. A resume already asked for is let finish: it may have been taken."""
        candidate = self._candidate_link()
        if candidate is not None and candidate.phase is Phase.DIALING:
            self._hang_up(candidate)
        self._dialer.stop()
        self._requests.resend_held()
        self._cue(ClientCue.STAY)

    def _own(self, wire: WireParticipant, *, snapshot: bool = False) -> None:
        session = self._session
        if session is None or wire.id != session.participant.id:
            return
        participant = wire.to_participant()
        if participant != session.participant and (snapshot or wire.version > session.participant.version):
            session.participant = participant
            self._emit(Tell(ParticipantUpdated(participant)))

    def _tell_changed(self, changed: list[Participant]) -> None:
        if changed:
            self._emit(Tell(ParticipantsChanged(tuple(changed))))


def _retry_after(error: GreenroomError) -> float | None:
    return getattr(error, "retry_after", None)


def _participant_of(record: object) -> object:
    """The record in a conflict, typed as the app knows it."""
    try:
        return msgspec.convert(record, WireParticipant).to_participant()
    except msgspec.ValidationError:
        return None
