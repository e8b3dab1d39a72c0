"""Numbers of marks, and what a room's partition takes (R2). Pure: engines and the model of the protocol share it.

Numbers are engine time in microseconds, or above it: a clock that stands still or steps back gives none twice while the
last one is known.
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What a room's partition does with a participant's part that was read under a number."""

    TAKEN = "taken"
    BEHIND = "behind"
    """This number, or a newer one, was taken before. Where the mark still has it, it gets one above the last: the clock
    may have given a number to two changes. Then the part is read again."""
    TOO_OLD = "too_old"
    """Of a participant whom the room does not know any more, or not yet: what came after the number may have been
    forgotten. The part is read again under a new one."""


def next_number(last: int, now_us: int) -> int:
    """The number that follows `last` (0: none is known) at engine time `now_us`, in microseconds."""
    return max(last + 1, now_us)


def judge(number: int, last: int | None, now_us: int, oldest_us: int) -> Verdict:
    """What is done with a part read under `number`.

    last: the number that was taken last of the participant in the room, also after it left; None: it is not known.
    oldest_us: microseconds for which a number counts where none is known; less than last numbers are kept for.
    """
    if last is not None:
        return Verdict.TAKEN if number > last else Verdict.BEHIND
    return Verdict.TOO_OLD if number < now_us - oldest_us else Verdict.TAKEN


def may_remove(mark: int | None, settled: int) -> bool:
    """Whether a mark goes after `settled` was taken: only where nothing was written since (step 4)."""
    return mark == settled
