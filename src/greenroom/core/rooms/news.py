"""What the bus brings of a room: changes of its roster, and messages to its members."""

from __future__ import annotations

import msgspec

from greenroom.model import MemberRecord


class RosterChange(msgspec.Struct, frozen=True, kw_only=True):
    """A roster changed (R5). Counts only on a roster held at or above `since`, else the roster is read again."""

    app: str
    room: str
    version: int
    since: int
    count: int
    joined: tuple[MemberRecord, ...] = ()
    changed: tuple[MemberRecord, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    """(participant, reason)."""
    detailed: bool = True
    ended: bool = False
    room_id: str = ""
    """Empty: the room is not open."""


class RoomMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a room's members (R6)."""

    app: str
    room: str
    number: int
    sender: str
    """Participant; empty: the backend."""
    session_id: str
    """The sending session, which gets no echo."""
    message: bytes
    """JSON."""
    to: tuple[str, ...] = ()
    """Participants; empty: all."""
