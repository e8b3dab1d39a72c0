"""The turns of a session's life: hello, refusals, losses, ends and moves, and what follows from each."""

from __future__ import annotations

import msgspec

from greenroom.core.client.effects import (
    Reject,
    Resolve,
    Send,
    SessionReopened,
    Tell,
)
from greenroom.core.client.links import Link, Phase
from greenroom.core.client.opening import Opening, Session
from greenroom.core.client.traffic import ClientTraffic
from greenroom.core.client.verdicts import (
    Verdict,
    end_reason_of,
    error_of_close,
    retry_of_close,
    verdict_of_close,
    verdict_of_end,
    verdict_of_error,
)
from greenroom.core.states import ClientEvent
from greenroom.errors import (
    GreenroomError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenExpiredError,
    TokenRefreshError,
)
from greenroom.messages import (
    Device,
    Incoming,
    MoveOn,
    OpenResult,
    Retry,
    decode_result,
    encode_request,
)
from greenroom.messages import (
    SessionEnded as WireEnded,
)
from greenroom.model import ParticipantInfo

DRAINING = "draining"
"""A reason of `session.moveOn`: the node is well and goes on serving until the session has moved."""


class ClientTurns(ClientTraffic):
    """Open, resume, and open anew where a session is gone."""

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
        self._apply(ClientEvent.OPENED)
        if opening.reopen_reason is not None:
            self._emit(Tell(SessionReopened(participant, opening.reopen_reason, opening.previous_id)))
            self._requests.resend()
            self._watch_again(self._watches.known())
        self._emit(*(Resolve(waiter, participant) for waiter in opening.waiters))

    def _resumed(self, result: OpenResult) -> None:
        assert self._session is not None
        self._session.resumed(result)
        self._requests.resend()
        self._apply(ClientEvent.RESUMED)
        self._own(result.participant, snapshot=True)
        self._tell_changed(self._watches.snapshot(result.changed, only_held=True))
        self._watch_again(self._watches.known()[self._settings.resume_watches :])

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
        self._apply(ClientEvent.FAILED)
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
        self._apply(ClientEvent.LOST)
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
        elif (retry := retry_of_close(text)) is not None:
            self._come_back(now, retry)
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
        self._apply(ClientEvent.LOST)
        if verdict is Verdict.REFRESH and self._tokens.refreshable:
            self._refresh_then_dial(now)
        elif candidate is None and (retry := retry_of_close(text)) is not None:
            self._come_back(now, retry)
        elif candidate is None and self._dialer.due is None:
            if now >= link.since + self._settings.stable_after:
                self._dialer.failures = 0
            self._dialer.again(now)

    # -- what the service says ---------------------------------------------------------------------------------------

    def _service_ended(self, now: float, params: WireEnded) -> None:
        if params.retry is not None:
            live = self._live_link()
            if live is not None:
                self._hang_up(live)
            if self._session is not None:
                self._session.lost_at = now
            self._apply(ClientEvent.LOST)
            self._come_back(now, params.retry)
        elif verdict_of_end(params.reason) is Verdict.RENEW:
            self._reopen(now, params.reason, SessionEndedError(params.message or None, end_reason=params.reason))
        else:
            by = None if params.by is None else params.by.device
            error = SessionEndedError(params.message or None, end_reason=params.reason)
            self._ended(now, params.reason, params.message, by=by, error=error)

    def _come_back(self, now: float, retry: Retry) -> None:
        """The service said when: not sooner, also not on a hint."""
        self._dialer.steer(now, retry.after, retry.jitter)
        self._retry_floor = now + max(0.0, retry.after)

    def _move_on(self, now: float, params: MoveOn) -> None:
        """Make before break: the old connection is kept until another has been accepted (promise 8, S9)."""
        if params.reason != DRAINING:
            self._apply(ClientEvent.MOVE_ON)
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
        self._apply(ClientEvent.STAY)


def _retry_after(error: GreenroomError) -> float | None:
    return getattr(error, "retry_after", None)
