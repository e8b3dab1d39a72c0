"""Delays between attempts: how long, how far spread, and what a peer may ask for."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from greenroom.core.backoff import FIRST_DELAY, LONGEST_DELAY, MAX_RETRY_AFTER, bounded_retry, full_jitter, steered


def test_the_ceiling_doubles_up_to_twenty_seconds() -> None:
    ceilings = [full_jitter(failures, lambda: 1.0) for failures in range(1, 12)]
    assert ceilings[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] == full_jitter(10**9, lambda: 1.0) == LONGEST_DELAY


def test_jitter_is_full() -> None:
    assert full_jitter(5, lambda: 0.0) == 0.0
    assert full_jitter(5, lambda: 0.5) == full_jitter(5, lambda: 1.0) / 2
    assert full_jitter(0, lambda: 1.0) == full_jitter(1, lambda: 1.0)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(2, 2.0), (0.5, 0.5), (-1, 0.0), (inf, MAX_RETRY_AFTER), (10**400, MAX_RETRY_AFTER), (nan, 0.0), (True, 0.0),
     ("5", 0.0), (None, 0.0)],
    ids=lambda value: str(value)[:9],
)  # fmt: skip
def test_a_peer_may_say_anything(said: Any, seconds: float) -> None:
    assert bounded_retry(said) == seconds


def test_a_service_says_when_to_come_back() -> None:
    assert steered(2.0, 10.0, lambda: 0.5) == 7.0
    assert steered(-2.0, -10.0, lambda: 0.5) == 0.0
