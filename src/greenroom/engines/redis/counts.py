"""Sessions, or rooms, of each application: a count per partition, summed by each node (S3)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Store
from greenroom.model import PARTITIONS

FRESH = 2.0
"""Seconds for which a sum is good."""


def counted(flat: Sequence[bytes]) -> dict[str, int]:
    """A hash of counts as HGETALL gives it."""
    return {app.decode(): int(count) for app, count in zip(flat[::2], flat[1::2], strict=True)}


class Counts:
    """What the partitions said last. ``at`` are seconds on the loop's clock.

    function: what a partition is asked for its counts with.
    """

    def __init__(self, store: Store, function: str) -> None:
        self._store = store
        self._function = function
        self._summing: asyncio.Task[None] | None = None
        self._counts: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
        self._summed_at = -1e9
        self._asked = tuple(range(PARTITIONS))
        """Those that answered last. The others are not waited for: what they said last counts."""

    def summed(self, counts: Mapping[int, dict[str, int]], at: float) -> None:
        """All partitions were asked at ``at``, and these answered."""
        for number, count in counts.items():
            self._counts[number] = count
        self._asked = tuple(counts) or self._asked
        self._summed_at = at

    def is_fresh(self) -> bool:
        return asyncio.get_running_loop().time() - self._summed_at < FRESH

    async def refresh(self) -> None:
        """Where what others bring (beats, passes of the reaper) is too old: asks all partitions, once for all who
        wait."""
        if self.is_fresh():
            return
        if self._summing is None:
            self._summing = asyncio.get_running_loop().create_task(self._sum_up(), name="greenroom-redis-counts")
            self._summing.add_done_callback(self._is_summed)
        await asyncio.shield(self._summing)

    async def _sum_up(self) -> None:
        at = asyncio.get_running_loop().time()
        asked = self._asked
        replies = await self._store.call_many([FunctionCall(self._function, f"p{number}", b"{}") for number in asked])
        answered = {n: reply for n, reply in zip(asked, replies, strict=True) if not isinstance(reply, Exception)}
        if not answered:
            accepted(replies[0])
        self.summed({number: counted(accepted(reply)[0]) for number, reply in answered.items()}, at)

    def _is_summed(self, task: asyncio.Task[None]) -> None:
        self._summing = None
        if not task.cancelled():
            task.exception()  # whoever waited has it

    async def stop(self) -> None:
        """Ends what is under way."""
        if self._summing is not None:
            self._summing.cancel()
            await asyncio.wait([self._summing])

    def note(self, partition: int, app: str, count: int) -> None:
        """What a call of this node saw in passing."""
        self._counts[partition][app] = count

    def note_all(self, partition: int, flat: Sequence[Any]) -> None:
        """What a call of this node counted: application, count, …"""
        for app, count in zip(flat[::2], flat[1::2], strict=True):
            self.note(partition, app.decode(), count)

    def others(self, partition: int, app: str) -> int:
        """In all partitions but this one."""
        return sum(counts.get(app, 0) for number, counts in enumerate(self._counts) if number != partition)

    def totals(self) -> dict[str, int]:
        """Of every application that has any."""
        totals: dict[str, int] = {}
        for counts in self._counts:
            for app, count in counts.items():
                if count > 0:
                    totals[app] = totals.get(app, 0) + count
        return totals
