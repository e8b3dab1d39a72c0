"""What an app's backend or an operator does to sessions, and how every node learns of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from greenroom.core.commands import DirectoryCommand
from greenroom.core.requests import EndRequest
from greenroom.engines.base import Registry, Restricted, RestrictRequest
from greenroom.model import EndReason, SessionRecord
from greenroom.server.sessions.engine_calls import EngineCalls

_END_REASON = {"kick": EndReason.KICKED, "block": EndReason.BLOCKED, "erase": EndReason.KICKED}


class SessionControl:
    """One for each node. read_directory: reads this node's copy of the directory again."""

    def __init__(self, registry: Registry, calls: EngineCalls, read_directory: Callable[[], Awaitable[None]]) -> None:
        self._registry = registry
        self._calls = calls
        self._read_directory = read_directory

    async def restrict(self, request: RestrictRequest) -> Restricted:
        """`Registry.restrict`; then the nodes that hold the sessions it ended are told, and all read the directory."""
        restricted = await self._registry.restrict(request)
        reason = _END_REASON.get(request.kind, EndReason.TOKEN_REVOKED)
        self._calls.notify_ended(restricted.ended, reason, request.reason)
        await self.announce_directory()
        # Before it is answered: whoever kicks and asks for a new token next gets one above the cut-off (S18).
        await self._read_directory()
        return restricted

    async def end_session(self, request: EndRequest) -> SessionRecord | None:
        """`Registry.close` by an operator; the node that holds the session is told. None: there was none to end."""
        ended = await self._registry.close(request)
        if ended is not None:
            self._calls.notify_ended((ended,), request.reason, request.text)
        return ended

    async def announce_directory(self) -> None:
        """The directory has changed: every node, this one too, is told to read it again."""
        await self._calls.notify_all(DirectoryCommand())
