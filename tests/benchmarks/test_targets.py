"""Goals, and whether they are met."""

from __future__ import annotations

from benchmarks import targets


def test_a_goal_that_was_not_measured_is_not_said_to_be_met() -> None:
    goal = targets.TARGETS[0]
    assert targets.row(goal, {}).count("not measured") == 2
    figures = {goal.figure: goal.bound + 0.1, f"{goal.figure}_compiled": 0.9}
    assert "**missed** by 8 % | at most 1.00 × | 0.90 × | met |" in targets.row(goal, figures)
    assert goal.missed(figures)
    assert not goal.missed({goal.figure: goal.bound})
