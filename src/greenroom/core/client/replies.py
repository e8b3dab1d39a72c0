"""Replies to the requests of an open session, and what they say about participants."""

from __future__ import annotations

import msgspec

from greenroom.core.client.effects import (
    ClientSettings,
    ParticipantsChangedEvent,
    ParticipantUpdatedEvent,
    Reject,
    Resolve,
    TokenRefreshFailedEvent,
)
from greenroom.core.client.opening import Session
from greenroom.core.client.output import Output
from greenroom.core.client.requests import HELD_CODES, PendingRequest, PendingRequests
from greenroom.core.client.retry_policy import RetryAction, action_of_error
from greenroom.core.client.tokens import TokenManager
from greenroom.core.client.watches import WatchedParticipants, split_known
from greenroom.errors import GreenroomError, ProtocolError, RevisionConflictError
from greenroom.messages import Incoming, RefreshTokenParams, WireParticipant, decode_result
from greenroom.model import Participant


class Replies:
    """Resolves and rejects the callers, and keeps records and token up to date."""

    def __init__(
        self,
        settings: ClientSettings,
        output: Output,
        tokens: TokenManager,
        requests: PendingRequests,
        watches: WatchedParticipants,
    ) -> None:
        self._settings = settings
        self._output = output
        self._tokens = tokens
        self._requests = requests
        self._watches = watches

    def received(self, session: Session | None, request: PendingRequest, incoming: Incoming) -> None:
        """The service's reply to this request."""
        if incoming.error is not None:
            self._refused(request, incoming.error.to_error())
            return
        try:
            result = decode_result(request.method, incoming.result)
        except msgspec.MsgspecError:
            if request.waiter is not None:
                error = ProtocolError(f"The reply to {request.method} cannot be read.")
                self._output.emit(Reject(request.waiter, error))
            return
        value: object = None
        if request.method in ("session.updateParticipantInfo", "session.getParticipant"):
            value = result.participant.to_participant()
            self.own_record(session, result.participant)
        elif request.method in ("participants.get", "participants.watch"):
            value = [one.to_participant() for one in result.participants]
            if request.method == "participants.watch":
                self.changed(self._watches.snapshot(result.participants, only_held=request.waiter is None))
        elif request.method == "session.refreshToken":
            assert isinstance(request.params, RefreshTokenParams)
            self._tokens.accepted = request.params.token
            if session is not None:
                session.scopes = tuple(result.scopes)
            self._requests.resend_held()
        if request.waiter is not None:
            self._output.emit(Resolve(request.waiter, value))

    def _refused(self, request: PendingRequest, error: GreenroomError) -> None:
        if request.method == "session.refreshToken":
            self._token_refused(request, error)
        elif error.code in HELD_CODES:
            self._requests.hold(request, error)
            if action_of_error(error) is RetryAction.REFRESH:
                self._tokens.expire()
        elif request.waiter is not None:
            if isinstance(error, RevisionConflictError):
                error.participant = _participant_of(error.participant)
            self._output.emit(Reject(request.waiter, error))
        elif error.retryable:
            self._requests.hold(request, error)  # the machine's own: sent again after the next resume

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
        self._requests.add("session.refreshToken", RefreshTokenParams(self._tokens.text), None, None)

    def watch_again(self, known: list[tuple[str, int]]) -> None:
        """Watch those that `session.resume` had no room for. The replies are snapshots of those that differ."""
        self._requests.drop_own("participants.watch")
        for params in split_known(known, self._settings.watches_per_message):
            self._requests.add("participants.watch", params, None, None)

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
