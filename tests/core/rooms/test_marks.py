"""Numbers of marks, and what a room's partition takes."""

from __future__ import annotations

import pytest

from greenroom.core.rooms.marks import Verdict, judge, may_remove, next_number

OLDEST = 300


def test_a_number_is_the_time_or_above_the_last() -> None:
    assert next_number(0, 1000) == 1000
    assert next_number(999, 1000) == 1000
    assert next_number(1000, 1000) == 1001
    assert next_number(5000, 1000) == 5001


@pytest.mark.parametrize(
    ("number", "last", "verdict"),
    [
        (1000, 999, Verdict.TAKEN),
        (1000, 1000, Verdict.BEHIND),
        (1000, 1001, Verdict.BEHIND),
        (100, 99, Verdict.TAKEN),
        (1000, None, Verdict.TAKEN),
        (700, None, Verdict.TAKEN),
        (699, None, Verdict.TOO_OLD),
    ],
)
def test_what_is_taken(number: int, last: int | None, verdict: Verdict) -> None:
    """However old the number of someone known: only its order counts."""
    assert judge(number, last, 1000, OLDEST) is verdict


def test_a_mark_with_another_number_stays() -> None:
    assert may_remove(7, 7)
    assert not may_remove(8, 7)
    assert not may_remove(None, 7)
