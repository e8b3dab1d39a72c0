"""Lists that are longer than a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from greenroom.core.requests import ParticipantQuery
from greenroom.core.rooms.requests import RoomQuery, RosterQuery
from greenroom.engines.base import Registry, SessionQuery
from greenroom.engines.rooms import Rooms
from greenroom.model import MemberRecord, ParticipantRecord, RoomRecord, SessionRecord

MAX_PAGE = 1000
"""Rows of one page at most."""
READ_AT_ONCE = 256
"""Participants in one read of the engine."""


def page_limit(asked: int) -> int:
    """How many rows a page may have: what was asked for, within bounds."""
    return max(1, min(asked, MAX_PAGE))


class _Page(Protocol):
    @property
    def cursor(self) -> str | None: ...


_PageT = TypeVar("_PageT", bound=_Page)
_QueryT = TypeVar("_QueryT", bound=msgspec.Struct)


async def _pages(read: Callable[[_QueryT], Awaitable[_PageT]], query: _QueryT) -> AsyncIterator[_PageT]:
    """Page after page, from the query's cursor to the end."""
    while True:
        page = await read(query)
        yield page
        if page.cursor is None:
            return
        query = msgspec.structs.replace(query, cursor=page.cursor)


async def all_sessions(registry: Registry, query: SessionQuery) -> AsyncIterator[SessionRecord]:
    """Every session that the query finds, read page after page of its limit."""
    async for page in _pages(registry.sessions, query):
        for session in page.items:
            yield session


async def read_participants(registry: Registry, app: str, ids: Sequence[str]) -> list[ParticipantRecord]:
    """The records, in order, from the master."""
    records: list[ParticipantRecord] = []
    for start in range(0, len(ids), READ_AT_ONCE):
        some = ids[start : start + READ_AT_ONCE]
        page = await registry.participants(ParticipantQuery(app=app, ids=some, limit=len(some)))
        records += page.items
    return records


async def all_participants(registry: Registry, query: ParticipantQuery) -> AsyncIterator[ParticipantRecord]:
    """Every participant that the query finds, read page after page of its limit."""
    async for page in _pages(registry.participants, query):
        for participant in page.items:
            yield participant


async def all_rooms(rooms: Rooms, query: RoomQuery) -> AsyncIterator[RoomRecord]:
    """Every room that the query finds, read page after page of its limit."""
    async for page in _pages(rooms.rooms, query):
        for room in page.items:
            yield room


async def all_members(rooms: Rooms, query: RosterQuery) -> AsyncIterator[MemberRecord]:
    """Every member of the room, read page after page of the query's limit."""
    async for page in _pages(rooms.roster, query):
        for member in page.members:
            yield member
