"""Runs and results of `make bench` that nobody measured."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.jobs import Done
from benchmarks.runs import Run, as_data
from greenroom.bench.figures import Measurement


def a_run(job: str, subject: str, number: int, cpu_us: float, store: float = 0.0) -> Run:
    """A lap of a job by a server. store: CPU of its store beside."""
    latency = {"p50": 1.0, "p99": 2.0}
    finding = Measurement(scenario="storm", parameters={}, operations=100, seconds=1.0, rate=100.0, latency=latency)
    return Run(job=job, subject=subject, round=number, finding=finding, cpu_us=cpu_us, store_cpu_us=store)


def room_runs() -> list[Run]:
    """Of every job of rooms, with what their figures are made of."""
    found = []
    for engine in ("rooms", "rooms-redis"):
        parts = ("join", "alone", "open", "memory", *(f"{crowd}-{part}" for crowd in ("1000", "counted")
                 for part in ("join", "change", "message", "churn", "crash")))  # fmt: skip
        found += [a_run(f"{engine}-{part}", name, 0, 100, store=1) for part in parts
                  for name in ("greenroom", "greenroom-compiled", "floor", "socket.io")]  # fmt: skip
    found += [a_run(job, "greenroom", 0, 100) for job in ("rooms-beside", "rooms-beside-none")]
    found += [a_run(f"rooms-abuse-redis-{abuse}", "greenroom", 0, 100) for abuse in ("none", "joins")]
    for run in found:
        run.finding.more = {"converged": 2.0, "allBack": 1.0, "last": {"p50": 1.0}, "stall": {"p99.9": 3.0}}
    return found


LONGEST = {"room_functions": {"members": 10_000, "longest_ms": {"room_end": 12.5, "room_join": 1.0}}}


def found_of(figures: dict[str, float]) -> dict[str, Any]:
    """Results without runs."""
    return {
        "form": "full", "date": "2026-01-01 10:00 UTC", "seconds": 60, "figures": figures, "failed": {}, "leftOut": [],
        "machine": {"load before": "0.1 0.1 0.1", "load after": "1 1 1", "redis": "8.1.0"}, "runs": [], "extra": {},
        "guard": {"slower": {}, "tolerance": 1.25},
    }  # fmt: skip


def again(jobs: dict[str, Done], runs: list[Run], failed: dict[str, str]) -> dict[str, Any]:
    """What a bench of some jobs found."""
    return {
        "jobs": {name: msgspec.to_builtins(done) for name, done in jobs.items()}, "failed": failed, "extra": {},
        "machine": {"load before": "2.5 1 1", "redis": "8.2.0"}, "runs": [as_data(run) for run in runs],
    }  # fmt: skip
