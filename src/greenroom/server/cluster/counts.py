"""ApplicationCounts of an application: read page by page, kept for 2 s, never counted twice at the same time."""

from __future__ import annotations

import asyncio

import msgspec

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import Engine, SessionQuery
from greenroom.engines.paging import MAX_PAGE, all_participants, all_sessions
from greenroom.model import Presence, SessionState

KEEP = 2.0
"""Seconds for which counts are good."""


class ParticipantCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Participants with sessions."""

    online: int
    unreachable: int


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that have not ended."""

    attached: int
    detached: int


class ApplicationCounts(msgspec.Struct, frozen=True, kw_only=True):
    """at: Unix milliseconds."""

    participants: ParticipantCounts
    sessions: SessionCounts
    at: int


class ApplicationCounter:
    """One for each node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, ApplicationCounts] = {}
        self._counting: dict[str, asyncio.Lock] = {}

    async def count(self, app: str, now: float) -> ApplicationCounts:
        """now: Unix seconds."""
        lock = self._counting.setdefault(app, asyncio.Lock())
        async with lock:
            kept = self._kept.get(app)
            if kept is not None and 0 <= now - kept.at / 1000 < KEEP:
                return kept
            counts = ApplicationCounts(
                participants=await self._participants(app), sessions=await self._sessions(app), at=int(now * 1000)
            )
            self._kept[app] = counts
            return counts

    async def _participants(self, app: str) -> ParticipantCounts:
        presence = (Presence.ONLINE, Presence.UNREACHABLE)
        online = unreachable = 0
        query = ParticipantQuery(app=app, presence=presence, limit=MAX_PAGE)
        async for participant in all_participants(self._engine.registry, query):
            if participant.presence is Presence.ONLINE:
                online += 1
            else:
                unreachable += 1
        return ParticipantCounts(online=online, unreachable=unreachable)

    async def _sessions(self, app: str) -> SessionCounts:
        attached = detached = 0
        async for session in all_sessions(self._engine.registry, SessionQuery(app=app, limit=MAX_PAGE)):
            if session.state is SessionState.ATTACHED:
                attached += 1
            else:
                detached += 1
        return SessionCounts(attached=attached, detached=detached)
