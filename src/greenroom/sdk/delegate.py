"""What an app is notified of (platform: ``VTSessionDelegate``)."""

from __future__ import annotations

from collections.abc import Awaitable

from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError
from greenroom.messages import Device
from greenroom.model import Invitation, InvitationAnswer, Participant

_Maybe = Awaitable[None] | None


class SessionDelegate:
    """Override what you need; each may be ``def`` or ``async def``.

    The methods are called one after the other from a separate task, in the order of events, outside every lock: they
    may await any call of the SDK. Their exceptions are logged with the session's id and not passed on.
    """

    def session_updated(self, state: SessionState) -> _Maybe:
        """The session has a new state."""
        return None

    def session_ended(self, reason: str, message: str, by: Device | None) -> _Maybe:
        """The session ended for good, and not by `close`.

        reason: an end's reason (``kicked``, ``blocked``, ``replaced``, ``token_expired``, …); message: the same for
        people; by: the device that replaced the session, None where none did or its name is not known.
        """
        return None

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> _Maybe:
        """A new session replaces one that the service no longer had. reason: why it was gone. previous_id: the
        participant's previous id; it differs if the participant is anonymous.
        """
        return None

    def token_refresh_failed(self, error: GreenroomError, is_expired: bool) -> _Maybe:
        """The refresh callback failed. Harmless unless is_expired: then the session cannot continue."""
        return None

    def participant_updated(self, participant: Participant) -> _Maybe:
        """The session's own participant changed, by this device or another."""
        return None

    def participants_changed(self, participants: list[Participant]) -> _Maybe:
        """Watched participants changed: the latest record of each."""
        return None

    def room_invited(self, invitation: Invitation) -> _Maybe:
        """The session's participant was invited to a room, now or before the session was opened: `RoomsService.accept`
        joins it, `decline` declines."""
        return None

    def room_invitation_answered(self, answer: InvitationAnswer) -> _Maybe:
        """Someone answered an invitation of this participant."""
        return None
