"""Numbers of marks (R2). Pure.

Numbers are engine time in microseconds, or above it: a clock that stands still or steps back gives none twice while the
last one is known.
"""

from __future__ import annotations


def next_number(last: int, now_us: int) -> int:
    """The number that follows `last` (0: none is known) at engine time `now_us`, in microseconds."""
    return max(last + 1, now_us)
