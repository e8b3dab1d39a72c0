"""Delays between attempts. The random source is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable

FIRST_DELAY = 0.2
"""Seconds; the first retry waits a random part of it."""
LONGEST_DELAY = 20.0
"""Seconds; half the grace, so that two attempts at least fall into it."""


MAX_RETRY_AFTER = 300.0
"""Seconds. Whatever a service or a proxy says, an SDK does not wait longer than this before it tries again."""


def bounded_retry(seconds: object) -> float:
    """A delay that came over the network: 0.0 for what is not a number or negative, at most `MAX_RETRY_AFTER`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0.0
    # In this order: a whole number may be too large for a float.
    bounded = min(max(seconds, 0), MAX_RETRY_AFTER)
    return 0.0 if math.isnan(bounded) else float(bounded)


def full_jitter(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row (1 for the first): anything from 0 to 0.2 s, doubling to 20 s.

    Full jitter spreads clients that lost its node in the same instant evenly, which equal jitter does not.
    random: a number in [0, 1).
    """
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(failures, 1) - 1, 16))
    return random() * ceiling


def steered(after: float, jitter: float, random: Callable[[], float]) -> float:
    """Seconds to wait where the service said when to come back: ``after`` and a random part of ``jitter``."""
    return max(0.0, after) + random() * max(0.0, jitter)
