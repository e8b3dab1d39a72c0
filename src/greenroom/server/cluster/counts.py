"""Counts of an application: now, and in the last hour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from greenroom.engines.base import Headcount, Statistics

KEEP = 2.0
"""Seconds for which counts are good."""
SHARE = 20
"""Where counting takes long, counts are good for so many times as long: at most a twentieth of the time is spent on it.
"""


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
    """One for each node. monotonic: seconds that never go back."""

    def __init__(self, statistics: Statistics, monotonic: Callable[[], float]) -> None:
        self._statistics = statistics
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, ApplicationCounts]] = {}
        """With the time until which they are good."""
        self._counting: dict[str, asyncio.Lock] = {}

    async def count(self, app: str) -> ApplicationCounts:
        """The counts of those who are online: cached, and never computed twice at the same time."""
        async with self._counting.setdefault(app, asyncio.Lock()):
            began = self._monotonic()
            until, counts = self._kept.get(app, (began, None))
            if counts is None or began >= until:
                counts = _view(await self._statistics.count(app))
                ended = self._monotonic()
                self._kept[app] = (ended + max(KEEP, SHARE * (ended - began)), counts)
            return counts

    async def history(self, app: str) -> tuple[ApplicationCounts, ...]:
        """What the nodes kept, oldest first."""
        return tuple(map(_view, await self._statistics.history(app)))


def _view(headcount: Headcount) -> ApplicationCounts:
    return ApplicationCounts(
        participants=ParticipantCounts(online=headcount.online, unreachable=headcount.unreachable),
        sessions=SessionCounts(attached=headcount.attached, detached=headcount.detached),
        at=headcount.at,
    )
