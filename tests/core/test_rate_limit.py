"""Token buckets: rates, bursts, keys, and shares of one budget."""

from __future__ import annotations

import random
from math import inf

import pytest

from greenroom.core.rate_limit import ACTIVE_SECONDS, KeyedBuckets, KeyedLimits, SharedBudget, TokenBucket


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


def test_two_limits_on_a_key_say_what_two_buckets_would() -> None:
    dice = random.Random(7)
    limits = KeyedLimits((0.5, 3.0), (2.0, 1.0))
    slow, quick = KeyedBuckets(0.5, 3.0), KeyedBuckets(2.0, 1.0)
    now, taken = 0.0, 0
    for _ in range(5_000):
        now += dice.choice([0.0, 0.01, 0.4, 3.0, -0.02])
        key = dice.choice("abc")
        wait = max(slow.wait(key, now), quick.wait(key, now))
        assert limits.take(key, now) == pytest.approx(wait, abs=1e-9)
        if wait == 0.0:
            taken += slow.take(key, now) and quick.take(key, now)
    assert 1_000 < taken < 4_000


def test_what_is_put_back_can_be_taken_again() -> None:
    limits = KeyedLimits((0.0, 2.0), (1.0, 5.0))
    for _ in range(3):
        assert limits.take("p", 10.0) == 0.0
        limits.put_back("p")
    assert [limits.take("p", 10.0) for _ in range(3)] == [0.0, 0.0, inf]


def test_keys_with_two_limits_are_forgotten_when_there_are_too_many_or_they_are_full() -> None:
    limits = KeyedLimits((0.0, 2.0), (1.0, 1.0), max_keys=10)
    for number in range(100):
        limits.take(f"key {number}", 0.0)
        assert len(limits) <= 10
    refilled = KeyedLimits((1.0, 2.0), (0.5, 1.0))
    for number in range(100):
        refilled.take(f"key {number}", 0.0)
    assert len(refilled) == 100
    for number in range(100):
        refilled.take(f"later {number}", 1.9)
    assert len(refilled) == 200
    for number in range(200):
        refilled.take(f"last {number}", 10.0)
    assert len(refilled) == 200


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=50.0, burst=100.0, now=10.0)
    assert sum(bucket.take(10.0) for _ in range(150)) == 100
    assert not bucket.take(10.019)
    assert bucket.take(10.021)
    assert not bucket.take(10.021)
    assert sum(bucket.take(1_000.0) for _ in range(150)) == 100


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.5, 2.0)
    assert bucket.take(0.5)


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=0.5, burst=2.0, now=0.0)
    assert bucket.wait(0.0) == 0.0
    assert bucket.take(0.0, 2.0)
    assert bucket.wait(0.0) == pytest.approx(2.0)
    assert bucket.wait(1.0) == pytest.approx(1.0)
    assert bucket.wait(0.0, 3.0) == float("inf")
    assert TokenBucket(rate=0.0, burst=0.0, now=0.0).wait(0.0) == float("inf")


def test_time_that_goes_backwards_earns_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


def test_no_order_of_takes_gives_more_than_rate_and_burst() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    bucket = TokenBucket(rate=10.0, burst=5.0, now=0.0)
    now, taken = 0.0, 0
    for _ in range(2_000):
        now += dice.choice([0.0, 0.001, 0.05, 0.3])
        taken += bucket.take(now)
        assert taken <= 5.0 + 10.0 * now + 1e-6


def test_keys_do_not_share_a_bucket() -> None:
    buckets = KeyedBuckets(rate=1 / 6, burst=10.0)
    assert sum(buckets.take("key 192.0.2.1", 0.0) for _ in range(20)) == 10
    assert buckets.take("key 192.0.2.2", 0.0)
    assert buckets.wait("key 192.0.2.1", 0.0) == pytest.approx(6.0)
    assert buckets.wait("nobody", 0.0) == 0.0


def test_keys_are_forgotten_when_there_are_too_many_or_they_are_full() -> None:
    buckets = KeyedBuckets(rate=0.0, burst=10.0, max_keys=100)
    for i in range(1_000):
        buckets.take(f"key {i}", 0.0)
        assert len(buckets) <= 100
    refilled = KeyedBuckets(rate=1.0, burst=10.0)
    for i in range(100):
        refilled.take(f"key {i}", 0.0)
    for _ in range(100):
        refilled.take("the only one", 1_000.0)
    assert len(refilled) == 1


def test_a_key_in_use_is_not_forgotten() -> None:
    buckets = KeyedBuckets(rate=0.0, burst=2.0, max_keys=10)
    assert buckets.take("mine", 0.0)
    assert buckets.take("mine", 0.0)
    for i in range(100):
        buckets.take(f"key {i}", 0.0)
        assert not buckets.take("mine", 0.0)
