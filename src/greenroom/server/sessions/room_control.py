"""What is done to the members of rooms, and how the nodes that hold their sessions learn of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import uuid4

import msgspec

from greenroom.core.commands import AnsweredCommand, InvitedCommand, RoomCommand, RoomLeftCommand
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    EndRoom,
    InviteRequest,
    KickMember,
    MembershipLost,
    Moderated,
)
from greenroom.engines.base import Registry, SessionQuery
from greenroom.engines.rooms import Rooms
from greenroom.model import Application, Invitation, RegistryState


class Invitees(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to invite. ttl: seconds; None: the application's."""

    participants: tuple[str, ...]
    text: str = ""
    ttl: float | None = None


class RoomControl:
    """One for each node. notify: sends a command to a node; it may be lost."""

    def __init__(self, rooms: Rooms, registry: Registry, notify: Callable[[str, RoomCommand], None]) -> None:
        self._rooms = rooms
        self._registry = registry
        self._notify = notify

    async def moderate(self, request: KickMember | EndRoom) -> Moderated:
        """`Rooms.moderate`; then the nodes that hold sessions of who lost a membership are notified."""
        moderated = await self._rooms.moderate(request)
        self.notify_lost(moderated.lost)
        return moderated

    def notify_lost(self, lost: Iterable[MembershipLost]) -> None:
        """The nodes that hold these sessions notify their clients (`rooms.left`)."""
        for one in lost:
            command = RoomLeftCommand(
                session_id=one.session_id, generation=one.generation, room=one.room, reason=one.reason
            )
            self._notify(one.node, command)

    async def invite(
        self, application: Application, room: str, invitees: Invitees, *, inviter: str = "", inviter_name: str = ""
    ) -> tuple[Invitation, ...]:
        """One invitation for each invitee (R9). inviter: the participant; empty: the backend."""
        made = []
        for invitee in invitees.participants:
            invited = await self._rooms.invite(
                InviteRequest(
                    app=application.key,
                    room=room,
                    invitation_id=str(uuid4()),
                    inviter=inviter,
                    inviter_name=inviter_name,
                    invitee=invitee,
                    text=invitees.text,
                    ttl=application.settings.rooms.invitation_ttl if invitees.ttl is None else invitees.ttl,
                )
            )
            made.append(invited.invitation)
            for node, session_id, generation in invited.sessions:
                command = InvitedCommand(session_id=session_id, generation=generation, invitation=invited.invitation)
                self._notify(node, command)
        return tuple(made)

    async def answer(self, request: AnswerInvitation) -> Invitation:
        """`Rooms.answer`; then the inviter's sessions are notified, once. Raises NotFoundError,
        InvitationAnsweredError."""
        answered = await self._rooms.answer(request)
        invitation = answered.invitation
        if not invitation.inviter or not answered.is_new:
            return invitation
        page = await self._registry.sessions(
            SessionQuery(app=request.app, participant_id=invitation.inviter, brief=True)
        )
        for session in page.items:
            if session.state is RegistryState.ATTACHED:
                command = AnsweredCommand(
                    session_id=session.id,
                    generation=session.generation,
                    invitation_id=invitation.id,
                    room=invitation.room,
                    participant_id=request.participant_id,
                    accepted=request.accept,
                )
                self._notify(session.node, command)
        return invitation
