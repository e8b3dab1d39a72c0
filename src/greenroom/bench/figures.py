"""What a scenario found: counts, percentiles and who spent the CPU."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram

LONGEST = 120_000_000
"""Microseconds; what takes longer is counted as this."""
SATURATED = 0.85
"""Share of one core above which the generator is taken to have been the bottleneck."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """An HDR histogram of microseconds, two significant digits."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(1, LONGEST, 2)

    def add(self, seconds: float) -> None:
        self._histogram.record_value(min(LONGEST, max(1, int(seconds * 1e6))))

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> float:
        """Milliseconds."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1000

    def summary(self) -> dict[str, float]:
        """Milliseconds by percentile, and the largest. Empty where nothing was recorded."""
        if not len(self):
            return {}
        named = {f"p{percentile:g}": round(self.at(percentile), 3) for percentile in PERCENTILES}
        return {**named, "max": round(float(self._histogram.get_max_value()) / 1000, 3)}

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, milliseconds) at the points that a plot needs."""
        if not len(self):
            return []
        points = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100]
        return [(float(point), round(self.at(point), 3)) for point in points]


class Measurement(msgspec.Struct, kw_only=True, rename="camel"):
    """One scenario, once. Times in seconds, latencies in milliseconds."""

    scenario: str
    parameters: dict[str, Any]
    operations: int
    seconds: float
    rate: float
    """Operations a second."""
    latency: dict[str, float] = {}
    curve: list[tuple[float, float]] = []
    errors: dict[str, int] = {}
    generator_share: float = 0.0
    """CPU of the generator, of one core."""
    more: dict[str, Any] = {}
    """What only this scenario has."""
    timeline: list[tuple[float, int]] = []
    """(seconds, operations done): for the plot."""

    @property
    def generator_was_the_bottleneck(self) -> bool:
        """Whether the figures are the generator's rather than the service's."""
        return self.generator_share > SATURATED


class Stopwatch:
    """Wall and own CPU, from `start` to `stop`."""

    def __init__(self) -> None:
        self.began = self._cpu = 0.0
        self.seconds = self.share = 0.0

    def start(self) -> None:
        self.began, self._cpu = time.perf_counter(), time.process_time()

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def stop(self) -> None:
        self.seconds = max(1e-9, self.elapsed())
        self.share = (time.process_time() - self._cpu) / self.seconds
