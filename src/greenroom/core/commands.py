"""What one node asks of another, over the bus: one struct for each kind.

On the wire a command is a JSON object whose `kind` names it. The members keep the names that version 0.1 gave them, so
that nodes of both versions understand each other while one takes the place of the other (S21); a kind that a node does
not know is left alone.
"""

from __future__ import annotations

import msgspec

from greenroom.model import Invitation, Restriction


class SupersededCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="superseded"):
    """A newer connection has the session: close the one of at most this generation (4503)."""

    session_id: str
    generation: int = 0


class EndedCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ended"):
    """The session was ended: notify its client, and close. by_device: the device that took its place."""

    session_id: str
    generation: int = 0
    reason: str = ""
    text: str = ""
    by_device: str | None = None
    by_device_name: str | None = None


class DirectoryCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="directory"):
    """The directory has changed: read it again. Where restrictions are given, these were made, and the directory's
    version rose from `before` to `after` by them: who is at `before` need read nothing."""

    restrictions: tuple[Restriction, ...] = ()
    before: int = 0
    after: int = 0


class DrainCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="drain"):
    """Move the clients to other nodes, and stop. rate: sessions a second, as text; empty: what the others take."""

    rate: str = msgspec.field(name="text", default="")


class SurveyCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="report"):
    """Say how you are. number: of the survey. asker: the node that gets the answer. held: ``sockets`` asks also for the
    sessions that the node holds."""

    number: str = msgspec.field(name="session_id")
    asker: str = msgspec.field(name="text")
    held: str = msgspec.field(name="reason", default="")


class SurveyAnswerCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="held"):
    """A piece of an answer, as JSON."""

    number: str = msgspec.field(name="session_id")
    piece: str = msgspec.field(name="text")


class CompareCommand(msgspec.Struct, frozen=True, tag_field="kind", tag="compare"):
    """Compare the sessions that you hold with what the engine lists, now."""


class RoomLeftCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="room_left"):
    """The session lost its membership of a room: notify its client."""

    session_id: str
    generation: int = 0
    room: str
    reason: str


class InvitedCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="invited"):
    """The session's participant was invited to a room: notify its client."""

    session_id: str
    generation: int = 0
    invitation: Invitation


class AnsweredCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="answered"):
    """An invitation by the session's participant was answered: notify its client."""

    session_id: str
    generation: int = 0
    invitation_id: str
    room: str
    participant_id: str
    accepted: bool


RoomCommand = RoomLeftCommand | InvitedCommand | AnsweredCommand
"""About one session and a room, for the node that holds the session."""
SessionCommand = SupersededCommand | EndedCommand
"""About one session, for the node that holds it."""
NodeCommand = DirectoryCommand | DrainCommand | SurveyCommand | SurveyAnswerCommand | CompareCommand
Command = SessionCommand | RoomCommand | NodeCommand
