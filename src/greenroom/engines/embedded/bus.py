"""News within one process: after each commit, to the one listener."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.core.commands import Command
from greenroom.engines.base import BusListener, Change
from greenroom.engines.completion import READY, Ready
from greenroom.engines.rooms import RoomMessage, RosterChange
from greenroom.model import PARTITIONS, ParticipantRecord, partition_of


class EmbeddedBus:
    """Implements `Bus`. There is one node, so every command is for it."""

    def __init__(self, first_id: int) -> None:
        self._listeners: list[BusListener] = []
        self._watched: dict[tuple[str, str], int] = {}
        self._rooms: dict[tuple[str, str], int] = {}
        # Change ids rise across restarts too, since they begin at the time.
        self._newest = [first_id] * PARTITIONS

    def listen(self, listener: BusListener) -> None:
        self._listeners.append(listener)

    def watch(self, app: str, participant_ids: Sequence[str]) -> Ready:
        for participant_id in participant_ids:
            key = (app, participant_id)
            self._watched[key] = self._watched.get(key, 0) + 1
        return READY

    def unwatch(self, app: str, participant_ids: Sequence[str]) -> Ready:
        for participant_id in participant_ids:
            key = (app, participant_id)
            left = self._watched.get(key, 0) - 1
            if left > 0:
                self._watched[key] = left
            else:
                self._watched.pop(key, None)
        return READY

    def watch_rooms(self, app: str, rooms: Sequence[str]) -> Ready:
        for room in rooms:
            self._rooms[app, room] = self._rooms.get((app, room), 0) + 1
        return READY

    def unwatch_rooms(self, app: str, rooms: Sequence[str]) -> Ready:
        for room in rooms:
            left = self._rooms.get((app, room), 0) - 1
            if left > 0:
                self._rooms[app, room] = left
            else:
                self._rooms.pop((app, room), None)
        return READY

    async def send(self, node: str, command: Command) -> None:
        for listener in self._listeners:
            listener.command(command)

    def newest(self, partitions: Sequence[int]) -> dict[int, int]:
        """The newest change id of each partition (S13)."""
        return {partition: self._newest[partition] for partition in partitions}

    def publish(self, records: Sequence[ParticipantRecord]) -> None:
        """Changes that were committed, in their order."""
        for record in records:
            if (record.app, record.id) in self._watched:
                partition = partition_of(record.app, record.id)
                self._newest[partition] += 1
                change = Change(partition, self._newest[partition], record)
                for listener in self._listeners:
                    listener.changed(change)

    def publish_rooms(self, news: Sequence[RosterChange | RoomMessage]) -> None:
        """Changes of rosters, and messages, that were committed, in their order."""
        for each in news:
            if (each.app, each.room) not in self._rooms:
                continue
            for listener in self._listeners:
                if isinstance(each, RoomMessage):
                    listener.room_message(each)
                else:
                    listener.room_changed(each)
