"""News between nodes over sharded pub/sub: at once, and allowed to be lost (S13)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from greenroom.core.commands import Command
from greenroom.engines.base import BusListener, Change
from greenroom.engines.redis.arguments import argument, batched, subject
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Store
from greenroom.engines.rooms import RoomMessage, RosterChange
from greenroom.errors import ServiceUnavailableError
from greenroom.model import MemberRecord, ParticipantRecord, partition_of, partition_of_room

CHANGES = "c"
ROOM = "r:"
"""What the channel of a room begins with."""
COMMANDS = "k"
EVERYBODY = "nodes"
ROOMS_OF_CALL = 500
"""Rooms whose versions one call reads."""
SILENT_AFTER = 2.0
"""Seconds in which the newest change of a partition must have been received."""


class _Change(msgspec.Struct):
    id: int
    participant: ParticipantRecord


class _RoomChange(msgspec.Struct):
    version: int
    since: int
    count: int
    joined: tuple[MemberRecord, ...] = ()
    changed: tuple[MemberRecord, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    detailed: bool = True
    ended: bool = False
    id: str = ""


class _RoomMessage(msgspec.Struct):
    number: int
    sender: str
    session_id: str
    to: tuple[str, ...]
    message: msgspec.Raw


class _WatchedRoom:
    """A room that this node watches."""

    def __init__(self, app: str, name: str) -> None:
        self.app = app
        self.name = name
        self.partition = partition_of_room(app, name)
        self.watches = 0
        self.version = 0
        """Of the last change that was received, or what was stored when it was subscribed."""

    @property
    def key(self) -> str:
        """As the functions name it."""
        return subject(self.app, self.name)

    @property
    def pair(self) -> tuple[str, str]:
        """Where it is published."""
        return f"p{self.partition}", ROOM + self.key


_decode_room_change = msgspec.json.Decoder(_RoomChange).decode
_decode_room_message = msgspec.json.Decoder(_RoomMessage).decode
_decode_change = msgspec.json.Decoder(_Change).decode
_head_of_change = re.compile(rb'{"id":(\d+),"participant":{"app":"([^"\\]*)","id":"([^"\\]*)"').match
_decode_command = msgspec.json.Decoder(Command).decode


class RedisBus:
    """Implements `Bus`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[BusListener] = []
        self._watched: dict[tuple[str, str], int] = {}
        self._partitions: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._rooms: dict[str, _WatchedRoom] = {}
        """By channel."""
        self._nodes: set[str] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._renewals: set[asyncio.Task[None]] = set()

    def listen(self, listener: BusListener) -> None:
        self._listeners.append(listener)

    # -- watching ----------------------------------------------------------------------------------------------------

    async def watch(self, app: str, participant_ids: Sequence[str]) -> None:
        partitions = set()
        for participant_id in participant_ids:
            key = (app, participant_id)
            partition = partition_of(app, participant_id)
            if key not in self._watched:
                self._partitions[partition] = self._partitions.get(partition, 0) + 1
            self._watched[key] = self._watched.get(key, 0) + 1
            partitions.add(partition)
        for partition in partitions:
            await self._store.subscribe(f"p{partition}", CHANGES)

    async def unwatch(self, app: str, participant_ids: Sequence[str]) -> None:
        for participant_id in participant_ids:
            key = (app, participant_id)
            left = self._watched.get(key, 0) - 1
            if left > 0:
                self._watched[key] = left
            elif self._watched.pop(key, None) is not None:
                await self._left(partition_of(app, participant_id))

    async def _left(self, partition: int) -> None:
        left = self._partitions[partition] - 1
        if left:
            self._partitions[partition] = left
            return
        del self._partitions[partition]
        self._received.pop(partition, None)
        await self._store.unsubscribe(f"p{partition}", CHANGES)

    def watched(self) -> tuple[int, ...]:
        """Partitions with watches."""
        return tuple(self._partitions)

    async def watch_rooms(self, app: str, rooms: Sequence[str]) -> None:
        fresh = []
        for name in rooms:
            room = _WatchedRoom(app, name)
            room = self._rooms.setdefault(room.pair[1], room)
            room.watches += 1
            await self._store.subscribe(*room.pair)
            if room.watches == 1:
                fresh.append(room)
        try:
            stored = await self._stored(fresh)
        except ServiceUnavailableError:
            return  # it is subscribed; the next beat finds what was not received
        for room, version in stored:
            room.version = max(room.version, version)

    async def unwatch_rooms(self, app: str, rooms: Sequence[str]) -> None:
        for name in rooms:
            tag, channel = _WatchedRoom(app, name).pair
            room = self._rooms.get(channel)
            if room is None:
                continue
            room.watches -= 1
            if not room.watches:
                del self._rooms[channel]
                await self._store.unsubscribe(tag, channel)

    async def _stored(self, rooms: Sequence[_WatchedRoom]) -> list[tuple[_WatchedRoom, int]]:
        """The versions of rosters as they are stored."""
        pieces = []
        for partition in {room.partition for room in rooms}:
            here = [room for room in rooms if room.partition == partition]
            pieces += [(partition, some) for some in batched(here, ROOMS_OF_CALL)]
        calls = [
            FunctionCall("room_versions", f"p{partition}", argument(keys=[room.key for room in some]))
            for partition, some in pieces
        ]
        found: list[tuple[_WatchedRoom, int]] = []
        for (_, some), reply in zip(pieces, await self._store.call_many(calls), strict=True):
            found += zip(some, map(int, accepted(reply)[0]), strict=True)
        return found

    async def send(self, node: str, command: Command) -> None:
        tag = EVERYBODY if node == "*" else f"node:{node}"
        await self._store.publish(tag, COMMANDS, msgspec.json.encode(command))

    # -- receiving ---------------------------------------------------------------------------------------------------

    def received(self, tag: str, channel: str, data: bytes) -> None:
        """A message of the store. One that cannot be read comes from a version far away, and is dropped."""
        try:
            if channel == CHANGES:
                self._changed(int(tag[1:]), data)
            elif channel.startswith(ROOM):
                self._of_room(channel, data)
            elif channel == COMMANDS:
                command = _decode_command(data)
                for listener in self._listeners:
                    listener.command(command)
        except msgspec.MsgspecError:
            return

    def _changed(self, partition: int, data: bytes) -> None:
        """Of those who are not watched, most on a cluster of many nodes, only the number is read."""
        head = _head_of_change(data)
        if head is not None and (head[2].decode(), head[3].decode()) not in self._watched:
            self._count(partition, int(head[1]))
            for listener in self._listeners:
                listener.counted(partition, int(head[1]))
            return
        message = _decode_change(data)
        self._count(partition, message.id)
        change = Change(partition, message.id, message.participant)
        for listener in self._listeners:
            listener.changed(change)

    def _count(self, partition: int, number: int) -> None:
        before = self._received.get(partition)
        if before is not None:
            self._received[partition] = number
            if number != before + 1:
                # One before it was lost, or the partition lost its past. Its own change is passed on all the same.
                self._missed([partition])

    def _of_room(self, channel: str, data: bytes) -> None:
        room = self._rooms.get(channel)
        if room is None:
            return
        if data.startswith(b"c"):
            change = _decode_room_change(data[1:])
            room.version = max(room.version, change.version)
            news = RosterChange(
                app=room.app,
                room=room.name,
                version=change.version,
                since=change.since,
                count=change.count,
                joined=change.joined,
                changed=change.changed,
                left=change.left,
                detailed=change.detailed,
                ended=change.ended,
                room_id=change.id,
            )
            for listener in self._listeners:
                listener.room_changed(news)
        elif data.startswith(b"m"):
            sent = _decode_room_message(data[1:])
            message = RoomMessage(
                app=room.app,
                room=room.name,
                number=sent.number,
                sender=sent.sender,
                session_id=sent.session_id,
                message=bytes(sent.message),
                to=sent.to,
            )
            for listener in self._listeners:
                listener.room_message(message)

    def lost(self, pairs: Sequence[tuple[str, str]]) -> None:
        """A subscription was renewed: what was published in between is gone."""
        partitions = [int(tag[1:]) for tag, channel in pairs if channel == CHANGES]
        self._forget(partitions)
        of_rooms = {int(tag[1:]) for tag, channel in pairs if channel in self._rooms}
        watched = [partition for partition in partitions if partition in self._partitions]
        self._missed([*watched, *sorted(of_rooms.difference(watched))])

    def _forget(self, partitions: Sequence[int]) -> None:
        """Another master may count otherwise: nothing distinguishes what was lost from what took its number. So the
        next beat is a first look, and all is read again then."""
        for partition in partitions:
            self._received.pop(partition, None)

    def _missed(self, partitions: Sequence[int]) -> None:
        if partitions:
            for listener in self._listeners:
                listener.lost(partitions)

    # -- S13 ---------------------------------------------------------------------------------------------------------

    async def beaten(self, node: str, newest: dict[int, int]) -> None:
        """After a beat: the node's commands are received, and what is silent will be noticed.

        newest: of each partition that answered, its newest change. Nothing is asked of the others."""
        if node not in self._nodes:
            await self._store.subscribe(EVERYBODY, COMMANDS)
            await self._store.subscribe(f"node:{node}", COMMANDS)
            self._nodes.add(node)
        expected, missed = {}, []
        for partition, change in newest.items():
            if partition not in self._partitions:
                continue
            received = self._received.get(partition)
            if received is None or change < received:
                # The first look: what was lost since the watch began is not known. Or the partition lost its past.
                self._received[partition] = change
                missed.append(partition)
            elif change > received:
                expected[partition] = change
        self._missed(missed)
        if expected:
            self._check_later(expected)
        if rooms := [room for room in self._rooms.values() if room.partition in newest]:
            await self._compare_rooms(rooms)

    async def _compare_rooms(self, rooms: Sequence[_WatchedRoom]) -> None:
        """Rooms have channels and versions of their own: what is stored must have been received in 2 s. A partition
        that is being restored says nothing, and must not keep the beat from saying so: the next one compares."""
        try:
            stored = await self._stored(rooms)
        except ServiceUnavailableError:
            return
        behind = {room: version for room, version in stored if version > room.version}

        def check() -> None:
            self._timers.discard(timer)
            silent = {room: version for room, version in behind.items() if room.version < version}
            if silent:
                self._spawn(self._renew_rooms(silent))

        if behind:
            timer = asyncio.get_running_loop().call_later(SILENT_AFTER, check)
            self._timers.add(timer)

    async def _renew_rooms(self, silent: dict[_WatchedRoom, int]) -> None:
        watched = [room for room in silent if room.watches]
        try:
            await self._store.renew_subscription([room.pair for room in watched])
        except ServiceUnavailableError:
            return  # as for participants
        for room in watched:
            room.version = max(room.version, silent[room])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="greenroom-redis-renew")
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    def _check_later(self, expected: dict[int, int]) -> None:
        def check() -> None:
            self._timers.discard(timer)
            silent = {p: change for p, change in expected.items() if self._received.get(p, change) < change}
            if silent:
                self._spawn(self._renew(silent))

        timer = asyncio.get_running_loop().call_later(SILENT_AFTER, check)
        self._timers.add(timer)

    async def _renew(self, silent: dict[int, int]) -> None:
        try:
            await self._store.renew_subscription([(f"p{partition}", CHANGES) for partition in silent])
        except ServiceUnavailableError:
            return  # what was received stays as it is: the next beat finds the same silence, and tries again
        for partition, change in silent.items():
            if partition in self._partitions:
                self._received[partition] = max(change, self._received.get(partition, 0))

    async def stop(self) -> None:
        """Ends timers and tasks."""
        for timer in self._timers:
            timer.cancel()
        tasks = list(self._renewals)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
