"""Ratios of what was measured."""

from __future__ import annotations

from benchmarks.runs import ratio
from tests.benchmarks.made_up import a_run


def test_ratios_are_taken_within_laps() -> None:
    # The machine was twice as slow in the second lap: neither ratio shows it.
    runs = [
        a_run("open-64-EdDSA", "floor", 0, 100), a_run("open-64-EdDSA", "greenroom", 0, 160),
        a_run("open-64-EdDSA", "floor", 1, 200), a_run("open-64-EdDSA", "greenroom", 1, 320),
    ]  # fmt: skip
    assert ratio(runs, "open-64-EdDSA") == 1.6
