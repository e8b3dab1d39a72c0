"""Random lives of a world, judged by the oracles. A failing seed: ``python -m tests.support.sim SEED``."""

from __future__ import annotations

import pytest

from tests.support.sim import WALKS
from tests.support.sim.walk import Walk, WalkError, walk, walk_all

SEEDS = WALKS
CHUNK = 20
SOAK = 5000
"""How many `make soak` walks, in a quarter of an hour of one core."""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_walks_are_fine(first: int) -> None:
    walk_all(walk, first, first + CHUNK)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_more_walks_are_fine() -> None:
    walk_all(walk, SEEDS, SOAK)


def test_a_seed_is_one_life() -> None:
    assert walk(7) == walk(7)
    assert walk(7) != walk(8)


def test_a_failing_walk_prints_its_seed_and_timeline() -> None:
    one = Walk(11)
    try:
        one.world.acknowledged["anna"] = (99, "Lost")
        one.world.marks["anna", "anna/1"] = 99
        with pytest.raises(WalkError) as caught:
            one.run()
    finally:
        one.close_world()
    assert "seed 11" in str(caught.value)
    assert "anna was acknowledged at revision 99" in str(caught.value)
    assert "anna/1 was acknowledged with the mark 99" in str(caught.value)
    assert "node1 started" in str(caught.value)
