"""Sessions, or rooms, of each application: a count per partition, summed by each node (S3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greenroom.model import PARTITIONS

FRESH = 2.0
"""Seconds for which a sum is good."""


class Counts:
    """What the partitions said last. ``at`` are seconds on the loop's clock."""

    def __init__(self) -> None:
        self._counts: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
        self._summed_at = -1e9

    def summed(self, counts: list[dict[str, int]], at: float) -> None:
        """All partitions were asked at ``at``."""
        self._counts = counts
        self._summed_at = at

    def is_fresh(self, at: float) -> bool:
        return at - self._summed_at < FRESH

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
