"""ClientSession: what an SDK must do next. A machine without I/O, clock or randomness.

Inputs take ``now`` (seconds, of a clock that never goes back) and never raise, in any order. Effects come out of
`effects` in order; `deadline` says when `tick` is next due. Each dial has an attempt number that is never used again,
so that a late input finds nothing. The shell carries out effects and owns one timer; it decides nothing.

The parts, from the top down: `session` (this class: inputs and timers), `inbound` (what connections bring in),
`lifecycle` (open, resume, losses, ends), `replies` (replies to requests), `pending_close` (closes that continue in the
background), `requests`, `watches`, `rooms` (joined and watched ones; `rosters` has what is held of each), `tokens` (the
token and its refresh), `attempts` (connections and delays), `retry_policy` (what follows from an error), `opening` (the
data of a session), `output` (state and effects). The browser SDK has the same parts in files of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from greenroom.core.client.effects import ClientSettings, ClientTools, Effect, Reject, Resolve
from greenroom.core.client.inbound import Inbound
from greenroom.core.client.lifecycle import Lifecycle
from greenroom.core.client.opening import NO_INFO, SavedSession
from greenroom.core.client.retry_policy import older_service_error
from greenroom.core.client.rooms import ROOMS
from greenroom.core.client.rosters import LocalRoom
from greenroom.core.client.tokens import TokenOrigin
from greenroom.core.client.watches import split_ids
from greenroom.core.states import ClientEvent, SessionState
from greenroom.errors import (
    ExternalIdMismatchError,
    GreenroomError,
    NotInitializedError,
    OpenCancelledError,
    OpenTimeoutError,
    SessionAlreadyOpenError,
    SessionEndedError,
    SessionNotOpenError,
    TokenExpiredError,
)
from greenroom.messages import (
    AnswerParams,
    Device,
    NoParams,
    ParticipantsParams,
    SendParams,
    SetStatusParams,
    UpdateParams,
)
from greenroom.model import EndReason, Invitation, Participant, ParticipantInfo

RoomQuestion = TypeVar("RoomQuestion")

WAKE_GAP = 5.0
"""Seconds by which the wall clock ran ahead of the other: the device slept, and the connection may be long dead."""


class ClientSession:
    """The session of one SDK object: at most one at a time."""

    def __init__(self, tools: ClientTools, settings: ClientSettings | None = None) -> None:
        self._tools = tools
        self._settings = settings or ClientSettings()
        self._lifecycle = Lifecycle(tools, self._settings)
        self._inbound = Inbound(self._settings, self._lifecycle)
        self._output = self._lifecycle.output
        self._tokens = self._lifecycle.tokens
        self._requests = self._lifecycle.requests
        self._attempts = self._lifecycle.attempts
        self._closes = self._lifecycle.closes
        self._rooms = self._lifecycle.rooms
        self._offline = False
        self._restored: SavedSession | None = None
        self._last_input: tuple[float, float] | None = None

    # -- what the shell may read ---------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        return self._output.state

    @property
    def participant(self) -> Participant | None:
        """The session's own participant, as last known; None without a session."""
        session = self._lifecycle.session
        return None if session is None else session.participant

    @property
    def session_id(self) -> str | None:
        session = self._lifecycle.session
        return None if session is None else session.id

    @property
    def scopes(self) -> tuple[str, ...]:
        """The session scopes of the token, as the service said."""
        session = self._lifecycle.session
        return () if session is None else session.scopes

    @property
    def status(self) -> str | None:
        """The session's status, as last acknowledged; None without a session."""
        session = self._lifecycle.session
        return None if session is None else session.status

    @property
    def token_external_id(self) -> str | None:
        """The external id in the token, if there is a token and it has one."""
        claims = self._tokens.claims
        return None if claims is None else claims.external_id

    def watched_participant(self, participant_id: str) -> Participant | None:
        """The latest record of a watched participant; None where it is not watched."""
        return self._lifecycle.watches.get(participant_id)

    def is_open(self) -> bool:
        """True from a successful open until close or a final end, also while reconnecting."""
        return self._lifecycle.session is not None

    def not_open_error(self) -> SessionNotOpenError:
        """Why there is no session: it says how the last one ended, until the next `open`."""
        end = self._lifecycle.last_end
        if end is None:
            return SessionNotOpenError()
        error = SessionNotOpenError(f"No session is open: the last one has ended ({end.reason}). {end.message}".strip())
        error.__cause__ = end.error
        return error

    def is_idle(self) -> bool:
        """Nothing is connected, tried or waited for: the shell may release its transport."""
        return self.state is SessionState.DISCONNECTED and not list(self._attempts) and not self._closes.pending

    def effects(self) -> list[Effect]:
        """What the shell must do, in order, since the last call."""
        return self._output.take()

    # -- inputs of the app ---------------------------------------------------------------------------------------

    def set_token(self, now: float, token: str | None, *, refreshable: bool) -> GreenroomError | None:
        """`initialize_token` (a token) or `initialize` (None: the first is requested later). Returns the error where
        it is refused.

        With a session, or an open under way, the token must be for the same participant.
        """
        self._note_time(now)
        tokens, is_idle = self._tokens, self.state is SessionState.DISCONNECTED
        if token is None:
            if not is_idle:
                return SessionAlreadyOpenError(
                    "Key and secret cannot be changed while a session is open.", hint="Close it first."
                )
            tokens.text, tokens.claims, tokens.refreshable = None, None, refreshable
            return None
        if is_idle:
            tokens.forget_identity()
        try:
            text, claims = tokens.check(token, TokenOrigin.GIVEN)
        except GreenroomError as error:
            return error
        tokens.refreshable = refreshable
        tokens.adopt(text, claims, TokenOrigin.GIVEN)
        self._lifecycle.token_changed(now)
        self._run(now)
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
        self._note_time(now)
        lifecycle = self._lifecycle
        error = self._open_error(info)
        if error is not None:
            self._output.emit(Reject(waiter, error))
        elif lifecycle.session is not None:
            self._output.emit(Resolve(waiter, lifecycle.session.participant))
        else:
            info = info or NO_INFO
            opening = lifecycle.opening or lifecycle.start_opening(
                now, info, device or Device(), self._take_restored(info)
            )
            opening.waiters[waiter] = None if timeout is None else now + timeout
        self._run(now)

    def _open_error(self, info: ParticipantInfo | None) -> GreenroomError | None:
        if not self._tokens.initialized:
            return NotInitializedError()
        opening, session = self._lifecycle.opening, self._lifecycle.session
        if session is not None:
            return None if session.is_same(info) else SessionAlreadyOpenError()
        if opening is not None and info not in (None, NO_INFO, opening.info):
            return SessionAlreadyOpenError("A session is being opened with other info.")
        in_token = self.token_external_id
        if info is not None and info.external_id and in_token is not None and info.external_id != in_token:
            return ExternalIdMismatchError()
        return None

    def cancel_open(self, now: float, waiter: int) -> None:
        """The caller of `open` was cancelled. The open continues while others wait for it."""
        self._note_time(now)
        opening = self._lifecycle.opening
        if opening is not None and waiter in opening.waiters:
            del opening.waiters[waiter]
            self._lifecycle.give_up_if_alone(now)
        self._run(now)

    def close(self, now: float, waiter: int) -> None:
        """End the session. Local state is cleared at once. The waiter is resolved when the service has confirmed, or
        after 2 s; it is never rejected."""
        self._note_time(now)
        if self._lifecycle.opening is None and self._lifecycle.session is None:
            if not self._closes.join(now, waiter):
                self._output.emit(Resolve(waiter, None))
        else:
            ended = SessionEndedError(end_reason=EndReason.CLOSED)
            self._lifecycle.leave(now, [waiter], OpenCancelledError(), ended)
            self._output.apply(ClientEvent.CLOSE)
        self._run(now)

    def abandon(self, now: float) -> None:
        """The app exits: everything ends at once, nothing is tried in the background."""
        self.close(now, -1)
        self._output.emit(*self._closes.abandon())
        self._run(now)

    def request(
        self, now: float, waiter: int, method: str, params: msgspec.Struct, timeout: float | None = None
    ) -> None:
        """Any request of an open session; while reconnecting it waits. timeout: seconds, None for 10."""
        self._note_time(now)
        limit = self._settings.request_timeout if timeout is None else timeout
        error: GreenroomError | None
        if self.is_open():
            error = self._requests.add(now, method, params, waiter, limit)
        else:
            error = self.not_open_error()
        if error is not None:
            self._output.emit(Reject(waiter, error))
        self._run(now)

    def update(
        self,
        now: float,
        waiter: int,
        name: str | None = None,
        avatar_url: str | None = None,
        if_revision: int | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> None:
        """Change the own participant: None leaves as it is, "" clears. Attributes are merged, where None removes one.
        Resolves with the participant."""
        params = UpdateParams(
            update_id=self._tools.random_bytes(16).hex(),
            name=name,
            avatar_url=avatar_url,
            if_revision=if_revision,
            attributes=None if attributes is None else dict(attributes),
        )
        if attributes is None or self._can(now, waiter, "attributes"):
            self.request(now, waiter, "session.updateParticipantInfo", params)

    def set_status(self, now: float, waiter: int, status: str) -> None:
        """Change the session's status. Resolves with the participant."""
        if self._can(now, waiter, "status"):
            self.request(now, waiter, "session.setStatus", SetStatusParams(status))

    def has(self, capability: str) -> bool:
        """Whether the service of the open session has it; True without a session."""
        session = self._lifecycle.session
        return session is None or capability in session.capabilities

    def _can(self, now: float, waiter: int, capability: str) -> bool:
        """Whether the session's service has it; where not, the waiter is rejected. It would ignore what it does not
        know."""
        if self.has(capability):
            return True
        self._note_time(now)
        self._output.emit(Reject(waiter, older_service_error(capability)))
        self._run(now)
        return False

    def get_participant(self, now: float, waiter: int) -> None:
        """Resolves with the own participant, as the service has it."""
        self.request(now, waiter, "session.getParticipant", NoParams())

    def participant_requests(self, ids: list[str], external_ids: list[str]) -> list[ParticipantsParams]:
        """The messages that so many ids need: each is a `request` of its own."""
        return list(split_ids(ids, external_ids, self._requests.max_ids))

    def unwatch(self, now: float, waiter: int, params: ParticipantsParams) -> None:
        """Stop watching. Changes of these are not reported from now on."""
        self._lifecycle.watches.drop(params.ids, params.external_ids)
        self.request(now, waiter, "participants.unwatch", params)

    # -- rooms ---------------------------------------------------------------------------------------------------

    def room(self, name: str) -> LocalRoom | None:
        """A room that the app joined or watches; None for any other."""
        return self._rooms.get(name)

    def joined_rooms(self) -> list[LocalRoom]:
        """Those in which the session is, also by a process before this one."""
        return self._rooms.joined()

    def invitations(self, now: float) -> list[Invitation]:
        """Those that wait for an answer, as far as the service has said."""
        self._lifecycle.clock.note(now, self._tools.wall())
        time = self._lifecycle.clock.time * 1000
        return [one for one in self._rooms.invitations.values() if one.expires_at > time]

    def join_room(self, now: float, waiter: int, name: str) -> None:
        """Resolves with the `LocalRoom`, at once where it is joined. A caller that is cancelled (`cancel_request`), or
        waits too long, leaves, unless others wait for the same."""
        if self._can(now, waiter, ROOMS):
            self._about_rooms(now, waiter, self._rooms.join, name)

    def leave_room(self, now: float, waiter: int, name: str) -> None:
        """Over at once. Resolves when the service has it, which is tried for as long as the session lives."""
        self._about_rooms(now, waiter, self._rooms.leave, name)

    def watch_room(self, now: float, waiter: int, name: str) -> None:
        """Resolves with the `LocalRoom`."""
        if self._can(now, waiter, ROOMS):
            self._about_rooms(now, waiter, self._rooms.watch, name)

    def unwatch_room(self, now: float, waiter: int, name: str) -> None:
        """Changes are not reported from now on, but of a room that is joined."""
        self._about_rooms(now, waiter, self._rooms.unwatch, name)

    def send_to_room(self, now: float, waiter: int, name: str, message: bytes, to: list[str]) -> None:
        """message: JSON. to: participants; empty: all. Resolves when it is published; repeated until then."""
        message_id = self._tools.random_bytes(16).hex()
        params = SendParams(room=name, message_id=message_id, message=msgspec.Raw(message), to=to)
        self._about_rooms(now, waiter, self._rooms.send, params)

    def answer_invitation(self, now: float, waiter: int, invitation_id: str, *, accept: bool) -> None:
        """It waits no longer, whatever the service answers."""
        self._rooms.invitations.pop(invitation_id, None)
        self.room_request(now, waiter, "rooms.answer", AnswerParams(invitation_id=invitation_id, accept=accept))

    def room_request(self, now: float, waiter: int, method: str, params: msgspec.Struct) -> None:
        """Any other request about rooms."""
        if self._can(now, waiter, ROOMS):
            self.request(now, waiter, method, params)

    def _about_rooms(
        self, now: float, waiter: int, do: Callable[[float, int, RoomQuestion, float], None], what: RoomQuestion
    ) -> None:
        self._note_time(now)
        if self.is_open():
            do(now, waiter, what, self._settings.request_timeout)
        else:
            self._output.emit(Reject(waiter, self.not_open_error()))
        self._run(now)

    # -- callers and tokens --------------------------------------------------------------------------------------

    def cancel_request(self, now: float, waiter: int) -> None:
        """The caller was cancelled."""
        self._note_time(now)
        self._requests.cancel(waiter)
        self._run(now)

    def token(self, now: float, number: int, answer: object) -> None:
        """What the app's refresh callback returned, or the exception that it raised."""
        self._note_time(now)
        before = self._tokens.text
        outcome = self._tokens.answer(number, answer)
        if outcome is not None:
            error, is_expired = outcome
            if error is not None:
                self._lifecycle.refresh_failed(now, error, is_expired)
            elif before != self._tokens.text or self._lifecycle.waiting_for_token:
                self._lifecycle.token_changed(now)
        self._run(now)

    # -- a process that goes, and the one that comes after it ------------------------------------------------------

    def snapshot(self) -> SavedSession | None:
        """What the next process needs to resume this session; None without one."""
        session, opening, claims = self._lifecycle.session, self._lifecycle.opening, self._tokens.claims
        if claims is None:
            return self._restored
        if session is not None:
            credentials, grace, info = session.credentials, session.grace, session.info
        elif opening is not None and opening.saved is not None:
            credentials, grace, info = opening.saved, opening.saved_grace, opening.info
        else:
            return self._restored
        return SavedSession(
            id=credentials.id,
            secrets=credentials.secrets(),
            attempt=credentials.attempt,
            grace=grace,
            info=info,
            app=claims.app,
            external_id=claims.external_id,
        )

    def loop_ended(self, now: float, why: str) -> None:
        """What carried the connections has ended without closing them: the session is over on this side, and the next
        `open` resumes it, if it asks for the same."""
        saved = self.snapshot()
        self._lifecycle.loop_ended(why)
        self._restored = saved
        self._run(now)

    def restore(self, saved: SavedSession) -> None:
        """The session of the process before this one: the next `open` resumes it, if it asks for the same."""
        self._restored = saved

    def _take_restored(self, info: ParticipantInfo) -> SavedSession | None:
        saved, self._restored = self._restored, None
        claims = self._tokens.claims
        if saved is None or saved.info != info:
            return None
        if claims is not None and (claims.app, claims.external_id) != (saved.app, saved.external_id):
            return None
        return saved

    # -- inputs of connections -----------------------------------------------------------------------------------

    def dialed(self, now: float, attempt: int) -> None:
        """The connection of this attempt is established."""
        self._note_time(now)
        self._inbound.dialed(attempt)
        self._run(now)

    def dial_failed(self, now: float, attempt: int, error: GreenroomError, retry_after: float | None = None) -> None:
        """There is no connection. An error that is not retryable ends an open, never an open session.

        retry_after: seconds, where the service said so (HTTP 503).
        """
        self._note_time(now)
        self._inbound.dial_failed(now, attempt, error, retry_after)
        self._run(now)

    def lost(self, now: float, attempt: int, code: int, reason: str = "") -> None:
        """The connection is gone. code: of the Close frame, 1006 where none came."""
        self._note_time(now)
        self._inbound.lost(now, attempt, code, reason)
        self._run(now)

    def message(self, now: float, attempt: int, data: bytes | str) -> None:
        """A text message arrived."""
        self._note_time(now)
        self._inbound.message(now, attempt, data)
        self._run(now)

    # -- hints of the device -------------------------------------------------------------------------------------

    def online(self, now: float) -> None:
        """The network is back, or may be: dial now, and check the connection."""
        self._offline = False
        self.wake(now)

    def offline(self, now: float) -> None:
        """There is no network: dialling is no use until `online`. A live connection is left alone."""
        self._note_time(now)
        self._offline = True
        self._run(now)

    def wake(self, now: float) -> None:
        """The device slept."""
        self._last_input = (now, self._tools.wall())
        self._lifecycle.clock.note(*self._last_input)
        self._woken(now)
        self._run(now)

    def _woken(self, now: float) -> None:
        live, redial = self._attempts.live(), self._attempts.redial
        if live is not None and live.pong_deadline is None:
            live.ping_due = now
        if redial.due is not None and self._lifecycle.retry_floor <= now:
            redial.at_once(now)
        self._closes.network_back(now)

    def _note_time(self, now: float) -> None:
        """Every input begins here: if the wall clock ran ahead, the device slept."""
        wall = self._tools.wall()
        before, self._last_input = self._last_input, (now, wall)
        self._lifecycle.clock.note(now, wall)
        if before is not None and (wall - before[1]) - (now - before[0]) > WAKE_GAP:
            self._woken(now)

    # -- timers --------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time has passed: do what is due."""
        self._note_time(now)
        self._run(now)

    def deadline(self) -> float | None:
        """When `tick` is next due; None: never, unless there is another input."""
        times = [self._tokens_due(), self._requests.due(), self._closes.due(), self._dial_due()]
        for attempt in self._attempts:
            times += attempt.times()
        if self._lifecycle.opening is not None:
            times += self._lifecycle.opening.waiters.values()
        return min((when for when in times if when is not None), default=None)

    def _tokens_due(self) -> float | None:
        if self._last_input is None:
            return None
        return self._tokens.due(self._last_input[0], live=self._attempts.live() is not None)

    def _dial_due(self) -> float | None:
        lifecycle = self._lifecycle
        if self._offline or lifecycle.waiting_for_token or self._attempts.candidate() is not None:
            return None
        return self._attempts.redial.due if lifecycle.opening is not None or lifecycle.session is not None else None

    def _run(self, now: float) -> None:
        """Every input ends here: do all that is due."""
        self._run_open_timeouts(now)
        self._output.emit(*self._requests.run(now))
        self._inbound.run_timeouts(now)
        self._run_tokens(now)
        self._run_dial(now)
        self._output.emit(*self._closes.run(now))
        self._inbound.run_heartbeat(now)
        live = self._attempts.live()
        self._output.emit(*self._requests.flush(now, None if live is None else live.number))

    def _run_open_timeouts(self, now: float) -> None:
        opening = self._lifecycle.opening
        if opening is None:
            return
        for waiter, until in list(opening.waiters.items()):
            if until is not None and until <= now:
                del opening.waiters[waiter]
                why = "" if opening.last_error is None else f" The last attempt: {opening.last_error.message}"
                error = OpenTimeoutError(f"No session was opened in time.{why}")
                error.__cause__ = opening.last_error
                self._output.emit(Reject(waiter, error))
        self._lifecycle.give_up_if_alone(now)

    def _run_tokens(self, now: float) -> None:
        effects, error, is_expired = self._tokens.run(now, live=self._attempts.live() is not None)
        self._output.emit(*effects)
        if error is not None:
            self._lifecycle.refresh_failed(now, error, is_expired)

    def _run_dial(self, now: float) -> None:
        due = self._dial_due()
        if due is None or due > now:
            return
        lifecycle = self._lifecycle
        self._attempts.redial.due = None
        if self._tokens.may_be_tried():
            self._attempts.dial(now)
        elif self._tokens.refreshable:
            self._tokens.request_refresh(is_expired=True)
            lifecycle.waiting_for_token = True
            self._run_tokens(now)
        elif lifecycle.opening is not None:
            lifecycle.open_failed(now, TokenExpiredError())
        else:
            self._attempts.dial(now)
