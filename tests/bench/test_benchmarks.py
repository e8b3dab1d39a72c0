"""The results, the guard and the page of `make bench`, from made-up runs."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import environment, flame, page, results, targets
from benchmarks.environment import Interpreter
from benchmarks.jobs import FULL, JOBS, QUICK
from benchmarks.peers.dialects import CentrifugoDialect
from benchmarks.runs import Run, ratio
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
        (b"{}", Said.OTHER),
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
    assert FULL.limit < 1_800
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
