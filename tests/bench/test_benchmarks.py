"""The results, the guard and the page of `make bench`, from made-up runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import page, results, targets
from benchmarks.jobs import FULL, JOBS, QUICK
from benchmarks.runs import Run, ratio
from greenroom.bench.figures import Finding


def _run(job: str, subject: str, number: int, cpu_us: float, store: float = 0.0) -> Run:
    latency = {"p50": 1.0, "p99": 2.0}
    finding = Finding(scenario="storm", parameters={}, operations=100, seconds=1.0, rate=100.0, latency=latency)
    return Run(job=job, subject=subject, round=number, finding=finding, cpu_us=cpu_us, store_cpu_us=store)


def test_ratios_are_taken_within_rounds() -> None:
    # The machine was twice as slow in the second round: neither ratio shows it.
    runs = [
        _run("open-64", "floor", 0, 100), _run("open-64", "greenroom", 0, 160),
        _run("open-64", "floor", 1, 200), _run("open-64", "greenroom", 1, 320),
    ]  # fmt: skip
    assert ratio(runs, "open-64") == 1.6


def test_a_peers_store_counts_with_it() -> None:
    runs = [_run("peers-EdDSA", "greenroom", 0, 100), _run("peers-EdDSA", "ws", 0, 150, store=50)]
    assert results._peers(runs)["peers_EdDSA_ws_times"] == 2.0


def test_the_guard_sees_a_slow_down_beyond_the_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({"ratios": {"open_64_ratio": 2.0, "echo_ratio": 2.0, "gone_ratio": 1.0}}))
    monkeypatch.setattr(results, "BASELINE", baseline)
    assert results.guard({"open_64_ratio": 2.4, "echo_ratio": 2.6})["slower"] == {"echo_ratio": "2.60 was 2.00"}


def test_the_page_says_what_was_missed_and_why() -> None:
    missed = {goal.figure: goal.bound / 2 if goal.at_least else goal.bound * 2 for goal in targets.TARGETS}
    found = {
        "form": "quick", "date": "2026-01-01", "seconds": 60, "figures": missed, "machine": {"load before": "3.0 1 1"},
        "failed": {"echo": "StartError: no"}, "leftOut": ["churn"], "runs": [],
        "guard": {"slower": {"open_64_ratio": "3 was 2"}, "tolerance": 1.25},
    }  # fmt: skip
    text = page.text_of(found, {})
    assert text.count("**missed** by") == len(targets.TARGETS)
    for said in (
        "not quiet",
        "echo failed",
        "Left out",
        "short form",
        "3 was 2",
        *{goal.why for goal in targets.TARGETS},
    ):
        assert said in text, said


def test_an_aim_that_was_not_measured_is_not_said_to_be_met() -> None:
    assert "not measured" in page._row(targets.TARGETS[0], None)
    assert "met" in page._row(targets.TARGETS[0], 1.0)


def test_both_forms_name_jobs_that_there_are_and_end_in_time() -> None:
    assert set(QUICK.without) | set(FULL.without) <= set(JOBS)
    assert QUICK.limit < 180
    assert FULL.limit < 1_800
    assert max(FULL.present) < FULL.tokens
