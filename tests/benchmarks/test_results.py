"""The results and the guard of `make bench`, from made-up runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import page, results, targets
from benchmarks.jobs import Done
from benchmarks.runs import as_data
from tests.benchmarks.made_up import LONGEST, a_run, again, found_of, room_runs


def test_a_peers_store_counts_with_it() -> None:
    runs = [
        a_run("open-64-HS256", "greenroom", 0, 100), a_run("open-64-HS256", "ws", 0, 150, store=50),
        a_run("open-64-HS256", "centrifugo", 0, 40, store=10), a_run("redis-1", "greenroom", 0, 60, store=15),
    ]  # fmt: skip
    found = results._figures(runs, {})
    assert found["peers_HS256_ws_times"] == 2.0
    assert found["open_64_HS256_over_centrifugo"] == 2.0
    assert found["redis_1_over_centrifugo"] == 1.5


def test_tokens_minted_here_and_the_compiled_service_have_figures_of_their_own() -> None:
    runs = [
        a_run("open-64-EdDSA", "floor", 0, 100), a_run("open-64-EdDSA", "greenroom", 0, 140),
        a_run("open-64-EdDSA", "greenroom-compiled", 0, 120), a_run("open-64-EdDSA-minted", "greenroom", 0, 90),
        a_run("open-64-EdDSA-minted", "greenroom-compiled", 0, 80),
    ]  # fmt: skip
    found = results._figures(runs, {})
    assert [found[f"open_64_EdDSA{name}"] for name in ("_ratio", "_ratio_compiled")] == [1.4, 1.2]
    assert [found[f"open_64_EdDSA_minted{name}"] for name in ("_ratio", "_ratio_compiled")] == [0.9, 0.8]


def test_every_figure_of_a_goal_of_opens_is_one_that_laps_make() -> None:
    jobs = [f"open-64-{alg}{end}" for alg in ("EdDSA", "HS256") for end in ("", "-minted")]
    jobs += ["open-1-EdDSA", "open-256-EdDSA", "redis-1", "redis-3"]
    names = ["greenroom", "greenroom-compiled", "floor", "raw-floor", "centrifugo", "socket.io", "python-socketio"]
    found = results._figures([a_run(job, name, 0, 100, store=1) for job in jobs for name in names], {})
    for goal in targets.TARGETS:
        if goal.figure.startswith(("open_", "redis_", "peers_")):
            assert goal.figure in found
            assert goal.compiled is None or f"{goal.figure}_compiled" in found


def test_every_figure_of_a_goal_of_rooms_is_one_that_the_jobs_make() -> None:
    found = results._figures(room_runs(), LONGEST)
    goals = [goal for goal in targets.TARGETS if goal.figure.startswith("room")]
    assert len(goals) == 13
    for goal in goals:
        assert goal.figure in found
        assert goal.compiled is None or f"{goal.figure}_compiled" in found
    assert found["room_function_longest_ms"] == 12.5


def test_a_job_that_was_run_again_takes_the_place_of_its_old_figures_and_says_when() -> None:
    before = found_of({})
    before["failed"] = {"echo": "StartError: no", "churn": "StartError: no"}
    before["leftOut"] = ["echo", "soap"]
    before["runs"] = [as_data(a_run(job, name, 0, cpu)) for job, name, cpu in (
        ("open-64-HS256", "floor", 100), ("open-64-HS256", "greenroom", 200), ("echo", "floor", 10),
        ("echo", "greenroom", 30), ("churn", "greenroom", 7),
    )]  # fmt: skip
    done = Done(date="2026-01-02 11:00 UTC", seconds=5, load_before="2.5 1 1", load_after="2 1 1", runs=["echo"])
    broken = Done(date="2026-01-02 11:01 UTC", seconds=5, load_before="2.5 1 1", load_after="2 1 1", runs=["churn"])
    runs = [a_run("echo", "floor", 0, 10), a_run("echo", "greenroom", 0, 20), a_run("churn", "greenroom", 0, 1)]
    found = results.kept(before, again({"echo": done, "churn": broken}, runs, {"churn": "StartError: still"}))
    assert found["figures"]["echo_ratio"] == 2.0
    assert found["figures"]["open_64_HS256_ratio"] == 2.0
    assert [run["cpuUs"] for run in found["runs"] if run["job"] == "churn"] == [7], "what failed again is as it was"
    assert found["failed"] == {"churn": "StartError: no"}
    assert found["leftOut"] == ["soap"]
    assert found["date"] == "2026-01-01 10:00 UTC"
    assert found["jobs"].keys() == {"echo"}
    assert "echo_ratio" in found["jobs"]["echo"]["figures"]
    assert "open_64_HS256_ratio" not in found["jobs"]["echo"]["figures"]
    text = page.text_of(found, {})
    assert "**Run on their own, at another time**: echo." in text
    assert "| (1) | echo | 2026-01-02 11:00 UTC | 5 s | 2.5 1 1 | 2 1 1 | redis 8.2.0 |" in text
    assert "| `echo_ratio` [(1)](#jobs-run-on-their-own) | 2 |" in text
    assert "| `open_64_HS256_ratio` | 2 |" in text
    # Once more: the first time leaves nothing behind, and the file is one that can be read.
    later = Done(date="2026-01-03 12:00 UTC", seconds=5, load_before="0 0 0", load_after="1 1 1", runs=["echo"])
    twice = results.kept(found, again({"echo": later}, [a_run("echo", "greenroom", 0, 50)], {}))
    assert [run["cpuUs"] for run in twice["runs"] if run["job"] == "echo"] == [50]
    assert json.loads(results._text(twice)) == twice


def test_the_guard_sees_a_slow_down_beyond_the_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({"ratios": {"open_64_ratio": 2.0, "echo_ratio": 2.0, "gone_ratio": 1.0}}))
    monkeypatch.setattr(results, "BASELINE", baseline)
    assert results.guard({"open_64_ratio": 2.4, "echo_ratio": 2.6})["slower"] == {"echo_ratio": "2.60 was 2.00"}
