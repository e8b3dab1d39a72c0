"""The figures of rooms, from runs."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.install import WITH_ROOMS
from benchmarks.runs import Run, cpu, key_of, median, of, ratio
from benchmarks.servers import COMPILED, GREENROOM

ENGINES = ("rooms", "rooms-redis")
"""How the jobs of each begin."""
OURS = {GREENROOM: "", COMPILED: "_compiled"}
CROWDS = ("1000", "counted")


def figures(runs: list[Run], extra: dict[str, Any]) -> dict[str, float]:
    """Only what was measured."""
    found = _laps(runs) | _memory(runs) | _abuse(runs)
    for engine in ENGINES:
        for crowd in CROWDS:
            for name, end in OURS.items():
                found |= {f"{key}{end}": value for key, value in _crowd(runs, f"{engine}-{crowd}", name).items()}
    for name in ("floor", *WITH_ROOMS):
        key = key_of(name)
        for what in ("join", "change", "message"):
            if of(runs, f"rooms-1000-{what}", name):
                found[f"rooms_1000_{what}_{key}_cpu_us"] = cpu(runs, f"rooms-1000-{what}", name)
    if "room_functions" in extra:
        found["room_function_longest_ms"] = max(extra["room_functions"]["longest_ms"].values(), default=0.0)
    return found


def _laps(runs: list[Run]) -> dict[str, float]:
    """A join and leave, and it over an open and close of the same server."""
    found: dict[str, float] = {}
    for engine in ENGINES:
        for what in ("join", "alone"):
            job = f"{engine}-{what}"
            for name, end in OURS.items():
                if own := _that_worked(runs, job, name):
                    found[f"{key_of(job)}_cpu_us{end}"] = cpu(runs, job, name)
                    found[f"{key_of(job)}_p99_ms{end}"] = median(one.finding.latency["p99"] for one in own)
                if value := ratio(runs, job, name, name, f"{engine}-open"):
                    found[f"{key_of(job)}_over_open{end}"] = value
    for name in WITH_ROOMS:
        for what in ("join", "alone"):
            if of(runs, f"rooms-{what}", name):
                found[f"rooms_{what}_{key_of(name)}_cpu_us"] = cpu(runs, f"rooms-{what}", name)
    if value := ratio(runs, "rooms-beside", over=GREENROOM, over_job="rooms-beside-none"):
        found["rooms_open_beside_times"] = value
    return found


def _that_worked(runs: list[Run], job: str, name: str) -> list[Run]:
    """Those of the job in which anything was done."""
    return [one for one in of(runs, job, name) if one.finding.latency]


def _crowd(runs: list[Run], job: str, name: str) -> dict[str, float]:
    key = key_of(job)
    found: dict[str, float] = {}
    if joins := _that_worked(runs, f"{job}-join", name):
        found[f"{key}_join_per_s"] = median(one.finding.rate for one in joins)
        found[f"{key}_join_converged_s"] = median(one.finding.more["converged"] for one in joins)
        stalls = [one.finding.more["stall"]["p99.9"] for one in joins if "p99.9" in one.finding.more.get("stall", {})]
        if stalls:
            found[f"{key}_stall_p999_ms"] = max(stalls)
    for part in ("change", "message"):
        if own := _that_worked(runs, f"{job}-{part}", name):
            found[f"{key}_{part}_cpu_us"] = cpu(runs, f"{job}-{part}", name)
            found[f"{key}_{part}_last_ms"] = median(one.finding.more["last"]["p50"] for one in own)
            if job.endswith("-1000") and (value := ratio(runs, f"{job}-{part}", name, "floor", f"rooms-1000-{part}")):
                found[f"{key}_{part}_over_bare"] = value
    if own := _that_worked(runs, f"{job}-churn", name):
        found[f"{key}_churn_p99_ms"] = median(one.finding.latency["p99"] for one in own)
        found[f"{key}_churn_share"] = median(one.server_share for one in own)
    for run in _that_worked(runs, f"{job}-crash", name):
        found[f"{key}_crash_back_s"] = run.finding.more["allBack"]
        found[f"{key}_crash_converged_s"] = run.finding.more["converged"]
    return found


def _memory(runs: list[Run]) -> dict[str, float]:
    found: dict[str, float] = {}
    for job in ("rooms-memory", "rooms-redis-memory"):
        for name, end in OURS.items():
            for run in of(runs, job, name):
                found[f"{key_of(job)}_kib{end}"] = run.kib_each
                if job == "rooms-redis-memory":
                    found[f"rooms_redis_memory_store_kib{end}"] = run.store_kib_each
    for name in WITH_ROOMS:
        for run in of(runs, "rooms-memory", name):
            found[f"rooms_memory_{key_of(name)}_kib"] = run.kib_each + run.store_kib_each
    return found


def _abuse(runs: list[Run]) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        if run.job.startswith("rooms-abuse-"):
            found[f"{key_of(run.job)}_p99_ms"] = run.finding.latency["p99"]
    worst = [value for key, value in found.items() if not key.endswith("_none_p99_ms")]
    if worst:
        found["rooms_abuse_worst_p99_ms"] = max(worst)
    return found


__all__ = ["figures"]
