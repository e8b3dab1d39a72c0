"""Token buckets: rates, bursts, keys, and shares of one budget."""

from __future__ import annotations

import random

import pytest

from greenroom.core.rate_limit import ACTIVE_SECONDS, SharedBudget


def test_who_asks_alone_has_the_whole_budget() -> None:
    budget = SharedBudget(20.0, 0.0)
    assert sum(budget.take("a", 0.0) for _ in range(40)) == 20
    assert sum(budget.take("a", 1.0 + step / 20) for step in range(200)) >= 199


def test_a_small_budget_is_no_smaller() -> None:
    budget = SharedBudget(2.0, 0.0)
    assert [budget.take("a", 0.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_while_several_ask_each_has_its_share(seed: int) -> None:
    dice = random.Random(seed)
    budget = SharedBudget(100.0, 0.0)
    got = dict.fromkeys("abcd", 0)
    budget.take("d", 0.0)
    for step in range(20_000):  # twenty seconds, a thousand tries a second of a, b and c at random
        now = step / 1000
        who = dice.choice("aaaaaaab" if step % 2 else "abc")
        got[who] += budget.take(who, now)
        if step % 100 == 0:  # ten a second: within its share
            assert budget.take("d", now), f"seed {seed}: refused at {now}"
            got["d"] += 1
    assert sum(got.values()) <= 20 * 100 + 200
    assert sum(got.values()) >= 20 * 100 - 10
    assert got["b"] + got["c"] >= 20 * 40


def test_what_others_do_not_need_can_be_had_at_once() -> None:
    """At 50 a second, with a group that takes five of them, forty at once are let in."""
    budget = SharedBudget(50.0, 0.0)
    for step in range(50):
        budget.take("loop", step / 5)
    assert sum(budget.take("honest", 10.0) for _ in range(40)) == 40


def test_a_group_that_does_not_ask_any_more_has_no_share() -> None:
    budget = SharedBudget(20.0, 0.0)
    budget.take("b", 0.0)
    later = ACTIVE_SECONDS + 1
    taken = sum(budget.take("a", later + step / 20) for step in range(200))
    assert taken >= 199


def test_a_group_that_comes_back_after_long_has_its_share() -> None:
    budget = SharedBudget(20.0, 0.0)
    assert budget.take("a", 0.0)
    for now in (ACTIVE_SECONDS + 1, 1e6, 1e6):
        assert budget.take("a", now)
    assert not budget.is_full("a", 2e6)
