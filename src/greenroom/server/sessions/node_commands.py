"""Commands to nodes about sessions: at once to this one, over the bus to the others."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from greenroom.core.commands import Command, EndedCommand, RoomCommand, SessionCommand
from greenroom.engines.base import Bus
from greenroom.errors import GreenroomError
from greenroom.messages import Device
from greenroom.model import EndReason, SessionRecord
from greenroom.server.sessions.hub import Hub

log = structlog.stdlib.get_logger("greenroom.session")


class NodeCommands:
    """One for each node. node: its name."""

    def __init__(self, bus: Bus, hub: Hub, node: str) -> None:
        self._bus = bus
        self._hub = hub
        self._node = node

    def notify_ended(
        self, sessions: Iterable[SessionRecord], reason: EndReason, text: str = "", *, by: Device | None = None
    ) -> None:
        """Sessions were ended: the nodes that hold them are notified. sessions: as they were while owned."""
        for session in sessions:
            if session.node:
                command = EndedCommand(
                    session_id=session.id,
                    generation=session.generation,
                    reason=reason,
                    text=text,
                    by_device=None if by is None else by.id,
                    by_device_name=None if by is None else by.name,
                )
                self.notify(session.node, command)

    def notify(self, node: str, command: SessionCommand | RoomCommand) -> None:
        """The node gets the command, where nothing is lost on the way; this one at once."""
        if node == self._node:
            self._hub.command(command)
        elif node:
            self._hub.spawn(self._send_command(node, command))

    async def notify_all(self, command: Command) -> None:
        """Every node, this one too."""
        await self._send_command("*", command)

    async def _send_command(self, node: str, command: Command) -> None:
        try:
            await self._bus.send(node, command)
        except GreenroomError as error:
            # Allowed to be lost: every node compares by itself (S7).
            log.info("a command was not sent", kind=type(command).__name__, node=node, error=error.message)
