"""Percentiles, and who spent the CPU."""

from __future__ import annotations

import time

import msgspec
import pytest

from greenroom.bench.figures import LONGEST, Latencies, Measurement, Stopwatch


def test_percentiles_are_right_to_two_digits() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1_001):
        latencies.add(milliseconds / 1000)
    summary = latencies.summary()
    assert summary["p50"] == pytest.approx(500, rel=0.01)
    assert summary["p99"] == pytest.approx(990, rel=0.01)
    assert summary["max"] == pytest.approx(1_000, rel=0.01)


def test_no_latencies_have_no_percentiles() -> None:
    assert Latencies().summary() == {}
    assert Latencies().curve() == []


def test_latencies_of_a_few() -> None:
    latencies = Latencies()
    for seconds in (0.001, 0.002, 0.004, 0.1):
        latencies.add(seconds)
    assert len(latencies) == 4
    assert latencies.summary() == {"p50": 2.007, "p90": 100.351, "p99": 100.351, "p99.9": 100.351, "max": 100.351}
    assert latencies.curve()[0] == (0.0, 1.0)
    assert latencies.curve()[-1] == (100.0, 100.351)


def test_what_is_too_long_or_too_short_is_counted_at_the_end() -> None:
    latencies = Latencies()
    latencies.add(0)
    latencies.add(10 * LONGEST / 1e6)
    assert latencies.at(0) == 0.001
    assert latencies.summary()["max"] == pytest.approx(LONGEST / 1000, rel=0.01)


@pytest.mark.parametrize(("share", "was"), [(0.0, False), (0.85, False), (0.86, True)])
def test_the_generator_is_the_bottleneck_above_its_share(share: float, was: bool) -> None:
    found = Measurement(scenario="storm", parameters={}, operations=1, seconds=1.0, rate=1.0, generator_share=share)
    assert found.generator_was_the_bottleneck is was
    assert msgspec.to_builtins(found)["generatorShare"] == share


def test_a_stopwatch_knows_time_and_own_cpu() -> None:
    watch = Stopwatch()
    watch.start()
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    watch.stop()
    assert watch.seconds >= 0.02
    assert watch.share * watch.seconds >= 0.019
