"""Numbers of marks."""

from __future__ import annotations

from greenroom.core.rooms.marks import next_number


def test_a_number_is_the_time_or_above_the_last() -> None:
    assert next_number(0, 1000) == 1000
    assert next_number(999, 1000) == 1000
    assert next_number(1000, 1000) == 1001
    assert next_number(5000, 1000) == 5001
