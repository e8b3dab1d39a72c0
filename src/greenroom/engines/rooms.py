"""The sixth contract of an engine: rooms, their members, messages and invitations (rules R1 to R12)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from greenroom.core.rooms.news import RoomMessage as RoomMessage
from greenroom.core.rooms.news import RosterChange as RosterChange
from greenroom.core.rooms.requests import (
    Answered,
    AnswerInvitation,
    CreateRoom,
    EndRoom,
    Invited,
    InviteRequest,
    JoinRoom,
    KickMember,
    LeaveRoom,
    Moderated,
    RoomPage,
    RoomQuery,
    Roster,
    RosterQuery,
    SendMessage,
    Settled,
)
from greenroom.engines.cursors import encode_cursor

ROSTER_BYTES = 48 * 1024
"""Bytes of members in one page of a roster, about; a reply has at most 64 KiB."""
REMOVALS_KEPT = 1_000
"""Members who left that a roster remembers, the latest (R5)."""
REMOVAL_MEMORY = 600.0
"""Seconds for which it remembers them, and last numbers of participants (R2, R5)."""
OLDEST_NUMBER = 300.0
"""Seconds: an older number of a participant whom the room does not know is refused (R2)."""
RECORD_PERIOD = 1.0
"""Seconds between two changes of a member's name, avatar, status and attributes in a roster, at least (R4)."""
MARK_AGE = 1.0
"""Seconds after which the reaper settles a mark that nobody has settled (R2)."""
MARK_CLAIM = 3.0
"""Seconds for which one node has a mark (R2)."""
MARKS_OF_CALL = 100
"""Marks settled in one call."""
ENDED_OF_PASS = 500
"""Members who leave an ended room in one pass (R11)."""
REPAIR_PERIOD = 600.0
"""Seconds in which all rows and rosters have been compared once (R10)."""
REPAIRS_OF_CALL = 100
"""Pairs compared in one call (R10)."""
INVITATIONS_OF_INVITEE = 16
"""Kept, the latest (R9)."""
MESSAGE_MEMORY = 60.0
"""Seconds for which a message's id is remembered (R6)."""


def cursor_after(participant_id: str) -> str:
    """The cursor of the page of a roster that follows on this member; empty: of the first page. It is the same in every
    engine, so that a node may make a page of its own copy."""
    return encode_cursor("m", participant_id)


class Rooms(Protocol):
    """Rooms, members, messages, invitations. What a session writes is compare-and-set as in `Registry` (S7).

    Every method raises RoomsUnavailableError (retryable) while a live node speaks a protocol without rooms (R1).
    """

    def create(self, request: CreateRoom) -> Awaitable[Roster]:
        """Raises RoomLimitError (rooms of the application), SessionEndedError (owner no longer owns)."""

    def join(self, request: JoinRoom) -> Awaitable[Roster]:
        """Answered when the roster has it: after step 4 of R2. Raises RoomFullError, RoomLimitError (rooms of the
        session or the application), KeptOutError (kicked, until), RoomEndingError (retryable), SessionEndedError."""

    def leave(self, request: LeaveRoom) -> Awaitable[None]:
        """Answered after step 4 of R2. Raises SessionEndedError."""

    def roster(self, query: RosterQuery) -> Awaitable[Roster]:
        """Raises IllegalArgumentError (cursor)."""

    async def rooms(self, query: RoomQuery) -> RoomPage:
        """Read from the master."""

    def send(self, request: SendMessage) -> Awaitable[int]:
        """The message's number: it is published. Raises NotAMemberError (also where the room is not open),
        RateLimitedError, and for the backend NotFoundError (the room is not open)."""

    async def moderate(self, request: KickMember | EndRoom) -> Moderated:
        """Kick and end (R8, R11). Raises RoomPermissionError."""

    async def invite(self, request: InviteRequest) -> Invited: ...

    async def answer(self, request: AnswerInvitation) -> Answered:
        """The invitation that was answered. Raises NotFoundError (unknown, or past its time), InvitationAnsweredError
        (the other way, before)."""

    async def settle(self, limit: int = 500, *, compare: bool = False) -> Settled:
        """Marks older than `MARK_AGE`, rooms whose time is over, members of ended rooms, repair (R2, R10, R11).

        compare: all rows and rosters are to be compared from now on, not only when their time has come.
        """
