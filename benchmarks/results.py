"""From runs to figures: the results file, the guard's baseline, and a table for the terminal."""

from __future__ import annotations

import datetime
import json
from typing import Any

from benchmarks import machine, outage
from benchmarks.jobs import Bench
from benchmarks.process import ROOT
from benchmarks.runs import Run, as_data, cpu, median, of, ratio

LATEST = ROOT / "benchmarks" / "results" / "latest.json"
BASELINE = ROOT / "benchmarks" / "baseline.json"
DRAFT = ROOT / "build" / "bench" / "results.json"

TOLERANCE = 1.25
"""A ratio above its baseline by more than this is called a slow-down: these machines are noisy."""


def collect(bench: Bench, seconds: float) -> dict[str, Any]:
    """All there is to know of a bench."""
    figures = _figures(bench.runs, bench.extra)
    return {
        "form": bench.form.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds),
        "machine": machine.describe(),
        "figures": figures,
        "guard": guard(figures),
        "failed": bench.failed,
        "leftOut": bench.left_out,
        "extra": bench.extra,
        "runs": [as_data(run) for run in bench.runs],
    }


def _figures(runs: list[Run], extra: dict[str, Any]) -> dict[str, float]:
    """The figures that pages name. Only what was measured."""
    found: dict[str, float] = {}
    for width in (64, 256):
        job = f"open-{width}"
        if of(runs, job):
            found[f"open_{width}_cpu_us"] = cpu(runs, job)
            found[f"open_{width}_floor_cpu_us"] = cpu(runs, job, "floor")
            found[f"open_{width}_ratio"] = round(ratio(runs, job), 3)
            found[f"open_{width}_per_s"] = median(one.finding.rate for one in of(runs, job))
            found[f"open_{width}_p99_ms"] = median(one.finding.latency["p99"] for one in of(runs, job))
    for run in runs:
        if run.job.startswith("idle-") and run.subject == "greenroom":
            found[f"idle_{run.job[5:]}_kib"] = round(run.kib_each, 2)
    if of(runs, "echo"):
        found["echo_cpu_us"] = cpu(runs, "echo")
        found["echo_ratio"] = round(ratio(runs, "echo"), 3)
        found["echo_per_s"] = median(one.finding.rate for one in of(runs, "echo"))
    fanouts = of(runs, "fanout")
    if fanouts:
        found["fanout_cpu_us"] = cpu(runs, "fanout")
        found["fanout_ratio"] = round(ratio(runs, "fanout"), 3)
        found["update_to_watcher_p99_ms"] = median(one.finding.latency["p99"] for one in fanouts)
        found["update_to_last_watcher_ms"] = median(one.finding.more["last"]["p50"] for one in fanouts)
    for run in of(runs, "herd"):
        found["herd_sessions"] = run.finding.parameters["sessions"]
        found["herd_all_back_s"] = run.finding.more["allBack"]
        found["herd_admitted_p99_ms"] = run.finding.latency["p99"]
        found["herd_from_dialing_p99_ms"] = run.finding.more["fromDialing"].get("p99", 0.0)
        found["herd_mean_attempts"] = run.finding.more["meanAttempts"]
    found |= _crowded(runs) | _peers(runs)
    if "import_ms" in extra:
        found["import_ms"] = extra["import_ms"]
    return {name: round(value, 3) for name, value in found.items()}


def _crowded(runs: list[Run]) -> dict[str, float]:
    """Of the jobs that need many sessions, much time, or Redis."""
    found: dict[str, float] = {}
    present = {int(run.job[8:]): cpu(runs, run.job) for run in runs if run.job.startswith("present-")}
    for count, value in present.items():
        found[f"present_{count}_cpu_us"] = value
    if len(present) > 1:
        found["present_flat"] = max(present.values()) / present[min(present)]
    for run in of(runs, "heartbeat"):
        found["heartbeat_cpu_us"] = run.cpu_us
        found["heartbeat_lost"] = run.finding.more["lost"]
    for run in of(runs, "failure-detection"):
        found |= {f"detect_{name}": value for name, value in run.finding.more.items() if name.endswith("_s")}
        found["false_leaves"] = run.finding.more["falseLeaves"]
    stalls = [run.finding.more["stall"] for run in runs if "stall" in run.finding.more]
    if stalls:
        found["stall_p999_ms"] = max(one.get("p99.9", 0.0) for one in stalls)
    beside = {run.job[11:]: run.finding.latency["p99"] for run in runs if run.job.startswith("neighbours-")}
    if len(beside) > 1:
        found["neighbours_alone_p99_ms"] = beside.pop("none")
        found["neighbours_worst_p99_ms"] = max(beside.values())
    for run in runs:
        if run.job.startswith("abuse-"):
            name = run.job.replace("-", "_")
            found[f"{name}_p99_ms"] = run.finding.latency["p99"]
            found[f"{name}_growth"] = run.finding.more["growth"]
    abused = [run for run in runs if run.job.startswith("abuse-") and not run.job.endswith("-none")]
    if abused:
        found["abuse_worst_p99_ms"] = max(run.finding.latency["p99"] for run in abused)
        found["abuse_worst_growth"] = max(run.finding.more["growth"] for run in abused)
    for how in outage.AWAY:
        value = ratio(runs, f"outage-{how}", over_job="outage-none", over="greenroom")
        if value:
            found[f"outage_{how}_times"] = value
    return found | _redis(runs)


def _redis(runs: list[Run]) -> dict[str, float]:
    """Opens through the Redis engine, and one node's rate over the embedded engine's within the same round."""
    found: dict[str, float] = {}
    for job in sorted({run.job for run in runs if run.job.startswith("redis-")}):
        name = job.replace("-", "_")
        found[f"{name}_cpu_us"] = cpu(runs, job)
        found[f"{name}_store_cpu_us"] = median(one.store_cpu_us for one in of(runs, job))
        found[f"{name}_per_s"] = median(one.finding.rate for one in of(runs, job))
    embedded = {one.round: one.finding.rate for one in of(runs, "redis-embedded")}
    ratios = [one.finding.rate / embedded[one.round] for one in of(runs, "redis-1") if embedded.get(one.round)]
    if ratios:
        found["redis_of_embedded"] = median(ratios)
    return found


def _peers(runs: list[Run]) -> dict[str, float]:
    """CPU of each peer, and how many times ours it is; the store's CPU counts, for ours is in the process."""
    found: dict[str, float] = {}
    for alg in ("EdDSA", "HS256"):
        job = f"peers-{alg}"
        own = cpu(runs, job)
        for name in sorted({run.subject for run in runs if run.job == job}):
            value = median(one.cpu_us + one.store_cpu_us for one in of(runs, job, name))
            found[f"peers_{alg}_{name}_cpu_us"] = value
            if name != "greenroom" and own:
                found[f"peers_{alg}_{name}_times"] = value / own
    for run in runs:
        if run.job == "peers-idle":
            found[f"peers_idle_{run.subject}_kib"] = run.kib_each
        elif run.job in ("peers-fanout", "peers-echo"):
            found[f"{run.job.replace('-', '_')}_{run.subject}_cpu_us"] = run.cpu_us
    return found


def guard(figures: dict[str, float]) -> dict[str, Any]:
    """The ratios to the floor against the kept baseline: no wall clock is trusted."""
    kept: dict[str, float] = json.loads(BASELINE.read_text())["ratios"] if BASELINE.exists() else {}
    now = {name: value for name, value in figures.items() if name.endswith("_ratio")}
    slower = {
        name: f"{now[name]:.2f} was {value:.2f}"
        for name, value in kept.items()
        if name in now and now[name] > value * TOLERANCE
    }
    return {"tolerance": TOLERANCE, "baseline": kept, "now": now, "slower": slower}


def save(found: dict[str, Any], *, whole: bool) -> bool:
    """In build/, and where pages read it if all jobs were run; the short form never takes the place of the full one."""
    DRAFT.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    DRAFT.write_text(text)
    if not whole or (found["form"] == "quick" and LATEST.exists() and load()["form"] == "full"):
        return False
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(text)
    return True


def load() -> dict[str, Any]:
    """The results that are committed."""
    found: dict[str, Any] = json.loads(LATEST.read_text())
    return found


def save_baseline(found: dict[str, Any]) -> None:
    """Keep the ratios for the guard."""
    kept = {"date": found["date"], "form": found["form"], "ratios": found["guard"]["now"]}
    BASELINE.write_text(json.dumps(kept, indent=1) + "\n")


def show(found: dict[str, Any]) -> None:
    """The figures, for people."""
    width = max((len(name) for name in found["figures"]), default=0)
    for name, value in found["figures"].items():
        print(f"{name:{width}}  {value:g}")
    for name, text in found["guard"]["slower"].items():
        print(f"slower than the baseline: {name}: {text}")
    for name, text in found["failed"].items():
        print(f"failed: {name}: {text}")
    for name in found["leftOut"]:
        print(f"left out, the time was over: {name}")
    print(f"{found['form']} form, {found['seconds']} s; all of it in {DRAFT.relative_to(ROOT)}")


__all__ = ["BASELINE", "LATEST", "collect", "guard", "load", "save", "save_baseline", "show"]
