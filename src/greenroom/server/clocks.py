"""The clocks of a node: given and never taken, so that a simulated world can give its own."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol


class Clocks(Protocol):
    """A node's source of time."""

    def monotonic(self) -> float:
        """Seconds; never back."""

    def wall(self) -> float:
        """Unix seconds; may step, also back."""

    def boottime(self) -> float:
        """Seconds on a clock that runs during suspend; never back."""


class SystemClocks:
    """The machine's own."""

    # The functions themselves: they are called several times for each open.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    boottime = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))


SYSTEM_CLOCKS = SystemClocks()
