"""Rooms of the Redis engine."""

from __future__ import annotations

from greenroom.core.rooms.requests import (
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
from greenroom.errors import RoomsUnavailableError
from greenroom.model import Invitation


class RedisRooms:
    """Implements `Rooms`."""

    async def create(self, request: CreateRoom) -> Roster:
        raise RoomsUnavailableError

    async def join(self, request: JoinRoom) -> Roster:
        raise RoomsUnavailableError

    async def leave(self, request: LeaveRoom) -> None:
        raise RoomsUnavailableError

    async def roster(self, query: RosterQuery) -> Roster:
        raise RoomsUnavailableError

    async def rooms(self, query: RoomQuery) -> RoomPage:
        raise RoomsUnavailableError

    async def send(self, request: SendMessage) -> int:
        raise RoomsUnavailableError

    async def moderate(self, request: KickMember | EndRoom) -> Moderated:
        raise RoomsUnavailableError

    async def invite(self, request: InviteRequest) -> Invited:
        raise RoomsUnavailableError

    async def answer(self, request: AnswerInvitation) -> Invitation:
        raise RoomsUnavailableError

    async def settle(self, limit: int = 500) -> Settled:
        return Settled()
