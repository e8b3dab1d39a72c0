"""The clocks that engines are given."""

from __future__ import annotations

import pytest

from greenroom.engines.clock import Clock, ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(1_000)
    began = clock.monotonic()
    assert (clock.now_ms(), clock.wall()) == (1_000, 1.0)
    clock.advance(0.0004)
    clock.advance(2.5)
    assert (clock.now_ms(), clock.wall()) == (3_500, 3.5)
    assert clock.monotonic() - began == pytest.approx(2.5004)


@pytest.mark.parametrize("seconds", [3_600.0, -3_600.0])
def test_a_step_of_the_wall_clock_leaves_the_monotonic_one(seconds: float) -> None:
    clock = ManualClock(10_000_000)
    before = clock.monotonic()
    clock.step(seconds)
    assert clock.wall() == 10_000 + seconds
    assert clock.monotonic() == before


def test_the_systems_clocks_agree_with_each_other_and_do_not_go_back() -> None:
    clock: Clock = SystemClock()
    walls, monotonics = zip(*((clock.wall(), clock.monotonic()) for _ in range(100)), strict=True)
    assert list(monotonics) == sorted(monotonics)
    assert walls[0] > 1_700_000_000
