"""Passes what the machine reports to the app: to its delegate, and to those who watch participants."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom.core.client.effects import (
    Notify,
    ParticipantsChangedEvent,
    ParticipantUpdatedEvent,
    RoomChangedEvent,
    RoomInvitationAnsweredEvent,
    RoomInvitedEvent,
    RoomLeftEvent,
    RoomMessageEvent,
    RoomMessagesMissedEvent,
    RoomUnwatchedEvent,
    SessionEndedEvent,
    SessionReopenedEvent,
    StateChanged,
    TokenRefreshFailedEvent,
)
from greenroom.core.states import SessionState
from greenroom.model import InvitationAnswer, Participant
from greenroom.sdk.callbacks import CallbackQueue, Merge, later
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.room import Room
from greenroom.sdk.watch import Watch


class Notifier:
    """Callbacks of the app go to the queue; watches are updated at once, so that they are never behind."""

    def __init__(self, callbacks: CallbackQueue) -> None:
        self.callbacks = callbacks
        self.delegate: SessionDelegate | None = None
        self.watches: list[Watch] = []
        self.rooms: list[Room] = []
        """Those that are not closed."""
        self._session_id: str | None = None

    def report(self, effect: StateChanged | Notify, session_id: str | None) -> None:
        """session_id: of the open session, None without one; for the log, where a callback raises."""
        self._session_id = session_id or self._session_id
        if isinstance(effect, StateChanged):
            if effect.state is SessionState.DISCONNECTED:
                self._finish_watches()
                self._close_rooms()
            self._call("session_updated", effect.state, key="session_updated")
            return
        event = effect.event
        match event:
            case SessionEndedEvent():
                self._call("session_ended", event.reason, event.message, event.by)
            case SessionReopenedEvent():
                self._call("session_reopened", event.participant, event.reason, event.previous_id)
            case TokenRefreshFailedEvent():
                self._call("token_refresh_failed", event.error, event.is_expired, key="token_refresh_failed")
            case ParticipantUpdatedEvent():
                self._call("participant_updated", event.participant, key="participant_updated")
            case ParticipantsChangedEvent():
                self._update_watches(event.participants)
                self._call(
                    "participants_changed", list(event.participants), key="participants_changed", merge=_latest_of_each
                )

            case RoomInvitedEvent():
                self._call("room_invited", event.invitation)
            case RoomInvitationAnsweredEvent():
                answer = InvitationAnswer(event.invitation_id, event.room, event.participant_id, event.accepted)
                self._call("room_invitation_answered", answer)
            case (
                RoomChangedEvent()
                | RoomMessageEvent()
                | RoomMessagesMissedEvent()
                | RoomLeftEvent()
                | RoomUnwatchedEvent()
            ):
                for room in self.rooms:
                    if room.name == event.room:
                        room.report(event, self._session_id)
                self.rooms = [room for room in self.rooms if not room.is_closed]

    def _close_rooms(self) -> None:
        """Of those that were joined the machine has said why."""
        rooms, self.rooms = self.rooms, []
        for room in rooms:
            room.close("closed", session_id=self._session_id)

    def _update_watches(self, participants: Iterable[Participant]) -> None:
        for participant in participants:
            for watch in list(self.watches):
                watch.update(participant, self._session_id)

    def _finish_watches(self) -> None:
        watches, self.watches = self.watches, []
        for watch in watches:
            watch.finish()

    def _call(self, method: str, *arguments: object, key: str | None = None, merge: Merge = later) -> None:
        callback = None if self.delegate is None else getattr(self.delegate, method, None)
        if callback is not None:
            self.callbacks.put(self._session_id, callback, *arguments, key=key, merge=merge)


def _latest_of_each(earlier: list[Participant], changed: list[Participant]) -> list[Participant]:
    return list({one.id: one for one in [*earlier, *changed]}.values())
