"""Keeps the headcounts of the last hour: every 30 s one node counts, for all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

import structlog

from greenroom.engines.base import SAMPLE_PERIOD, Engine
from greenroom.errors import GreenroomError

log = structlog.stdlib.get_logger("greenroom.sampling")

READER = "headcounts"
"""Under which name nodes claim a turn."""
PAUSE = 9.0
"""After each application, times as long as counting it took: at most a tenth of the time is spent on it."""


class Sampler:
    """One for each node. node: its name. applications: those with sessions, over the cluster. may_act: whether this
    node acts now. wall, monotonic: Unix seconds, and seconds that never go back. period: seconds from one headcount to
    the next."""

    def __init__(
        self,
        engine: Engine,
        *,
        node: str,
        applications: Callable[[], Iterable[str]],
        may_act: Callable[[], bool],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        period: float = SAMPLE_PERIOD,
    ) -> None:
        self._engine = engine
        self._node = node
        self._applications = applications
        self._may_act = may_act
        self._wall = wall
        self._monotonic = monotonic
        self._period = period
        self._last: dict[str, float] = {}
        """Of each application with sessions, when this node last counted it."""
        self._failing = False

    async def run(self) -> None:
        """Until cancelled. Nodes wake at the same instants, so that one claims the turn of all."""
        while True:
            await asyncio.sleep(self._period - self._wall() % self._period)
            if self._may_act():
                await self.once()

    async def once(self) -> None:
        """A turn: those that have waited longest first, as many as the time allows. Never raises."""
        now = set(self._applications())
        # An application without sessions is counted once more: its history ends with a zero.
        wanted = sorted(now | self._last.keys(), key=lambda app: self._last.get(app, -math.inf))
        try:
            if await self._engine.outbox.claim("", READER, self._node, self._period / 2):
                await self._count(wanted)
            self._failing = False
        except GreenroomError as error:
            if not self._failing:
                log.warning("headcounts are not kept", error=error.message)
            self._failing = True
        except Exception:
            log.exception("headcounts are not kept")
        self._last = {app: self._last.get(app, -math.inf) for app in now}

    async def _count(self, applications: Iterable[str]) -> None:
        statistics, end = self._engine.statistics, self._monotonic() + self._period * 0.9
        for app in applications:
            began = self._monotonic()
            await statistics.keep(app, await statistics.count(app))
            took = self._monotonic() - began
            self._last[app] = began
            if began + (PAUSE + 2) * took > end:
                return
            await asyncio.sleep(PAUSE * took)
