"""The roster follows the rows whatever is interleaved and whoever crashes, and each guard is needed (R2)."""

from __future__ import annotations

import pytest

from tests.core.rooms.marks_model import Guard, Model, Verdict, World, explore, judge

SMALL = (
    World(changes=2, others=1),
    World(changes=2, instants=2),
    World(changes=3),
    World(changes=2, instants=1, others=1),
)
"""All that can come of them is looked at in some seconds."""
LARGE = (World(changes=2, instants=2, others=1), World(changes=3, instants=1, others=1), World(changes=3, others=2))


def _id(world: World) -> str:
    return f"{world.changes}-{world.instants}-{world.others}"


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
    assert judge(number, last, 1000, 300) is verdict


@pytest.mark.parametrize("first", SMALL, ids=_id)
def test_nothing_that_may_happen_leaves_the_roster_wrong(first: World) -> None:
    explored = explore(Model(), first)
    assert explored.wrong is None, "\n".join((explored.wrong or "", *explored.trace))
    assert explored.worlds > 2_000, "the model does what its name says"


@pytest.mark.parametrize("off", Guard, ids=lambda guard: guard.name)
def test_each_guard_is_needed(off: Guard) -> None:
    found = next((found for first in SMALL if (found := explore(Model(off), first)).wrong is not None), None)
    assert found is not None, f"nothing goes wrong without this: {off.value}"
    assert found.trace, "a counter-example says how"


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", LARGE, ids=_id)
def test_nothing_in_a_larger_world_leaves_the_roster_wrong(first: World) -> None:
    explored = explore(Model(), first)
    assert explored.wrong is None, "\n".join((explored.wrong or "", *explored.trace))
