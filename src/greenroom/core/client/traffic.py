"""Answers to the requests of an open session, and what is known of participants."""

from __future__ import annotations

import msgspec

from greenroom.core.client.base import ClientBase
from greenroom.core.client.effects import (
    ParticipantsChanged,
    ParticipantUpdated,
    Reject,
    Resolve,
    Tell,
    TokenRefreshFailed,
)
from greenroom.core.client.requests import HELD_CODES, Request
from greenroom.core.client.verdicts import (
    Verdict,
    verdict_of_error,
)
from greenroom.core.client.watches import pieces_of_known
from greenroom.errors import (
    GreenroomError,
    ProtocolError,
    RevisionConflictError,
)
from greenroom.messages import (
    Incoming,
    RefreshTokenParams,
    WireParticipant,
    decode_result,
)
from greenroom.model import Participant


class ClientTraffic(ClientBase):
    """Requests and records."""

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

    def _watch_again(self, known: list[tuple[str, int]]) -> None:
        """What the hello could not carry. Answers are snapshots of those that differ."""
        for request in self._requests:
            if request.waiter is None and request.method == "participants.watch":
                self._requests.take(request.id)
        for params in pieces_of_known(known, self._settings.resume_watches):
            self._requests.add("participants.watch", params, None, None)

    def _own(self, wire: WireParticipant, *, snapshot: bool = False) -> None:
        session = self._session
        if session is None or wire.id != session.participant.id:
            return
        participant = wire.to_participant()
        if participant != session.participant and (snapshot or wire.version > session.participant.version):
            session.participant = participant
            self._emit(Tell(ParticipantUpdated(participant)))
        # The service tells each version once on a connection, in whatever message: also to whoever watches himself.
        self._tell_changed(self._watches.notify([wire]))

    def _tell_changed(self, changed: list[Participant]) -> None:
        if changed:
            self._emit(Tell(ParticipantsChanged(tuple(changed))))


def _participant_of(record: object) -> object:
    """The record in a conflict, typed as the app knows it."""
    try:
        return msgspec.convert(record, WireParticipant).to_participant()
    except msgspec.ValidationError:
        return None
