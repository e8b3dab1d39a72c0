"""What an app's backend or an operator does to sessions, and how every node learns of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from greenroom.core.commands import DirectoryCommand
from greenroom.core.requests import EndRequest
from greenroom.engines.base import (
    BlockParticipant,
    EraseParticipant,
    KickParticipant,
    Registry,
    Restricted,
    RestrictRequest,
)
from greenroom.model import EndReason, SessionRecord
from greenroom.server.sessions.node_commands import NodeCommands
from greenroom.server.tenants.revocations import restrictions_made

_END_REASON: dict[type, EndReason] = {
    KickParticipant: EndReason.KICKED,
    BlockParticipant: EndReason.BLOCKED,
    EraseParticipant: EndReason.KICKED,
}


class LocalDirectory(Protocol):
    """This node's copy of the directory."""

    def apply(self, change: DirectoryCommand) -> None:
        """These restrictions were made."""

    async def read(self, version: int | None) -> None:
        """Read it again; None: in any case."""


class SessionControl:
    """One for each node. wall: Unix seconds."""

    def __init__(
        self, registry: Registry, commands: NodeCommands, directory: LocalDirectory, wall: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._directory = directory
        self._wall = wall

    async def restrict(self, request: RestrictRequest) -> Restricted:
        """`Registry.restrict`; then the nodes that hold ended sessions are notified, and all apply what was made."""
        restricted = await self._registry.restrict(request)
        reason = _END_REASON.get(type(request), EndReason.TOKEN_REVOKED)
        self._commands.notify_ended(restricted.ended, reason, request.reason)
        made = restrictions_made(request, restricted, int(self._wall() * 1000))
        before, after = restricted.versions
        change = DirectoryCommand(restrictions=made, before=before, after=after)
        # Here before it is answered: whoever kicks and asks for a new token next gets one above the cut-off (S18).
        if made:
            self._directory.apply(change)
        await self._commands.notify_all(change)
        if not made:
            await self._directory.read(None)
        return restricted

    async def end_session(self, request: EndRequest) -> SessionRecord | None:
        """`Registry.close` by an operator; the node that holds the session is notified. None: there was none to end."""
        ended = await self._registry.close(request)
        if ended is not None:
            self._commands.notify_ended((ended,), request.reason, request.text)
        return ended

    async def announce_directory(self) -> None:
        """The directory has changed: every node, this one too, is notified to read it again."""
        await self._commands.notify_all(DirectoryCommand())
