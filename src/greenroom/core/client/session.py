"""ClientSession: what an SDK must do next. A machine without I/O, clock or chance.

Inputs go in with ``now`` (seconds, a clock that never goes back) and never raise, in any order; effects come out of
`effects` in order; `deadline` says when `tick` is next due. Every dial has an attempt number that is retired when the
attempt is over, so a late input dies by number. The shell pumps effects and owns one timer; it decides nothing.

The pieces: `tokens` (the token and its refresh), `requests`, `watches`, `farewell`
(closing), `links` (connections and delays), `verdicts` (what a refusal means), `opening`.
Below this class, in this order: `wire`, `turns`, `traffic`, `base`.
"""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.client.effects import Effect, Hangup, Reject, Resolve, Tell, TokenRefreshFailed
from greenroom.core.client.links import Phase
from greenroom.core.client.opening import NO_INFO, Session
from greenroom.core.client.tokens import Origin
from greenroom.core.client.watches import pieces
from greenroom.core.client.wire import ClientWire
from greenroom.core.states import ClientEvent, SessionState
from greenroom.errors import (
    ExternalIdMismatchError,
    GreenroomError,
    NotInitializedError,
    OpenCancelledError,
    OpenTimeoutError,
    ServiceError,
    SessionAlreadyOpenError,
    SessionEndedError,
    SessionNotOpenError,
    TokenExpiredError,
    TokenInvalidError,
)
from greenroom.messages import Device, NoParams, ParticipantsParams, UpdateParams
from greenroom.model import EndReason, Participant, ParticipantInfo

_WAKE_GAP = 5.0
"""Seconds by which the wall clock ran ahead of ours: the machine slept, and the connection may be long dead."""


class ClientSession(ClientWire):
    """One SDK's session: at most one at a time, with everything that keeps it."""

    @property
    def participant(self) -> Participant | None:
        """The session's own, as last known; None without a session."""
        return None if self._session is None else self._session.participant

    @property
    def session_id(self) -> str | None:
        return None if self._session is None else self._session.id

    @property
    def scopes(self) -> tuple[str, ...]:
        """The session scopes of the token, as the service said."""
        return () if self._session is None else self._session.scopes

    @property
    def token_external_id(self) -> str | None:
        """The external id in the token, if there is a token and it has one."""
        glance = self._tokens.glance
        return None if glance is None else glance.external_id

    def is_open(self) -> bool:
        """From a successful open until close or a final end, also while reconnecting."""
        return self._session is not None

    def is_idle(self) -> bool:
        """Nothing is connected, tried or waited for: the shell may let its transport go."""
        return self.state is SessionState.DISCONNECTED and not self._links and not self._farewells.going

    def effects(self) -> list[Effect]:
        """What the shell must do, in order, since it last asked."""
        effects, self._out = self._out, []
        return effects

    # -- the app ------------------------------------------------------------------------------------------------

    def set_token(self, now: float, token: str | None, *, refreshable: bool) -> GreenroomError | None:
        """`initialize_token` (a token) or `initialize` (None: the first is asked for). The error where it is refused.

        With a session, or on the way to one, the token must be for the same participant.
        """
        self._wake_up(now)
        keeper = self._tokens
        if token is None:
            if self.state is not SessionState.DISCONNECTED:
                return SessionAlreadyOpenError("Key and secret cannot be changed under a session.", hint="Close first.")
            keeper.text, keeper.glance, keeper.refreshable = None, None, refreshable
            return None
        if self.state is SessionState.DISCONNECTED:
            keeper.forget_identity()
        try:
            text, glance = keeper.check(token)
        except GreenroomError as error:
            return error
        keeper.refreshable = refreshable
        keeper.adopt(text, glance, Origin.GIVEN)
        self._token_changed(now)
        self._settle(now)
        return None

    def open(
        self,
        now: float,
        waiter: int,
        info: ParticipantInfo | None = None,
        device: Device | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        """Resolve the waiter with the participant, or reject it. timeout: seconds, None for no limit."""
        self._wake_up(now)
        error = self._open_error(info)
        if error is not None:
            self._emit(Reject(waiter, error))
        elif self._session is not None:
            self._emit(Resolve(waiter, self._session.participant))
        else:
            if self._opening is None:
                self._opening = self._new_opening(info or NO_INFO, device or Device())
                self._apply(ClientEvent.OPEN)
                self._dialer.soon(now)
            self._opening.waiters[waiter] = None if timeout is None else now + timeout
        self._settle(now)

    def _open_error(self, info: ParticipantInfo | None) -> GreenroomError | None:
        if not self._tokens.initialized:
            return NotInitializedError()
        opening, session = self._opening, self._session
        if session is not None and not session.is_same(info):
            return SessionAlreadyOpenError()
        if session is None and opening is not None and info not in (None, NO_INFO, opening.info):
            return SessionAlreadyOpenError("A session is being opened with other info.")
        token_says = self.token_external_id
        wanted = info.external_id if info is not None else None
        if session is None and wanted and token_says is not None and wanted != token_says:
            return ExternalIdMismatchError()
        return None

    def cancel_open(self, now: float, waiter: int) -> None:
        """The caller of `open` has gone. The open goes on while others wait for it."""
        self._wake_up(now)
        opening = self._opening
        if opening is not None and opening.waiters.pop(waiter, self) is not self:
            self._give_up_if_alone(now)
        self._settle(now)

    def close(self, now: float, waiter: int) -> None:
        """End the session. Local state is cleared at once; the waiter is resolved when the service has heard it, or
        after 2 s; it is never rejected."""
        self._wake_up(now)
        opening, session = self._opening, self._session
        if opening is None and session is None:
            if not self._farewells.join(now, waiter):
                self._emit(Resolve(waiter, None))
        else:
            self._leave(now, [waiter], OpenCancelledError(), SessionEndedError(end_reason=EndReason.CLOSED))
            self._apply(ClientEvent.CLOSE)
        self._settle(now)

    def abandon(self, now: float) -> None:
        """The app goes: everything ends at once, nothing is tried in the background."""
        self.close(now, -1)
        self._emit(*self._farewells.abandon())
        self._settle(now)

    def request(
        self, now: float, waiter: int, method: str, params: msgspec.Struct, timeout: float | None = None
    ) -> None:
        """Any request of an open session; while reconnecting it waits. timeout: seconds, None for 10."""
        self._wake_up(now)
        until = now + (self._settings.request_limit if timeout is None else timeout)
        is_open = self._session is not None
        error = self._requests.add(method, params, waiter, until) if is_open else SessionNotOpenError()
        if error is not None:
            self._emit(Reject(waiter, error))
        self._settle(now)

    def update(
        self,
        now: float,
        waiter: int,
        name: str | None = None,
        avatar_url: str | None = None,
        if_revision: int | None = None,
    ) -> None:
        """Change the own participant: None leaves as it is, "" clears. Resolves with the participant."""
        params = UpdateParams(
            update_id=self._tools.random_bytes(16).hex(), name=name, avatar_url=avatar_url, if_revision=if_revision
        )
        self.request(now, waiter, "session.updateParticipantInfo", params)

    def get_participant(self, now: float, waiter: int) -> None:
        """Resolves with the own participant, as the service has it."""
        self.request(now, waiter, "session.getParticipant", NoParams())

    def participant_requests(self, ids: list[str], external_ids: list[str]) -> list[ParticipantsParams]:
        """The messages that so many ids need: each is a `request` of its own."""
        return list(pieces(ids, external_ids, self._settings.resume_watches))

    def unwatch(self, now: float, waiter: int, params: ParticipantsParams) -> None:
        """Stop watching; nothing more is told of these from now on."""
        self._watches.drop(params.ids, params.external_ids)
        self.request(now, waiter, "participants.unwatch", params)

    def cancel_request(self, now: float, waiter: int) -> None:
        """The caller has gone."""
        self._wake_up(now)
        self._requests.cancel(waiter)
        self._settle(now)

    # -- the app's refresh callback ------------------------------------------------------------------------------

    def token(self, now: float, number: int, answer: object) -> None:
        """What the refresh callback returned, or the exception that it raised."""
        self._wake_up(now)
        before = self._tokens.text
        outcome = self._tokens.answer(number, answer)
        if outcome is not None:
            error, is_expired = outcome
            if error is not None:
                self._refresh_failed(now, error, is_expired)
            elif before != self._tokens.text:
                self._token_changed(now)
        self._settle(now)

    def _token_changed(self, now: float) -> None:
        self._send_token()
        # A dial that waited for the token goes now; one that waits for its delay does not.
        if self._waiting_for_token:
            self._waiting_for_token = False
            self._dialer.at(now)

    def _refresh_failed(self, now: float, error: GreenroomError, is_expired: bool) -> None:
        self._emit(Tell(TokenRefreshFailed(error, is_expired)))
        if self._tokens.usable():
            return
        if not is_expired:
            self._tokens.want(is_expired=True)  # the life ended while this was asked: another question
            return
        waiting, self._waiting_for_token = self._waiting_for_token, False
        session = self._session
        transient = isinstance(error, ServiceError) and error.retryable
        if transient and waiting:
            self._waiting_for_token = False
            self._attempt_failed(now, error, getattr(error, "retry_after", None))
        elif transient and self._tokens.in_leeway():
            self._tokens.want(is_expired=True)
        elif self._opening is not None and waiting:
            self._open_failed(now, error)
        elif session is not None and self._may_try_again(now, session, error):
            # The callback needs the network that we have not got either.
            if waiting:
                self._dialer.again(now)
            else:
                self._tokens.want(is_expired=True)
        elif session is not None:
            # The session is not coming back: nobody should see its ghost for the rest of the grace.
            self._leave(now, [], error, SessionEndedError(end_reason=EndReason.TOKEN_EXPIRED))
            self._ended(now, EndReason.TOKEN_EXPIRED, str(error), error=error, session=session)

    def _may_try_again(self, now: float, session: Session, error: GreenroomError) -> bool:
        """Whether a failed refresh may be the network's fault: the connection is away, or does not answer just now."""
        if isinstance(error, TokenInvalidError):
            return False
        live = self._live_link()
        if live is not None:
            return live.pong_until is not None
        return session.lost_at is not None and now < session.lost_at + session.grace

    # -- the shell -----------------------------------------------------------------------------------------------

    def online(self, now: float) -> None:
        """The network is back, or may be: dial now, look whether the connection lives."""
        self._offline = False
        self.wake(now)

    def offline(self, now: float) -> None:
        """There is no network: dialling is no use until `online`. A connection that lives is left alone."""
        self._wake_up(now)
        self._offline = True
        self._settle(now)

    def wake(self, now: float) -> None:
        """The machine slept."""
        self._seen = (now, self._tools.wall())
        self._woken(now)
        self._settle(now)

    def _woken(self, now: float) -> None:
        live = self._live_link()
        if live is not None and live.pong_until is None:
            live.ping_due = now
        if self._dialer.due is not None and self._retry_floor <= now:
            self._dialer.soon(now)
        self._farewells.hurry(now)

    def _wake_up(self, now: float) -> None:
        wall = self._tools.wall()
        before, self._seen = self._seen, (now, wall)
        if before is not None and (wall - before[1]) - (now - before[0]) > _WAKE_GAP:
            self._woken(now)

    def tick(self, now: float) -> None:
        """Time has passed: do what is due."""
        self._wake_up(now)
        self._settle(now)

    def deadline(self) -> float | None:
        """When `tick` is next due; None: never, unless something comes in."""
        times = [self._tokens_due(), self._requests.due(), self._farewells.due(), self._dial_due()]
        for link in self._links.values():
            times.append(link.limit)
            if link.phase is Phase.LIVE:
                times.append(link.ping_due if link.pong_until is None else link.pong_until)
        if self._opening is not None:
            times += self._opening.waiters.values()
        return min((when for when in times if when is not None), default=None)

    def _tokens_due(self) -> float | None:
        if self._seen is None:
            return None
        return self._tokens.due(*self._seen, live=self._live_link() is not None)

    # -- what is due -----------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._run_waiters(now)
        self._emit(*self._requests.run(now))
        self._run_links(now)
        self._run_tokens(now)
        self._run_dial(now)
        effects, self._next_attempt = self._farewells.run(now, self._next_attempt)
        self._emit(*effects)
        self._run_heartbeat(now)
        self._flush()

    def _run_waiters(self, now: float) -> None:
        opening = self._opening
        if opening is None:
            return
        for waiter, until in list(opening.waiters.items()):
            if until is not None and until <= now:
                del opening.waiters[waiter]
                why = "" if opening.last_error is None else f" The last attempt: {opening.last_error.message}"
                error = OpenTimeoutError(f"No session was opened in the time given.{why}")
                error.__cause__ = opening.last_error
                self._emit(Reject(waiter, error))
        self._give_up_if_alone(now)

    def _give_up_if_alone(self, now: float) -> None:
        opening = self._opening
        if opening is not None and not opening.waiters and not opening.is_reopen:
            self._leave(now, [], OpenCancelledError(), SessionEndedError(end_reason=EndReason.CLOSED))
            self._apply(ClientEvent.FAILED)

    def _run_tokens(self, now: float) -> None:
        effects, error, is_expired = self._tokens.run(now, live=self._live_link() is not None)
        self._emit(*effects)
        if error is not None:
            self._refresh_failed(now, error, is_expired)

    def _run_dial(self, now: float) -> None:
        due = self._dial_due()
        if due is None or due > now:
            return
        self._dialer.due = None
        if not self._tokens.usable():
            if self._tokens.refreshable:
                self._tokens.want(is_expired=True)
                self._waiting_for_token = True
                self._run_tokens(now)
                return
            if self._opening is not None:
                self._open_failed(now, TokenExpiredError())
                return
        self._dial(now)

    def _leave(self, now: float, waiters: list[int], opening_error: GreenroomError, error: GreenroomError) -> None:
        """Forget the session or the open under way, and say goodbye to the service."""
        opening, session, live = self._opening, self._session, self._live_link()
        if opening is not None:
            self._emit(*(Reject(waiter, opening_error) for waiter in opening.waiters))
        candidate = self._candidate_link()
        self._forget(now, error)
        if session is not None and not (opening is not None and opening.is_reopen):
            if candidate is not None:
                self._emit(Hangup(candidate.attempt, CloseCode.COME_BACK))
            rest = session.grace if session.lost_at is None else session.lost_at + session.grace - now
            self._emit(*self._farewells.start(now, session.id, session.secrets(), rest, live, waiters))
        elif candidate is not None and candidate.phase is Phase.HELLO:
            self._emit(*self._farewells.start(now, None, [], self._settings.close_limit, candidate, waiters))
        else:
            if candidate is not None:
                self._emit(Hangup(candidate.attempt, CloseCode.NORMAL))
            self._emit(*(Resolve(waiter, None) for waiter in waiters))
