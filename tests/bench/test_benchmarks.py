"""The results, the guard and the page of `make bench`, from made-up runs."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import environment, flame, page, results, targets
from benchmarks.environment import Interpreter
from benchmarks.jobs import FULL, JOBS, QUICK, Done
from benchmarks.peers.dialects import CentrifugoDialect
from benchmarks.rooms.functions import longest_of
from benchmarks.runs import Run, as_data, ratio
from benchmarks.sampled import Sampler, module_of
from greenroom.bench.dialect import Said
from greenroom.bench.figures import Measurement


def _run(job: str, subject: str, number: int, cpu_us: float, store: float = 0.0) -> Run:
    latency = {"p50": 1.0, "p99": 2.0}
    finding = Measurement(scenario="storm", parameters={}, operations=100, seconds=1.0, rate=100.0, latency=latency)
    return Run(job=job, subject=subject, round=number, finding=finding, cpu_us=cpu_us, store_cpu_us=store)


def test_ratios_are_taken_within_laps() -> None:
    # The machine was twice as slow in the second lap: neither ratio shows it.
    runs = [
        _run("open-64-EdDSA", "floor", 0, 100), _run("open-64-EdDSA", "greenroom", 0, 160),
        _run("open-64-EdDSA", "floor", 1, 200), _run("open-64-EdDSA", "greenroom", 1, 320),
    ]  # fmt: skip
    assert ratio(runs, "open-64-EdDSA") == 1.6


def test_a_peers_store_counts_with_it() -> None:
    runs = [
        _run("open-64-HS256", "greenroom", 0, 100), _run("open-64-HS256", "ws", 0, 150, store=50),
        _run("open-64-HS256", "centrifugo", 0, 40, store=10), _run("redis-1", "greenroom", 0, 60, store=15),
    ]  # fmt: skip
    found = results._figures(runs, {})
    assert found["peers_HS256_ws_times"] == 2.0
    assert found["open_64_HS256_over_centrifugo"] == 2.0
    assert found["redis_1_over_centrifugo"] == 1.5


def test_tokens_minted_here_and_the_compiled_service_have_figures_of_their_own() -> None:
    runs = [
        _run("open-64-EdDSA", "floor", 0, 100), _run("open-64-EdDSA", "greenroom", 0, 140),
        _run("open-64-EdDSA", "greenroom-compiled", 0, 120), _run("open-64-EdDSA-minted", "greenroom", 0, 90),
        _run("open-64-EdDSA-minted", "greenroom-compiled", 0, 80),
    ]  # fmt: skip
    found = results._figures(runs, {})
    assert [found[f"open_64_EdDSA{name}"] for name in ("_ratio", "_ratio_compiled")] == [1.4, 1.2]
    assert [found[f"open_64_EdDSA_minted{name}"] for name in ("_ratio", "_ratio_compiled")] == [0.9, 0.8]


def test_every_figure_of_a_goal_of_opens_is_one_that_laps_make() -> None:
    jobs = [f"open-64-{alg}{end}" for alg in ("EdDSA", "HS256") for end in ("", "-minted")]
    jobs += ["open-1-EdDSA", "open-256-EdDSA", "redis-1", "redis-3"]
    names = ["greenroom", "greenroom-compiled", "floor", "raw-floor", "centrifugo", "socket.io", "python-socketio"]
    found = results._figures([_run(job, name, 0, 100, store=1) for job in jobs for name in names], {})
    for goal in targets.TARGETS:
        if goal.figure.startswith(("open_", "redis_", "peers_")):
            assert goal.figure in found
            assert goal.compiled is None or f"{goal.figure}_compiled" in found


def _room_runs() -> list[Run]:
    """Of every job of rooms, with what their figures are made of."""
    found = []
    for engine in ("rooms", "rooms-redis"):
        parts = ("join", "alone", "open", "memory", *(f"{crowd}-{part}" for crowd in ("1000", "counted")
                 for part in ("join", "change", "message", "churn", "crash")))  # fmt: skip
        found += [_run(f"{engine}-{part}", name, 0, 100, store=1) for part in parts
                  for name in ("greenroom", "greenroom-compiled", "floor", "socket.io")]  # fmt: skip
    found += [_run(job, "greenroom", 0, 100) for job in ("rooms-beside", "rooms-beside-none")]
    found += [_run(f"rooms-abuse-redis-{abuse}", "greenroom", 0, 100) for abuse in ("none", "joins")]
    for run in found:
        run.finding.more = {"converged": 2.0, "allBack": 1.0, "last": {"p50": 1.0}, "stall": {"p99.9": 3.0}}
    return found


_LONGEST = {"room_functions": {"members": 10_000, "longest_ms": {"room_end": 12.5, "room_join": 1.0}}}


def test_every_figure_of_a_goal_of_rooms_is_one_that_the_jobs_make() -> None:
    found = results._figures(_room_runs(), _LONGEST)
    goals = [goal for goal in targets.TARGETS if goal.figure.startswith("room")]
    assert len(goals) == 13
    for goal in goals:
        assert goal.figure in found
        assert goal.compiled is None or f"{goal.figure}_compiled" in found
    assert found["room_function_longest_ms"] == 12.5


def test_the_page_shows_rooms_with_their_peers() -> None:
    runs = _room_runs()
    text = page.text_of({**_found(results._figures(runs, _LONGEST)), "extra": _LONGEST}, {})
    assert "| socket.io | 101.0 | 101.0 |" in text
    assert "`room_end` 12.5, `room_join` 1.0" in text
    drawn = page.pages({**_found(results._figures(runs, _LONGEST)), "extra": _LONGEST})
    assert {f"explanation/plots/rooms-{name}.svg" for name in ("join", "message", "functions")} <= drawn.keys()


def test_the_longest_call_of_each_function_comes_from_the_slow_log() -> None:
    entries = [
        {"command": b"FCALL greenroom_3_1e4dade8_room_end 1 {p1} {}", "duration": 900},
        {"command": b"FCALL greenroom_3_1e4dade8_room_end 1 {p2} {}", "duration": 12_500},
        {"command": b"FCALL_RO greenroom_3_1e4dade8_room_roster 1 {p2} {}", "duration": 700},
        {"command": b"FLUSHALL", "duration": 30_000},
    ]
    assert longest_of(entries) == {"room_end": 12.5, "room_roster": 0.7}


def _found(figures: dict[str, float]) -> dict[str, Any]:
    """Results without runs."""
    return {
        "form": "full", "date": "2026-01-01 10:00 UTC", "seconds": 60, "figures": figures, "failed": {}, "leftOut": [],
        "machine": {"load before": "0.1 0.1 0.1", "load after": "1 1 1", "redis": "8.1.0"}, "runs": [], "extra": {},
        "guard": {"slower": {}, "tolerance": 1.25},
    }  # fmt: skip


def _again(jobs: dict[str, Done], runs: list[Run], failed: dict[str, str]) -> dict[str, Any]:
    """What a bench of some jobs found."""
    return {
        "jobs": {name: msgspec.to_builtins(done) for name, done in jobs.items()}, "failed": failed, "extra": {},
        "machine": {"load before": "2.5 1 1", "redis": "8.2.0"}, "runs": [as_data(run) for run in runs],
    }  # fmt: skip


def test_a_job_that_was_run_again_takes_the_place_of_its_old_figures_and_says_when() -> None:
    before = _found({})
    before["failed"] = {"echo": "StartError: no", "churn": "StartError: no"}
    before["leftOut"] = ["echo", "soap"]
    before["runs"] = [as_data(_run(job, name, 0, cpu)) for job, name, cpu in (
        ("open-64-HS256", "floor", 100), ("open-64-HS256", "greenroom", 200), ("echo", "floor", 10),
        ("echo", "greenroom", 30), ("churn", "greenroom", 7),
    )]  # fmt: skip
    done = Done(date="2026-01-02 11:00 UTC", seconds=5, load_before="2.5 1 1", load_after="2 1 1", runs=["echo"])
    broken = Done(date="2026-01-02 11:01 UTC", seconds=5, load_before="2.5 1 1", load_after="2 1 1", runs=["churn"])
    runs = [_run("echo", "floor", 0, 10), _run("echo", "greenroom", 0, 20), _run("churn", "greenroom", 0, 1)]
    found = results.kept(before, _again({"echo": done, "churn": broken}, runs, {"churn": "StartError: still"}))
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
    twice = results.kept(found, _again({"echo": later}, [_run("echo", "greenroom", 0, 50)], {}))
    assert [run["cpuUs"] for run in twice["runs"] if run["job"] == "echo"] == [50]
    assert json.loads(results._text(twice)) == twice


def test_the_fastest_interpreter_is_chosen_whatever_it_says_of_itself() -> None:
    slow = Interpreter("/a/python3.13", "3.13.0", 0.019, pgo=True, lto=True, headers=True)
    fast = Interpreter("/usr/bin/python3.11", "3.11.2", 0.014, pgo=False, lto=False, headers=False)
    assert environment.fastest([slow, fast]) is fast
    assert slow.build == "PGO and LTO"


def test_this_interpreter_is_one_and_a_shell_is_none() -> None:
    own = environment.look(Path(sys.executable))
    assert own is not None
    assert own.version == sys.version.split()[0]
    assert own.seconds > 0
    assert environment.look(Path("/bin/sh")) is None


def test_centrifugos_messages_are_read_also_where_several_come_in_one_frame() -> None:
    dialect = CentrifugoDialect()
    join = b'{"push":{"channel":"participant:#1","join":{}}}'
    for message, said in (
        (b'{"id":1,"connect":{"client":"x"}}', Said.DONE),
        (join + b'\n{"id":1,"connect":{}}', Said.DONE),
        (b'{"id":1,"error":{"code":103}}', Said.REFUSED),
        (join + b'\n{"id":3,"error":{"code":103}}', Said.REFUSED),
        (join, Said.NOTICE),
        (b"{}", Said.PING),
    ):
        assert dialect.kind(message) is said, message
    assert b'"channel":"changes:bench-0"' in dialect.watch(["bench-0"])
    assert b'"channel":"changes:bench-0"' in dialect.rename("Anna")


def test_the_guard_sees_a_slow_down_beyond_the_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({"ratios": {"open_64_ratio": 2.0, "echo_ratio": 2.0, "gone_ratio": 1.0}}))
    monkeypatch.setattr(results, "BASELINE", baseline)
    assert results.guard({"open_64_ratio": 2.4, "echo_ratio": 2.6})["slower"] == {"echo_ratio": "2.60 was 2.00"}


def test_the_page_says_what_was_missed_and_why() -> None:
    missed = {}
    for goal in targets.TARGETS:
        bad = 0.5 if goal.at_least else 2
        missed[goal.figure] = goal.bound * bad
        if goal.compiled is not None:
            missed[f"{goal.figure}_compiled"] = goal.compiled * bad
    found = {
        "form": "quick", "date": "2026-01-01", "seconds": 60, "figures": missed, "machine": {"load before": "3.0 1 1"},
        "failed": {"echo": "StartError: no"}, "leftOut": ["churn"], "runs": [], "extra": {},
        "guard": {"slower": {"open_64_EdDSA_ratio": "3 was 2"}, "tolerance": 1.25},
    }  # fmt: skip
    text = page.text_of(found, {})
    assert text.count("**missed** by") == len(missed)
    for said in (
        "not quiet",
        "echo failed",
        "Left out",
        "short form",
        "3 was 2",
        *{goal.why for goal in targets.TARGETS},
    ):
        assert said in text, said


def test_a_goal_that_was_not_measured_is_not_said_to_be_met() -> None:
    goal = targets.TARGETS[0]
    assert targets.row(goal, {}).count("not measured") == 2
    figures = {goal.figure: goal.bound + 0.1, f"{goal.figure}_compiled": 0.9}
    assert "**missed** by 8 % | at most 1.00 × | 0.90 × | met |" in targets.row(goal, figures)
    assert goal.missed(figures)
    assert not goal.missed({goal.figure: goal.bound})


def test_both_forms_name_jobs_that_there_are_and_end_in_time() -> None:
    assert set(QUICK.without) | set(FULL.without) <= set(JOBS)
    assert QUICK.limit < 180
    assert FULL.limit < 2_400
    assert max(FULL.present) < FULL.tokens
    for form in (QUICK, FULL):
        assert form.warm + form.opens * 2 <= form.lap_tokens <= form.tokens


_STACKS = [
    (("main", "asyncio/runners.py:run", "server/wire/front_door.py:data", "tokens/verifier.py:verify"), 0.5),
    (("main", "asyncio/runners.py:run", "server/wire/front_door.py:data"), 0.2),
    (("writer", "lib/threading.py:run", "engines/embedded/writer.py:_run", "apsw/x.py:commit"), 0.299),
    (("main", "asyncio/runners.py:run"), 0.001),
]


def test_a_profile_counts_foreign_code_to_the_function_of_ours_that_called_it() -> None:
    shares = flame.areas(_STACKS)
    assert shares["the token: claims and signature"] == 0.5
    assert shares["rows, events, SQLite and its commits"] == 0.299
    assert shares["sockets, the handshake, frames"] == 0.2
    assert sum(shares.values()) == pytest.approx(1)


def test_a_flame_graph_begins_at_our_own_code_and_leaves_out_what_is_too_small_to_see() -> None:
    root = flame.tree(_STACKS)
    main, writer = root["children"]
    assert (main["name"], main["share"]) == ("main", 0.701)
    (door,) = main["children"]
    assert door["name"] == "server/wire/front_door.py:data"
    assert door["children"][0]["share"] == 0.5
    assert writer["children"][0]["name"] == "engines/embedded/writer.py:_run"
    drawing = flame.draw("a < b", root)
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "prefers-color-scheme:dark" in drawing
    assert "tokens/verifier.py:verify: 50.0%" in drawing


def test_the_sampler_weighs_a_thread_with_the_cpu_it_has_used() -> None:
    def spin(until: float) -> None:
        while time.process_time() < until:
            pass

    sampler = Sampler()
    before = signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGUSR2)
    waiting = threading.Event()
    idle = threading.Thread(target=waiting.wait, name="idle")
    idle.start()
    try:
        sampler.start()
        spin(time.process_time() + 0.1)
    finally:
        sampler.stop()
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGUSR2, before[1])
        waiting.set()
        idle.join()
    used = {stack: seconds for stack, seconds in sampler.stacks.items() if stack[-1].endswith("spin")}
    assert sum(used.values()) > 0.05
    assert sum(seconds for stack, seconds in sampler.stacks.items() if stack[0] == "idle") < 0.01


def test_a_file_of_ours_is_named_below_the_package() -> None:
    assert module_of("/x/src/greenroom/core/states.py") == "core/states.py"
    assert module_of("/usr/lib/python3.11/asyncio/events.py") == "asyncio/events.py"
