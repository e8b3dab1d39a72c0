"""Rooms of the embedded engine: the asynchronous face of the operations."""

from __future__ import annotations

from functools import partial

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
from greenroom.engines.completion import Completion
from greenroom.engines.embedded import room_queries
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.room_messages import send_message
from greenroom.engines.embedded.room_steps import (
    answer_invitation,
    create_room,
    end_by_request,
    join_room,
    kick_member,
    leave_room,
    send_invitation,
    settle,
)
from greenroom.engines.embedded.state import State

QUICK_MEMBERS = 32
"""Members that are read at once; more are read in the reading thread."""


class EmbeddedRooms:
    """Implements `Rooms`. What changes anything is one operation of the writer, rosters are read beside it."""

    def __init__(self, database: Database, state: State) -> None:
        self._database = database
        self._state = state

    async def create(self, request: CreateRoom) -> Roster:
        await self._database.writer.submit(lambda tx: create_room(tx, request))
        return await self.roster(RosterQuery(app=request.app, room=request.room))

    def join(self, request: JoinRoom) -> Completion[Roster]:
        return self._database.writer.submit(lambda tx: join_room(tx, request))

    def leave(self, request: LeaveRoom) -> Completion[None]:
        return self._database.writer.submit(lambda tx: leave_room(tx, request))

    async def roster(self, query: RosterQuery) -> Roster:
        quick = 0 < query.limit <= QUICK_MEMBERS
        return await self._database.read(partial(room_queries.roster, query), quick=quick)

    async def rooms(self, query: RoomQuery) -> RoomPage:
        quick = query.names is not None or query.room_id is not None
        return await self._database.read(partial(room_queries.rooms, query), quick=quick)

    def send(self, request: SendMessage) -> Completion[int]:
        return self._database.writer.submit(lambda tx: send_message(tx, request))

    async def moderate(self, request: KickMember | EndRoom) -> Moderated:
        if isinstance(request, KickMember):
            kick = request
            return await self._database.writer.submit(lambda tx: kick_member(tx, kick))
        end = request
        return await self._database.writer.submit(lambda tx: end_by_request(tx, end))

    async def invite(self, request: InviteRequest) -> Invited:
        return await self._database.writer.submit(lambda tx: send_invitation(tx, request))

    async def answer(self, request: AnswerInvitation) -> Answered:
        return await self._database.writer.submit(lambda tx: answer_invitation(tx, request))

    async def settle(self, limit: int = 500, *, compare: bool = False) -> Settled:
        memory = self._state.rooms
        if not memory.known and not memory.invited and not memory.kept_out:
            return Settled()
        return await self._database.writer.submit(lambda tx: settle(tx, limit))
