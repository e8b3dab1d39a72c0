"""Replies to the requests of an open session, and what they say about participants; those about rooms are passed on."""

from __future__ import annotations

import msgspec

from greenroom.core.backoff import bounded_retry
from greenroom.core.client.effects import (
    ParticipantsChangedEvent,
    ParticipantUpdatedEvent,
    Reject,
    Resolve,
    TokenRefreshFailedEvent,
)
from greenroom.core.client.opening import Session
from greenroom.core.client.output import Output
from greenroom.core.client.requests import HELD_CODES, LEAVE, MERGED_METHODS, PendingRequest, PendingRequests
from greenroom.core.client.retry_policy import RetryAction, action_of_error
from greenroom.core.client.rooms import LocalRooms
from greenroom.core.client.tokens import TokenManager
from greenroom.core.client.watches import WatchedParticipants, split_known
from greenroom.errors import GreenroomError, ProtocolError, RateLimitedError, RevisionConflictError, SessionEndedError
from greenroom.messages import (
    Incoming,
    ParticipantsParams,
    RefreshTokenParams,
    SetStatusParams,
    WireParticipant,
    decode_result,
)
from greenroom.model import Participant


class Replies:
    """Resolves and rejects the callers, and keeps records and token up to date."""

    def __init__(
        self,
        output: Output,
        tokens: TokenManager,
        requests: PendingRequests,
        watches: WatchedParticipants,
        rooms: LocalRooms,
    ) -> None:
        self._output = output
        self._tokens = tokens
        self._requests = requests
        self._watches = watches
        self._rooms = rooms

    def received(self, now: float, session: Session | None, request: PendingRequest, incoming: Incoming) -> bool:
        """The service's reply to this request. True: the node no longer has the session."""
        if incoming.error is not None:
            return self._refused(now, request, incoming.error.to_error())
        try:
            result = decode_result(request.method, incoming.result)
        except msgspec.MsgspecError:
            self._reject(request, ProtocolError(f"The reply to {request.method} cannot be read."))
            return False
        value: object = None
        if request.method in ("session.updateParticipantInfo", "session.getParticipant", "session.setStatus"):
            value = result.participant.to_participant()
            if session is not None and isinstance(request.params, SetStatusParams):
                session.status = request.params.status
            self.own_record(session, result.participant)
        elif request.method in ("participants.get", "participants.watch"):
            if request.method == "participants.watch":
                self.changed(self._watches.snapshot(result.participants, only_held=not request.callers))
            self._resolve_lookups(request, [one.to_participant() for one in result.participants])
            return False
        elif request.method == "session.refreshToken":
            assert isinstance(request.params, RefreshTokenParams)
            self._tokens.accepted = request.params.token
            if session is not None:
                session.scopes = tuple(result.scopes)
            self._requests.resend_held()
        elif request.method.startswith("rooms."):
            value = self._rooms.answered(request, result)
        self._output.emit(*(Resolve(caller.waiter, value) for caller in request.callers))
        return False

    def _resolve_lookups(self, request: PendingRequest, found: list[Participant]) -> None:
        """Give each caller of a merged request what it asked for."""
        if len(request.callers) == 1:
            self._output.emit(Resolve(request.callers[0].waiter, found))
            return
        by_id = {one.id: one for one in found}
        by_external_id = {one.info.external_id: one for one in found}
        incomplete = []
        for caller in request.callers:
            params = caller.params
            assert isinstance(params, ParticipantsParams)
            own = [by_id.get(one) for one in params.ids] + [by_external_id.get(one) for one in params.external_ids]
            if None in own:
                incomplete.append(caller)
            else:
                self._output.emit(Resolve(caller.waiter, own))
        request.callers = incomplete
        self._requests.split(request)

    def _reject(self, request: PendingRequest, error: GreenroomError) -> None:
        self._output.emit(*(Reject(caller.waiter, error) for caller in request.callers))

    def _refused(self, now: float, request: PendingRequest, error: GreenroomError) -> bool:
        if isinstance(error, SessionEndedError):
            # This does not concern the request. Where the session has ended, the service says so to all; where it has
            # moved to another node, the next connection repeats the request.
            self._requests.hold(request, error)
            return True
        if isinstance(error, RateLimitedError):
            self._requests.repeat(request, error, now + (bounded_retry(error.retry_after) or 1.0))
        elif request.method == "session.refreshToken":
            self._token_refused(request, error)
        elif error.code in HELD_CODES:
            self._requests.hold(request, error)
            if action_of_error(error) is RetryAction.REFRESH:
                self._tokens.expire()
        elif len(request.callers) > 1 and not error.retryable and request.method in MERGED_METHODS:
            self._requests.split(request)  # one caller's mistake is not the others'
        elif request.callers:
            if isinstance(error, RevisionConflictError):
                error.participant = _participant_of(error.participant)
            self._reject(request, error)
            if request.method == LEAVE and error.retryable:
                request.callers.clear()
                self._rooms.refused(now, request, error)
        elif request.method.startswith("rooms."):
            self._rooms.refused(now, request, error)
        elif error.retryable:
            self._requests.hold(request, error)  # the machine's own: sent again after the next resume
        return False

    def _token_refused(self, request: PendingRequest, error: GreenroomError) -> None:
        has_expired = action_of_error(error) is RetryAction.REFRESH
        if error.retryable and not has_expired:
            self._requests.hold(request, error)
            return
        self._output.notify(TokenRefreshFailedEvent(error, not self._tokens.is_usable()))
        if has_expired:
            self._tokens.expire()

    def send_token(self) -> None:
        """Renew the session's token on the live connection (promise 6)."""
        if self._tokens.text in (None, self._tokens.accepted):
            return
        assert self._tokens.text is not None
        self._requests.drop_own("session.refreshToken")
        self._requests.add(0.0, "session.refreshToken", RefreshTokenParams(self._tokens.text), None)

    def watch_again(self, known: list[tuple[str, int]]) -> None:
        """Watch those that `session.resume` had no room for. The replies are snapshots of those that differ."""
        self._requests.drop_own("participants.watch")
        for params in split_known(known, self._requests.max_ids):
            self._requests.add(0.0, "participants.watch", params, None)

    def own_record(self, session: Session | None, wire: WireParticipant, *, snapshot: bool = False) -> None:
        """A record that may be that of the session's own participant."""
        if session is None or wire.id != session.participant.id:
            return
        participant = wire.to_participant()
        if participant != session.participant and (snapshot or wire.version > session.participant.version):
            session.participant = participant
            self._output.notify(ParticipantUpdatedEvent(participant))
        # The service sends each version once on a connection, in whatever message: one may watch oneself.
        self.changed(self._watches.update([wire]))

    def changed(self, participants: list[Participant]) -> None:
        """Report watched participants that have changed."""
        if participants:
            self._output.notify(ParticipantsChangedEvent(tuple(participants)))


def _participant_of(record: object) -> object:
    """The record in a conflict, as the app knows participants."""
    try:
        return msgspec.convert(record, WireParticipant).to_participant()
    except msgspec.ValidationError:
        return None
