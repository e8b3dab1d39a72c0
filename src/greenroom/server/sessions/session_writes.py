"""What this node writes of its own sessions, whatever their clients do: ends, detaches, and acquiring a session again.

An end or a detach that cannot be written now is deferred, and written first when the engine is back (S6).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from itertools import chain
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.commands import RoomLeftCommand
from greenroom.core.requests import AttachRequest, DetachRequest, EndRequest, Owner
from greenroom.engines.base import Registry
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.model import partition_of_session
from greenroom.server.sessions.hub import Hub

log = structlog.stdlib.get_logger("greenroom.session")

MustWrite = EndRequest | DetachRequest


def fenced() -> ServiceUnavailableError:
    """The node has no lease to write under."""
    return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)


class CurrentLease(Protocol):
    """The node's (`sessions.engine_calls.Lease`)."""

    def current(self) -> str | None:
        """The lease to write under; None while the node must not act."""


class SessionWrites:
    """One for each node. node: its name."""

    def __init__(self, registry: Registry, hub: Hub, node: str, lease: CurrentLease) -> None:
        self._deferred: dict[int | None, deque[MustWrite]] = {}
        """By partition, what the engine could not take."""
        self._registry = registry
        self._hub = hub
        self._node = node
        self._lease = lease

    async def take_back(self, owner: Owner, lease: str) -> Owner:
        """The node's own session under its new lease: compare-and-set on the old right (S7). Raises GreenroomError."""
        attached = await self._registry.attach(
            AttachRequest(session_id=owner.session_id, node=self._node, lease=lease, previous=owner)
        )
        session = attached.session
        for room, reason in attached.lost_rooms:
            self._hub.command(
                RoomLeftCommand(session_id=session.id, generation=owner.generation, room=room, reason=reason)
            )
        return Owner(session.id, session.generation, session.lease)

    async def detach(self, owner: Owner, grace: float) -> None:
        """The session has no connection any more; deferred where the engine cannot take it."""
        request = DetachRequest(owner, grace)
        if not self.defer(request):
            await self.write(request, self.ask(request))

    def defer(self, request: MustWrite) -> bool:
        """Whether it has to wait. In order: nothing overtakes what waits in its partition."""
        if self._lease.current() is not None and _partition(request) not in self._deferred:
            return False
        self._keep(request)
        return True

    @property
    def deferred(self) -> Sequence[MustWrite]:
        """What the engine could not take."""
        return tuple(chain.from_iterable(self._deferred.values()))

    def _keep(self, request: MustWrite) -> None:
        self._deferred.setdefault(_partition(request), deque()).append(request)

    def ask(self, request: MustWrite) -> Awaitable[Any]:
        """Begin to write it."""
        if isinstance(request, DetachRequest):
            return self._registry.detach(request.owner, request.grace)
        return self._registry.close(request)

    async def write(self, request: MustWrite, work: Awaitable[Any]) -> bool:
        """Carry the write out. work: what `ask` returned. False where it was deferred."""
        is_over = await self._is_over(request, work)
        if not is_over:
            self._keep(request)
        return is_over

    async def _is_over(self, request: MustWrite, work: Awaitable[Any]) -> bool:
        """Written, or not to be written any more."""
        assert request.owner is not None
        session = request.owner.session_id
        try:
            await self._finish(request, work)
        except ServiceUnavailableError as error:
            log.info("write deferred", request=type(request).__name__, session=session, error=error.message)
            return False
        except GreenroomError as error:
            # Another connection owns it, or it has ended: it is no longer ours to write.
            log.debug("write no longer needed", session=session, error=error.message)
        return True

    async def _finish(self, request: MustWrite, work: Awaitable[Any]) -> None:
        try:
            await work
        except SessionEndedError as error:
            lease = self._lease.current()
            superseded = error.code is ErrorCode.ATTEMPT_SUPERSEDED
            if not superseded or isinstance(request, DetachRequest) or request.owner is None:
                raise
            if lease is None:
                raise fenced() from error
            # Detached meanwhile, with the lease it was held under: acquire it again, so that this node may write the
            # end.
            await self._registry.close(replace(request, owner=await self.take_back(request.owner, lease)))

    async def write_deferred(self) -> None:
        """The engine is back: write what was deferred, before anything else. A partition that is not holds up no
        other."""
        await asyncio.gather(*map(self._write_deferred, tuple(self._deferred)))

    async def _write_deferred(self, partition: int | None) -> None:
        waiting = self._deferred[partition]
        while waiting:
            if not await self._is_over(waiting[0], self.ask(waiting[0])):
                return
            waiting.popleft()
        del self._deferred[partition]


def _partition(request: MustWrite) -> int | None:
    assert request.owner is not None
    return partition_of_session(request.owner.session_id)
