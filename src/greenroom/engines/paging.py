"""Lists that are longer than a page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import Registry, SessionQuery
from greenroom.model import ParticipantRecord, SessionRecord

MAX_PAGE = 1000
"""Rows of one page at most."""


def page_limit(asked: int) -> int:
    """How many rows a page may have: what was asked for, within bounds."""
    return max(1, min(asked, MAX_PAGE))


async def all_sessions(registry: Registry, query: SessionQuery) -> AsyncIterator[SessionRecord]:
    """Every session that the query finds, read page after page of its limit."""
    while True:
        page = await registry.sessions(query)
        for session in page.items:
            yield session
        if page.cursor is None:
            return
        query = msgspec.structs.replace(query, cursor=page.cursor)


async def all_participants(registry: Registry, query: ParticipantQuery) -> AsyncIterator[ParticipantRecord]:
    """Every participant that the query finds, read page after page of its limit."""
    while True:
        page = await registry.participants(query)
        for participant in page.items:
            yield participant
        if page.cursor is None:
            return
        query = msgspec.structs.replace(query, cursor=page.cursor)
