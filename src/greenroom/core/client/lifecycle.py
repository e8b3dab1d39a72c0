"""The session's life: opened, resumed, lost, moved, reopened, closed, ended."""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.backoff import bounded_retry
from greenroom.core.client.attempts import Attempt, Attempts, Phase
from greenroom.core.client.clock import ServiceClock
from greenroom.core.client.effects import (
    ClientSettings,
    ClientTools,
    Disconnect,
    Reject,
    Resolve,
    SendText,
    SessionEndedEvent,
    SessionReopenedEvent,
    TokenRefreshFailedEvent,
)
from greenroom.core.client.opening import Credentials, Opening, SavedSession, Session
from greenroom.core.client.output import Output
from greenroom.core.client.pending_close import PendingCloses
from greenroom.core.client.replies import Replies
from greenroom.core.client.requests import PendingRequests
from greenroom.core.client.retry_policy import (
    LOOP_ENDED,
    RetryAction,
    action_of_close,
    action_of_end,
    action_of_error,
    end_reason_of,
    error_of_close,
    retry_of_close,
)
from greenroom.core.client.rooms import LocalRooms
from greenroom.core.client.tokens import TokenManager
from greenroom.core.client.watches import WatchedParticipants
from greenroom.core.presence import AVAILABLE
from greenroom.core.states import ClientEvent
from greenroom.errors import (
    GreenroomError,
    OpenCancelledError,
    ServiceError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenExpiredError,
    TokenInvalidError,
    TokenRefreshError,
)
from greenroom.messages import (
    Device,
    Incoming,
    MoveOn,
    OpenResult,
    SessionEnded,
    WireLimits,
    decode_result,
    encode_request,
)
from greenroom.model import EndReason, ParticipantInfo

DRAINING = "draining"
"""A reason of `session.moveOn`: the node is well, and serves until the session has moved."""

_NEVER = float("-inf")


class Lifecycle:
    """Owns the session, the open under way, and the parts that keep them.

    `opening` and `session`: both None without a session; `opening` alone while `open` is under way; `session` alone
    when it is open; both while a session is being opened in place of one that is gone.
    """

    def __init__(self, tools: ClientTools, settings: ClientSettings) -> None:
        self._tools = tools
        self._settings = settings
        self.output = Output()
        self.clock = ServiceClock()
        self.tokens = TokenManager(tools, settings, self.clock)
        self.requests = PendingRequests(settings)
        self.watches = WatchedParticipants()
        self.rooms = LocalRooms(self.output, self.requests)
        self.attempts = Attempts(tools, settings, self.output)
        self.closes = PendingCloses(tools, settings, self.requests, self.attempts)
        self.replies = Replies(self.output, self.tokens, self.requests, self.watches, self.rooms)
        self.opening: Opening | None = None
        self.session: Session | None = None
        self.waiting_for_token = False
        """The next dial waits for the app's refresh callback."""
        self.retry_floor = _NEVER
        """The service asked not to come back sooner, whatever the network hints."""
        self.last_end: SessionEndedEvent | None = None
        """How the last session ended, if not by `close`; None after the next `open`."""
        self._sent_token: str | None = None

    # -- open and resume -----------------------------------------------------------------------------------------

    def start_opening(self, now: float, info: ParticipantInfo, device: Device, saved: SavedSession | None) -> Opening:
        """saved: a session to resume, if the service still has it."""
        self.last_end = None
        self.opening = self._new_opening(info, device)
        if saved is not None:
            self.opening.saved, self.opening.saved_grace = saved.credentials(), saved.grace
        self.output.apply(ClientEvent.OPEN)
        self.attempts.redial.at_once(now)
        return self.opening

    def _new_opening(self, info: ParticipantInfo, device: Device, reopen_reason: str | None = None) -> Opening:
        opening = Opening(info, device, "", "", reopen_reason=reopen_reason)
        self._new_ids(opening)
        return opening

    def _new_ids(self, opening: Opening) -> None:
        opening.open_id = self._tools.random_bytes(16).hex()
        opening.secret = self._tools.random_bytes(32).hex()

    def send_hello(self, attempt: Attempt) -> None:
        """Send `session.open` or `session.resume`; again where the first was refused on this connection."""
        token, opening, session = self.tokens.text, self.opening, self.session
        credentials = opening.saved if opening is not None else session.credentials if session is not None else None
        params: msgspec.Struct
        if credentials is not None:
            newer = token if token != self.tokens.accepted else None
            watching = self.watches.known()[: self._settings.watches_per_message]
            next_secret, rooms = self._tools.random_bytes(32).hex(), self.rooms.known()
            params = credentials.resume(next_secret, newer, watching, rooms, rosters=opening is not None)
            method = "session.resume"
        else:
            assert opening is not None
            assert token is not None
            method, params = "session.open", opening.params(token, self._tools.sdk)
        attempt.phase, attempt.hello_id = Phase.HELLO, self.requests.new_id()
        self._sent_token = token
        self.output.emit(SendText(attempt.number, encode_request(attempt.hello_id, method, params)))

    def hello_answered(self, now: float, attempt: Attempt, incoming: Incoming) -> None:
        """The reply to `session.open` or `session.resume`."""
        opening = self.opening
        if incoming.error is not None:
            error = incoming.error.to_error()
            if opening is not None:
                self._open_refused(now, attempt, opening, error)
            else:
                self._resume_refused(now, attempt, error)
            return
        result: OpenResult = decode_result("session.open", incoming.result)
        old = self.attempts.live()
        attempt.go_live(now)
        self.attempts.disconnect(old)
        self.tokens.accepted = self._sent_token
        if result.session.server_time is not None:
            self.clock.learn(result.session.server_time / 1000)
        if self.tokens.accepted == self.tokens.text:
            self.tokens.clock_learned()
        self.attempts.redial.due, self.retry_floor = None, _NEVER
        limits = result.limits
        self.requests.connected(now, WireLimits() if limits is msgspec.UNSET else limits)
        if opening is not None:
            self._opened(now, opening, result)
        else:
            self._resumed(result)
        self.replies.send_token()  # where the refresh callback returned another one meanwhile

    def _opened(self, now: float, opening: Opening, result: OpenResult) -> None:
        participant = result.participant.to_participant()
        credentials = opening.saved or Credentials(result.session.id, opening.secret)
        credentials.resumed()
        self.opening = None
        self.session = Session(
            credentials=credentials,
            grace=result.session.grace,
            participant=participant,
            scopes=tuple(result.scopes),
            info=opening.info,
            device=opening.device,
            since=now,
            reopened=opening.is_reopen,
            capabilities=tuple(result.capabilities),
            status=result.session.status or AVAILABLE,
        )
        self.output.apply(ClientEvent.OPENED)
        if opening.reopen_reason is not None:
            self.output.notify(SessionReopenedEvent(participant, opening.reopen_reason, opening.previous_id))
            self.requests.resend()
            self.replies.watch_again(self.watches.known())
            self.rooms.reopened(result)
        else:
            self.rooms.opened(result)
        self.output.emit(*(Resolve(waiter, participant) for waiter in opening.waiters))

    def _resumed(self, result: OpenResult) -> None:
        assert self.session is not None
        self.session.resumed(result)
        self.requests.resend()
        self.output.apply(ClientEvent.RESUMED)
        self.replies.own_record(self.session, result.participant, snapshot=True)
        self.replies.changed(self.watches.snapshot(result.changed, only_held=True))
        self.replies.watch_again(self.watches.known()[self._settings.watches_per_message :])
        self.rooms.resumed(result)

    # -- refusals ------------------------------------------------------------------------------------------------

    def _open_refused(self, now: float, attempt: Attempt, opening: Opening, error: GreenroomError) -> None:
        action = action_of_error(error)
        if action is RetryAction.REFRESH and self.tokens.refreshable and not opening.refreshed:
            opening.refreshed = True
            self.attempts.disconnect(attempt)
            self._refresh_then_dial(now)
        elif action is RetryAction.RETRY:
            self.attempts.disconnect(attempt)
            self.attempt_failed(now, error, _retry_after(error))
        elif opening.saved is not None and action is not RetryAction.REFRESH:
            # The session of the process before this one is gone: the same connection takes an open.
            opening.saved = None
            attempt.deadline = now + self._settings.attempt_timeout
            self.send_hello(attempt)
        elif action is RetryAction.REOPEN and not opening.new_ids:
            # The session that an unanswered open had made has ended meanwhile.
            opening.new_ids = True
            self._new_ids(opening)
            self.send_hello(attempt)
        else:
            self.attempts.disconnect(attempt)
            self.open_failed(now, error)

    def open_failed(self, now: float, error: GreenroomError) -> None:
        """The open under way has failed for good."""
        opening = self.opening
        if opening is None:
            return
        if opening.is_reopen:
            no_token = isinstance(error, TokenExpiredError | TokenRefreshError)
            reason = opening.reopen_reason if no_token else end_reason_of(error)
            self._ended(now, reason or "", str(error), error=error)
            return
        self._forget(error)
        self.output.apply(ClientEvent.FAILED)
        self.output.emit(*(Reject(waiter, error) for waiter in opening.waiters))

    def _resume_refused(self, now: float, attempt: Attempt, error: GreenroomError) -> None:
        action = action_of_error(error)
        if action is RetryAction.REOPEN:
            self._reopen(now, end_reason_of(error), error, attempt)
            return
        self.attempts.disconnect(attempt)
        if action is RetryAction.RETRY:
            self.attempt_failed(now, error, _retry_after(error))
        elif action is RetryAction.REFRESH and self.tokens.refreshable:
            self._refresh_then_dial(now)
        elif action is not RetryAction.SUPERSEDED or self.attempts.live() is None:
            self._ended(now, end_reason_of(error), str(error), error=error)

    def _refresh_then_dial(self, now: float) -> None:
        self.tokens.expire()
        self.waiting_for_token = True
        self.attempts.redial.at(now)

    def _reopen(self, now: float, reason: str, error: GreenroomError, attempt: Attempt | None = None) -> None:
        """Open one new session in place of one that is gone. attempt: a connection on which to ask for it."""
        session = self.session
        if session is None:
            return
        has_token = self.tokens.may_be_tried() or self.tokens.refreshable
        if not has_token or (session.reopened and now < session.since + self._settings.reopen_gap):
            self._ended(now, reason, str(error), error=error)
            return
        self.attempts.disconnect(self.attempts.live())
        opening = self._new_opening(session.last_info(), session.device, reason)
        opening.previous_id = session.participant.id
        opening.status = None if session.status == AVAILABLE else session.status
        self.opening, self.tokens.accepted = opening, None
        self.output.apply(ClientEvent.LOST)
        if attempt is not None and self.tokens.may_be_tried():
            attempt.deadline = now + self._settings.attempt_timeout
            self.send_hello(attempt)
        else:
            self.attempts.disconnect(attempt)
            self.attempts.redial.at_once(now)

    # -- losses --------------------------------------------------------------------------------------------------

    def dial_failed(self, now: float, error: GreenroomError, retry_after: float | None = None) -> None:
        """There is no connection. An error that is not retryable ends an open, never an open session."""
        if self.opening is not None and not self.opening.is_reopen and not error.retryable:
            self.open_failed(now, error)
        else:
            self.attempt_failed(now, error, retry_after)

    def attempt_failed(self, now: float, error: GreenroomError, retry_after: float | None = None) -> None:
        """Dial again, later."""
        if self.opening is not None:
            self.opening.last_error = error
        if retry_after is not None:
            self.retry_floor = now + bounded_retry(retry_after)
        self.attempts.redial.after_failure(now, retry_after)

    def session_unknown(self, now: float, attempt: Attempt) -> None:
        """The live connection's node no longer has the session. It may have ended, which the service will say
        in a moment, or have moved: then a resume finds it."""
        if attempt.deadline is None:
            attempt.deadline = now + self._settings.end_timeout

    def candidate_lost(self, now: float, code: int, text: str) -> None:
        """The connection closed before `open` or `resume` was answered."""
        action = action_of_close(code)
        error = error_of_close(code, text)
        if action is not RetryAction.RETRY and self.opening is not None and self.opening.saved is not None:
            self.opening.saved = None
            self.attempts.redial.at(now)
        elif action is RetryAction.FINAL and self.attempts.live() is None:
            if self.opening is not None:
                self.open_failed(now, error)
            else:
                self._ended(now, end_reason_of(error), str(error), error=error)
        elif action is RetryAction.REOPEN and self.opening is None:
            self._reopen(now, end_reason_of(error), error)
        elif action is RetryAction.REFRESH and self.tokens.refreshable:
            self._refresh_then_dial(now)
        elif (retry := retry_of_close(text)) is not None:
            self._come_back(now, retry.after, retry.jitter)
        else:
            message = f"The connection was lost (close code {code}{': ' + text if text else ''})."
            self.attempt_failed(now, ServiceUnavailableError(message))

    def live_lost(self, now: float, attempt: Attempt, code: int, text: str) -> None:
        """The session's connection is gone."""
        session = self.session
        if session is None:
            return
        action, error = action_of_close(code), error_of_close(code, text)
        candidate = self.attempts.candidate()
        if action is RetryAction.SUPERSEDED and session.credentials.next_secret is not None:
            action = RetryAction.RETRY  # by ourselves, perhaps: the reply to an attempt is on its way, or was lost
        if action in (RetryAction.FINAL, RetryAction.SUPERSEDED):
            self._ended(now, end_reason_of(error), str(error), error=error)
            return
        session.lost_at = now
        if action is RetryAction.REOPEN:
            self.attempts.disconnect(candidate)
            self._reopen(now, end_reason_of(error), error)
            return
        self.output.apply(ClientEvent.LOST)
        redial = self.attempts.redial
        if action is RetryAction.REFRESH and self.tokens.refreshable:
            self._refresh_then_dial(now)
        elif candidate is None and (retry := retry_of_close(text)) is not None:
            self._come_back(now, retry.after, retry.jitter)
        elif candidate is None and redial.due is None:
            if now >= attempt.since + self._settings.stable_after:
                redial.failures = 0
            redial.after_failure(now)

    # -- what the service says -----------------------------------------------------------------------------------

    def ended_by_service(self, now: float, params: SessionEnded) -> None:
        """`session.ended`: for good, or until the client comes back."""
        error = SessionEndedError(params.message or None, end_reason=params.reason)
        if params.retry is not None:
            self.attempts.disconnect(self.attempts.live())
            if self.session is not None:
                self.session.lost_at = now
            self.output.apply(ClientEvent.LOST)
            self._come_back(now, params.retry.after, params.retry.jitter)
        elif action_of_end(params.reason) is RetryAction.REOPEN:
            self._reopen(now, params.reason, error)
        else:
            by = None if params.by is None else params.by.device
            self._ended(now, params.reason, params.message, by=by, error=error)

    def _come_back(self, now: float, after: float, jitter: float) -> None:
        """The service said when: not sooner, whatever the network hints."""
        self.attempts.redial.as_service_says(now, after, jitter)
        self.retry_floor = now + bounded_retry(after)

    def move_on(self, now: float, params: MoveOn) -> None:
        """Make before break: the old connection is kept until another one is accepted (promise 8, S9)."""
        if params.reason != DRAINING:
            self.output.apply(ClientEvent.MOVE_ON)
        if self.attempts.candidate() is None:
            self._come_back(now, params.after, params.jitter)

    def stay(self) -> None:
        """The node is well again. A resume that was sent is not cancelled: the service may have accepted it."""
        candidate = self.attempts.candidate()
        if candidate is not None and candidate.phase is Phase.DIALING:
            self.attempts.disconnect(candidate)
        self.attempts.redial.stop()
        self.requests.resend_held()
        self.output.apply(ClientEvent.STAY)

    # -- the token -----------------------------------------------------------------------------------------------

    def token_changed(self, now: float) -> None:
        """The app, or its refresh callback, gave another token."""
        if self.attempts.live() is not None:
            self.replies.send_token()
        # A dial that waited for the token is due now. One that waits for its delay is not.
        if self.waiting_for_token:
            self.waiting_for_token = False
            self.attempts.redial.at(now)

    def refresh_failed(self, now: float, error: GreenroomError, is_expired: bool) -> None:
        """The refresh callback failed. Without a usable token the session may have to end."""
        self.output.notify(TokenRefreshFailedEvent(error, is_expired))
        if self.tokens.is_usable():
            return
        if not is_expired:
            self.tokens.request_refresh(is_expired=True)  # the token expired during the call: ask with True
            return
        waiting, self.waiting_for_token = self.waiting_for_token, False
        session = self.session
        transient = isinstance(error, ServiceError) and error.retryable
        if transient and waiting:
            self.attempt_failed(now, error, _retry_after(error))
        elif transient and self.tokens.in_leeway():
            self.tokens.request_refresh(is_expired=True)
        elif self.opening is not None and waiting:
            self.open_failed(now, error)
        elif session is not None and self._network_may_be_down(now, session, error):
            # The callback needs the network that this session is missing too.
            if waiting:
                self.attempts.redial.after_failure(now)
            else:
                self.tokens.request_refresh(is_expired=True)
        elif session is not None:
            # The session is not coming back: nobody should see it as unreachable for the rest of the grace.
            self.leave(now, [], error, SessionEndedError(end_reason=EndReason.TOKEN_EXPIRED))
            self._ended(now, EndReason.TOKEN_EXPIRED, str(error), error=error, session=session)

    def _network_may_be_down(self, now: float, session: Session, error: GreenroomError) -> bool:
        """Whether a failed refresh may be the network's fault: the connection is lost, or does not answer."""
        if isinstance(error, TokenInvalidError):
            return False
        live = self.attempts.live()
        if live is not None:
            return live.pong_deadline is not None
        return session.lost_at is not None and now < session.lost_at + session.grace

    # -- close and end -------------------------------------------------------------------------------------------

    def leave(self, now: float, waiters: list[int], opening_error: GreenroomError, error: GreenroomError) -> None:
        """Forget the session or the open under way, and notify the service.

        opening_error: for the callers of `open`; error: for those of other requests.
        """
        opening, session = self.opening, self.session
        live, candidate = self.attempts.live(), self.attempts.candidate()
        if opening is not None:
            self.output.emit(*(Reject(waiter, opening_error) for waiter in opening.waiters))
        self._forget(error)
        if session is not None and not (opening is not None and opening.is_reopen):
            if candidate is not None:
                self.output.emit(Disconnect(candidate.number, CloseCode.COME_BACK))
            rest = session.grace if session.lost_at is None else session.lost_at + session.grace - now
            self.output.emit(*self.closes.start(now, session.id, session.credentials.secrets(), rest, live, waiters))
        elif opening is not None and opening.saved is not None:
            if candidate is not None:
                self.output.emit(Disconnect(candidate.number, CloseCode.COME_BACK))
            saved, grace = opening.saved, opening.saved_grace
            self.output.emit(*self.closes.start(now, saved.id, saved.secrets(), grace, None, waiters))
        elif candidate is not None and candidate.phase is Phase.HELLO:
            self.output.emit(*self.closes.start(now, None, [], self._settings.close_timeout, candidate, waiters))
        else:
            if candidate is not None:
                self.output.emit(Disconnect(candidate.number, CloseCode.NORMAL))
            self.output.emit(*(Resolve(waiter, None) for waiter in waiters))

    def give_up_if_alone(self, now: float) -> None:
        """Cancel the open under way when its last caller has gone."""
        opening = self.opening
        if opening is not None and not opening.waiters and not opening.is_reopen:
            self.leave(now, [], OpenCancelledError(), SessionEndedError(end_reason=EndReason.CLOSED))
            self.output.apply(ClientEvent.FAILED)

    def loop_ended(self, why: str) -> None:
        """All connections are gone, and nothing can be sent."""
        self.closes.pending.clear()
        self.attempts.clear()
        error = SessionEndedError(why, end_reason=LOOP_ENDED)
        if self.opening is not None:
            self.output.emit(*(Reject(waiter, error) for waiter in self.opening.waiters))
        has_session = self.session is not None
        self._forget(error)
        self.output.apply(ClientEvent.ENDED if has_session else ClientEvent.FAILED)
        if has_session:
            self.last_end = SessionEndedEvent(LOOP_ENDED, why, None, error)
            self.output.notify(self.last_end)

    def _ended(
        self,
        now: float,
        reason: str,
        message: str,
        *,
        error: GreenroomError,
        by: Device | None = None,
        session: Session | None = None,
    ) -> None:
        """The session ended for good, and not by `close`. session: the one that `leave` has forgotten already."""
        had_session = self.session is not None or session is not None
        for attempt in self.attempts:
            self.attempts.disconnect(attempt)
        if self.opening is not None:
            self.output.emit(*(Reject(waiter, error) for waiter in self.opening.waiters))
        self._forget(SessionEndedError(message or None, end_reason=reason))
        self.output.apply(ClientEvent.ENDED)
        if had_session:
            self.last_end = SessionEndedEvent(reason, message, by, error)
            self.output.notify(self.last_end)

    def _forget(self, error: GreenroomError) -> None:
        """After a close or an end nothing is left but the token. error: for all callers that wait."""
        self.output.emit(*self.requests.reject_all(error), *self.tokens.cancel())
        self.rooms.clear(end_reason_of(error))
        self.opening = self.session = None
        self.attempts.clear()
        self.watches.clear()
        self.attempts.redial.stop()
        self.tokens.accepted, self.waiting_for_token, self.retry_floor = None, False, _NEVER


def _retry_after(error: GreenroomError) -> float | None:
    return getattr(error, "retry_after", None)
