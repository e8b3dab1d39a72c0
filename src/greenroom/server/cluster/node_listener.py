"""What the bus brings to this node, and who gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from greenroom.core.commands import Command, DirectoryCommand, NodeCommand, RoomCommand, SessionCommand
from greenroom.server.sessions.hub import Hub


class NodeListener:
    """Implements `engines.base.BusListener`.

    lost: takes partitions of which changes may have been missed, none given: of all. directory: takes changes of
    applications and restrictions. cluster: takes the other commands to nodes.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        lost: Callable[[Sequence[int]], None],
        directory: Callable[[DirectoryCommand], None],
        cluster: Callable[[NodeCommand], None],
    ) -> None:
        self.changed = hub.changed
        self.counted = hub.counted
        self.room_changed = hub.room_changed
        self.room_message = hub.room_message
        self.lost = lost
        self._about_session = hub.command
        self._directory = directory
        self._cluster = cluster

    def command(self, command: Command) -> None:
        """Another node, or this one, asks for something."""
        if isinstance(command, SessionCommand | RoomCommand):
            self._about_session(command)
        elif isinstance(command, DirectoryCommand):
            self._directory(command)
        else:
            self._cluster(command)
