"""Time as an engine sees it: given, never taken, so that a simulated world can give its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """An engine's source of time."""

    def wall(self) -> float:
        """Wall-clock time, Unix seconds. May step, also back."""

    def monotonic(self) -> float:
        """Seconds since some instant. Never goes back."""


class SystemClock:
    """The machine's own clocks."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that stands still until it is moved: for tests and simulated worlds.

    start_ms: where it begins, Unix milliseconds.
    """

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._wall_ms = start_ms
        self._monotonic = 1_000.0

    def now_ms(self) -> int:
        """The wall clock in Unix milliseconds."""
        return self._wall_ms

    def wall(self) -> float:
        return self._wall_ms / 1000

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both clocks advance by ``seconds``."""
        self._wall_ms += round(seconds * 1000)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """The wall clock is set forward, or back, by ``seconds``; the monotonic one is not affected."""
        self._wall_ms += round(seconds * 1000)
