"""Rooms of the Redis engine: functions of one partition each, the room's or the participant's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.requests import Owner
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
    MembershipLost,
    Moderated,
    RoomPage,
    RoomQuery,
    Roster,
    RosterQuery,
    SendMessage,
    Settled,
)
from greenroom.engines.cursors import decode_cursor
from greenroom.engines.redis import room_listing
from greenroom.engines.redis.arguments import argument, batched, encode, joined, milliseconds, owner_texts
from greenroom.engines.redis.counts import Counts, counted
from greenroom.engines.redis.errors import outcome_open
from greenroom.engines.redis.maintenance import Maintenance
from greenroom.engines.redis.replies import accepted, decode_invitation
from greenroom.engines.redis.settling import Drop, Joining, Outcome, Pair, Part, Settling, drops_of, pairs_of, parts_of
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.engines.rooms import MARKS_OF_CALL
from greenroom.errors import (
    GreenroomError,
    KeptOutError,
    RoomEndingError,
    RoomFullError,
    RoomLimitError,
    RoomsUnavailableError,
    ServiceUnavailableError,
    SessionEndedError,
)
from greenroom.model import PARTITIONS, partition_of, partition_of_room, partition_of_session

ROOMS_PROTOCOL = 3
"""The first `NodeBeat.protocol` with rooms."""


class RedisRooms:
    """Implements `Rooms`.

    counts: rooms of each application in each partition.
    """

    def __init__(self, store: Store, maintenance: Maintenance, settling: Settling, counts: Counts) -> None:
        self._store = store
        self._maintenance = maintenance
        self._settling = settling
        self._counts = counts

    # -- what sessions do --------------------------------------------------------------------------------------------

    async def create(self, request: CreateRoom) -> Roster:
        self._check_upgraded()
        if request.owner is not None:
            await self._of_session("room_owner", request.owner)
        await self._counts.refresh()
        partition = partition_of_room(request.app, request.room)
        limits = request.limits
        page, counted = await self._call(
            "room_create",
            partition,
            app=request.app,
            room=request.room,
            id=request.room_id,
            by=request.opened_by,
            ttl=milliseconds(request.ttl),
            detailed=request.detailed,
            shown=encode(limits.roster_attributes).decode(),
            max_rooms=limits.rooms,
            other_rooms=self._counts.others(partition, request.app),
        )
        self._counts.note_all(partition, counted)
        return room_listing.roster_of(request.app, request.room, page)

    async def join(self, request: JoinRoom) -> Roster:
        self._check_upgraded()
        await self._counts.refresh()
        limits = request.limits
        (found,) = await self._of_session("room_join", request.owner, request.room, limits.rooms_of_session)
        joining = Joining(request.room_id, limits, request.limit)
        verdict = await self._settle(parts_of(found), joining)
        if verdict is None or verdict.roster is None:
            return await self.roster(RosterQuery(app=request.app, room=request.room, limit=request.limit))
        return room_listing.roster_of(request.app, request.room, verdict.roster)

    async def leave(self, request: LeaveRoom) -> None:
        self._check_upgraded()
        (found,) = await self._of_session("room_leave", request.owner, request.room, request.reason)
        await self._settle(parts_of(found), None, is_leave=True)

    async def _settle(
        self, parts: Sequence[Part], joining: Joining | None, *, is_leave: bool = False
    ) -> Outcome | None:
        """The outcome of a step one. A row that was written stays: what cannot be settled now is settled later."""
        verdicts = await self._settling.settle(parts, joining)
        verdict = next(iter(verdicts.values()), None)
        if verdict is None:
            return None
        if verdict.kind == "failed":
            raise outcome_open("the roster does not follow yet", verdict.error)
        if verdict.kind == "refused" and not is_leave:
            raise _refusal(verdict)
        return verdict

    # -- reading -----------------------------------------------------------------------------------------------------

    async def roster(self, query: RosterQuery) -> Roster:
        self._check_upgraded()
        cursor = None if query.cursor is None else decode_cursor("m", query.cursor, str)
        (page,) = await self._ask(
            "room_roster",
            partition_of_room(query.app, query.room),
            app=query.app,
            room=query.room,
            since=query.since if query.cursor is None else None,
            cursor="-" if cursor == "" else cursor,
            limit=query.limit,
        )
        return room_listing.roster_of(query.app, query.room, page, query.since)

    async def rooms(self, query: RoomQuery) -> RoomPage:
        self._check_upgraded()
        return await room_listing.rooms(self._store, query)

    async def send(self, request: SendMessage) -> int:
        self._check_upgraded()
        texts = (
            request.app,
            request.room,
            request.sender,
            request.sender or request.on_behalf_of,
            request.session_id,
            request.message_id,
            request.message.decode(),
            encode(request.to).decode(),
            request.limits.message_bytes_per_second,
            request.limits.room_bytes_per_second,
        )
        call = FunctionCall("room_send", f"p{partition_of_room(request.app, request.room)}", joined(texts))
        (number,) = accepted(await self._store.call(call))
        return int(number)

    # -- others ------------------------------------------------------------------------------------------------------

    async def moderate(self, request: KickMember | EndRoom) -> Moderated:
        self._check_upgraded()
        partition = partition_of_room(request.app, request.room)
        if isinstance(request, KickMember):
            upto, changed = await self._call(
                "room_kick",
                partition,
                app=request.app,
                room=request.room,
                pid=request.participant_id,
                ms=milliseconds(request.seconds),
                by=request.by,
                may_kick=request.may_kick,
            )
            drops = [Drop(request.app, request.participant_id, request.room, int(upto), "kicked")]
        else:
            changed, found = await self._call("room_end", partition, app=request.app, room=request.room)
            drops = drops_of(found)
        return Moderated(lost=tuple(await self._drop(drops)), changed=bool(changed))

    async def invite(self, request: InviteRequest) -> Invited:
        self._check_upgraded()
        kept = {
            "id": request.invitation_id,
            "room": request.room,
            "inviter": request.inviter,
            "inviter_name": request.inviter_name,
            "invitee": request.invitee,
            "text": request.text,
        }
        body, places = await self._call(
            "invite",
            partition_of(request.app, request.invitee),
            app=request.app,
            invitee=request.invitee,
            inviter=request.inviter,
            id=request.invitation_id,
            ttl=milliseconds(request.ttl),
            body=encode(kept).decode(),
        )
        texts = [each.decode() for each in places]
        sessions = tuple((node, session, int(generation)) for node, session, generation in batched(texts, 3))
        return Invited(decode_invitation(body), sessions)

    async def answer(self, request: AnswerInvitation) -> Answered:
        self._check_upgraded()
        accept = "true" if request.accept else "false"
        body, is_new = await self._of_session("answer", request.owner, request.invitation_id, accept)
        return Answered(decode_invitation(body), is_new=bool(is_new))

    async def _drop(self, drops: Sequence[Drop]) -> list[MembershipLost]:
        """Rows drop rooms that refuse them, and rooms are notified."""
        parts, lost = await self._settling.drop(drops)
        await self._settling.settle(parts)
        return lost

    # -- time --------------------------------------------------------------------------------------------------------

    async def settle(self, limit: int = 500, *, compare: bool = False) -> Settled:
        """Also while a node of an older version is live: what there is of rooms stays true."""
        await self._settling.idle()
        if self._settling.is_doubtful:
            await self._settling.compare_again()
        before = self._settling.settled
        numbers = [number for number in range(PARTITIONS) if not self._settling.is_away(number)]
        at = asyncio.get_running_loop().time()
        calls = []
        for number in numbers:
            body = argument(limit=min(limit, MARKS_OF_CALL), kicks=self._settling.last_kick(number))
            calls.append(FunctionCall("room_due", f"p{number}", body, True))
        replies = await self._settling.ask(calls)
        total = _Pass()
        for number, reply in zip(numbers, replies, strict=True):
            if not isinstance(reply, Exception):
                self._settling.keep_kicks(number, reply.pop())
                total.add(number, reply)
        self._counts.summed(total.counts, at)
        await self._settling.settle(total.parts)
        lost = await self._drop(total.drops)
        repaired = await self._settling.compare(total.rows, total.rosters)
        return Settled(
            lost=(*lost, *self._settling.lost()),
            settled=self._settling.settled - before,
            repaired=repaired,
            ended=total.ended,
            lag=total.lag,
            more=total.more,
        )

    # -- calls -------------------------------------------------------------------------------------------------------

    def _check_upgraded(self) -> None:
        """R1: a node of an older version ends sessions without a mark."""
        if self._maintenance.oldest_protocol < ROOMS_PROTOCOL:
            raise RoomsUnavailableError(retry_after=1.0)

    async def _of_session(self, function: str, owner: Owner, *texts: str | int) -> Reply:
        partition = partition_of_session(owner.session_id)
        if partition is None or partition >= PARTITIONS:
            raise SessionEndedError(code=ErrorCode.STATE_LOST)
        call = FunctionCall(function, f"p{partition}", joined((*owner_texts(owner), *texts)), True)
        return accepted(await self._store.call(call))

    async def _call(self, function: str, partition: int, **members: Any) -> Reply:
        """A write, that replicas have when this returns (`wait_replicas`)."""
        return accepted(await self._store.call(FunctionCall(function, f"p{partition}", argument(**members), True)))

    async def _ask(self, function: str, partition: int, **members: Any) -> Reply:
        """What nobody has to keep."""
        return accepted(await self._store.call(FunctionCall(function, f"p{partition}", argument(**members))))


class _Pass:
    """What is due, over all partitions."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.drops: list[Drop] = []
        self.rows: dict[int, list[Pair]] = {}
        self.rosters: dict[int, list[Pair]] = {}
        self.counts: dict[int, dict[str, int]] = {}
        self.ended = 0
        self.lag = 0.0
        self.more = False

    def add(self, number: int, reply: Reply) -> None:
        readings, lag, drops, ended, counts, more, compared = reply
        self.parts += parts_of(readings)
        self.drops += drops_of(drops)
        self.counts[number] = counted(counts)
        self.ended += ended
        self.lag = max(self.lag, lag / 1000)
        self.more = self.more or more == 1
        if compared:
            phase, pairs = compared
            (self.rows if phase == b"rows" else self.rosters)[number] = pairs_of(pairs)


def _refusal(verdict: Outcome) -> GreenroomError:
    make = _REFUSALS.get(verdict.reason)
    return ServiceUnavailableError(retry_after=1.0) if make is None else make(verdict)


_REFUSALS: dict[str, Callable[[Outcome], GreenroomError]] = {
    "room_full": lambda _: RoomFullError(),
    "room_limit": lambda _: RoomLimitError("The application has reached its limit of rooms."),
    "kicked": lambda verdict: KeptOutError(until=verdict.until),
    "ended": lambda _: RoomEndingError(retry_after=1.0),
}
