"""Counts of an application: read page by page, kept for 2 s, never counted twice at the same time."""

from __future__ import annotations

import asyncio

import msgspec

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import Engine, SessionQuery
from greenroom.model import Presence, SessionState

KEEP = 2.0
"""Seconds for which counts are good."""
PAGE = 1000


class ParticipantCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Participants with sessions."""

    online: int
    unreachable: int


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that have not ended."""

    attached: int
    detached: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """at: Unix milliseconds."""

    participants: ParticipantCounts
    sessions: SessionCounts
    at: int


class Counter:
    """One for each node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, Counts] = {}
        self._counting: dict[str, asyncio.Lock] = {}

    async def count(self, app: str, now: float) -> Counts:
        """now: Unix seconds."""
        lock = self._counting.setdefault(app, asyncio.Lock())
        async with lock:
            kept = self._kept.get(app)
            if kept is not None and 0 <= now - kept.at / 1000 < KEEP:
                return kept
            counts = Counts(
                participants=await self._participants(app), sessions=await self._sessions(app), at=int(now * 1000)
            )
            self._kept[app] = counts
            return counts

    async def _participants(self, app: str) -> ParticipantCounts:
        presence = (Presence.ONLINE, Presence.UNREACHABLE)
        online = unreachable = 0
        cursor: str | None = None
        while True:
            page = await self._engine.registry.participants(
                ParticipantQuery(app=app, presence=presence, cursor=cursor, limit=PAGE)
            )
            here = sum(item.presence is Presence.ONLINE for item in page.items)
            online += here
            unreachable += len(page.items) - here
            cursor = page.cursor
            if cursor is None:
                return ParticipantCounts(online=online, unreachable=unreachable)

    async def _sessions(self, app: str) -> SessionCounts:
        attached = detached = 0
        cursor: str | None = None
        while True:
            page = await self._engine.registry.sessions(SessionQuery(app=app, cursor=cursor, limit=PAGE))
            here = sum(item.state is SessionState.ATTACHED for item in page.items)
            attached += here
            detached += len(page.items) - here
            cursor = page.cursor
            if cursor is None:
                return SessionCounts(attached=attached, detached=detached)
