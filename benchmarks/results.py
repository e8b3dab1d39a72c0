"""From runs to figures: the results file, the guard's baseline, and a table for the terminal."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from benchmarks import outage, targets
from benchmarks.jobs import Bench, Done, now
from benchmarks.laps import MINTED
from benchmarks.peers.install import CENTRIFUGO, KINDS
from benchmarks.process import ROOT
from benchmarks.rooms.figures import figures as rooms_figures
from benchmarks.runs import Run, as_data, cpu, from_data, key_of, median, of, ratio, total
from benchmarks.servers import COMPILED, EDDSA, GREENROOM, HS256

LATEST = ROOT / "benchmarks" / "results" / "latest.json"
BASELINE = ROOT / "benchmarks" / "baseline.json"
DRAFT = ROOT / "build" / "bench" / "results.json"

TOLERANCE = 1.25
"""A ratio above its baseline by more than this is called a slow-down: these machines are noisy."""


def collect(bench: Bench, described: dict[str, str], seconds: float) -> dict[str, Any]:
    """All there is to know of a bench. described: the machine, as it was before."""
    figures = _figures(bench.runs, bench.extra)
    return {
        "form": bench.form.name,
        "date": now(),
        "seconds": round(seconds),
        "machine": described,
        "figures": figures,
        "guard": guard(figures),
        "failed": bench.failed,
        "leftOut": bench.left_out,
        "extra": bench.extra,
        "jobs": {name: msgspec.to_builtins(done) for name, done in bench.done.items()},
        "runs": [as_data(run) for run in bench.runs],
    }


PLAIN_AND_COMPILED = {GREENROOM: "", COMPILED: "_compiled"}
"""Our servers, and how the names of their figures end."""


def _figures(runs: list[Run], extra: dict[str, Any]) -> dict[str, float]:
    """The figures that pages name. Only what was measured."""
    found = _opens(runs) | _peers(runs) | _redis(runs)
    for name, end in PLAIN_AND_COMPILED.items():
        for run in runs:
            if run.job.startswith("idle-") and run.subject == name:
                found[f"idle_{run.job[5:]}_kib{end}"] = run.kib_each
        if echoes := of(runs, "echo", name):
            found[f"echo_cpu_us{end}"] = cpu(runs, "echo", name)
            found[f"echo_ratio{end}"] = ratio(runs, "echo", name)
            found[f"echo_per_s{end}"] = median(one.finding.rate for one in echoes)
        if fanouts := of(runs, "fanout", name):
            found[f"fanout_cpu_us{end}"] = cpu(runs, "fanout", name)
            found[f"fanout_ratio{end}"] = ratio(runs, "fanout", name)
            found[f"update_to_watcher_p99_ms{end}"] = median(one.finding.latency["p99"] for one in fanouts)
            found[f"update_to_last_watcher_ms{end}"] = median(one.finding.more["last"]["p50"] for one in fanouts)
        for run in of(runs, "herd", name):
            found[f"herd_sessions{end}"] = run.finding.parameters["sessions"]
            found[f"herd_all_back_s{end}"] = run.finding.more["allBack"]
            found[f"herd_admitted_p99_ms{end}"] = run.finding.latency["p99"]
            found[f"herd_from_dialing_p99_ms{end}"] = run.finding.more["fromDialing"].get("p99", 0.0)
            found[f"herd_mean_attempts{end}"] = run.finding.more["meanAttempts"]
            found[f"herd_stall_p999_ms{end}"] = run.finding.more["stall"].get("p99.9", 0.0)
    found |= _crowded(runs) | rooms_figures(runs, extra)
    if "import_ms" in extra:
        found["import_ms"] = extra["import_ms"]
    return {name: round(value, 3) for name, value in found.items()}


def _opens(runs: list[Run]) -> dict[str, float]:
    """What an open and close costs each server, and ours as ratios within laps to the floors and to Centrifugo."""
    found: dict[str, float] = {}
    for job in sorted({run.job for run in runs if run.job.startswith("open-")}):
        for subject in sorted({run.subject for run in runs if run.job == job} - set(PLAIN_AND_COMPILED)):
            found[f"{key_of(job)}_{key_of(subject)}_cpu_us"] = cpu(runs, job, subject)
        below = job.removesuffix(MINTED)
        for name, end in PLAIN_AND_COMPILED.items():
            own = of(runs, job, name)
            if not own:
                continue
            found[f"{key_of(job)}_cpu_us{end}"] = cpu(runs, job, name)
            found[f"{key_of(job)}_per_s{end}"] = median(one.finding.rate for one in own)
            found[f"{key_of(job)}_p99_ms{end}"] = median(one.finding.latency["p99"] for one in own)
            for over, kind in (("floor", "ratio"), ("raw-floor", "over_raw"), (CENTRIFUGO, "over_centrifugo")):
                if value := ratio(runs, job, name, over, below):
                    found[f"{key_of(job)}_{kind}{end}"] = value
    return found


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
    stalls = [run.finding.more["stall"] for run in runs if run.job.startswith("stall-")]
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
    return found


def _redis(runs: list[Run]) -> dict[str, float]:
    """Opens through the Redis engine, with HS256: nodes and Redis, over Centrifugo's, and over one node's."""
    found: dict[str, float] = {}
    centrifugo = f"open-64-{HS256}"
    for job in sorted({run.job for run in runs if run.job.startswith("redis-")}):
        for name, end in PLAIN_AND_COMPILED.items():
            own = of(runs, job, name)
            if not own:
                continue
            found[f"{key_of(job)}_cpu_us{end}"] = cpu(runs, job, name)
            found[f"{key_of(job)}_store_cpu_us{end}"] = median(one.store_cpu_us for one in own)
            found[f"{key_of(job)}_per_s{end}"] = median(one.finding.rate for one in own)
            for kind, over, over_job in (("over_centrifugo", CENTRIFUGO, centrifugo), ("over_one", name, "redis-1")):
                if over_job != job and (value := ratio(runs, job, name, over, over_job)):
                    found[f"{key_of(job)}_{kind}{end}"] = value
    embedded = {one.round: one.finding.rate for one in of(runs, centrifugo)}
    rates = [one.finding.rate / embedded[one.round] for one in of(runs, "redis-1") if embedded.get(one.round)]
    if rates:
        found["redis_of_embedded"] = median(rates)
    stores = [one.store_cpu_us for one in of(runs, centrifugo, CENTRIFUGO)]
    if stores:
        found["centrifugo_store_cpu_us"] = median(stores)
    return found


def _peers(runs: list[Run]) -> dict[str, float]:
    """How many times ours each peer's open costs within a lap; and its memory, deliveries and echoes."""
    found: dict[str, float] = {}
    for alg in (EDDSA, HS256):
        job = f"open-64-{alg}"
        for name in sorted({run.subject for run in runs if run.job == job} & {*KINDS, CENTRIFUGO}):
            if value := ratio(runs, job, name, GREENROOM):
                found[f"peers_{alg}_{key_of(name)}_times"] = value
    for run in runs:
        if run.job == "peers-idle":
            found[f"peers_idle_{key_of(run.subject)}_kib"] = run.kib_each
        elif run.job in ("peers-fanout", "peers-echo"):
            found[f"{key_of(run.job)}_{key_of(run.subject)}_cpu_us"] = total(run)
    return found


def guard(figures: dict[str, float]) -> dict[str, Any]:
    """The ratios to the floor against the kept baseline: no wall clock is trusted."""
    kept: dict[str, float] = json.loads(BASELINE.read_text())["ratios"] if BASELINE.exists() else {}
    now = {name: value for name, value in figures.items() if name.endswith(("_ratio", "_ratio_compiled"))}
    slower = {
        name: f"{now[name]:.2f} was {value:.2f}"
        for name, value in kept.items()
        if name in now and now[name] > value * TOLERANCE
    }
    return {"tolerance": TOLERANCE, "baseline": kept, "now": now, "slower": slower}


def save(found: dict[str, Any], *, whole: bool) -> bool:
    """In build/, and where pages read it if all jobs were run; the short form never takes the place of the full one."""
    DRAFT.parent.mkdir(parents=True, exist_ok=True)
    text = _text(found)
    DRAFT.write_text(text)
    if not whole or (found["form"] == "quick" and LATEST.exists() and load()["form"] == "full"):
        return False
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    LATEST.write_text(text)
    return True


def keep(new: dict[str, Any]) -> dict[str, Any]:
    """The results of some jobs take the place of those in the kept ones, which are written and returned. What failed as
    a whole is left as it was."""
    found = kept(load(), new)
    LATEST.write_text(_text(found))
    return found


def kept(found: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`found` with the jobs of `new`, each of which knows its own date, load, and figures."""
    jobs = {name: msgspec.convert(done, Done) for name, done in found.get("jobs", {}).items()}
    runs = [from_data(run) for run in found["runs"]]
    extra, failed = dict(found["extra"]), dict(found["failed"])
    for name, data in new["jobs"].items():
        if name in new["failed"]:
            continue
        done = msgspec.convert(data, Done)
        before = jobs.get(name, done)
        gone = {*before.runs, *done.runs}
        runs = [run for run in runs if run.job not in gone]
        runs += [from_data(run) for run in new["runs"] if run["job"] in done.runs]
        extra = {key: value for key, value in extra.items() if key not in before.extra}
        extra |= {key: new["extra"][key] for key in done.extra}
        failed = {what: text for what, text in failed.items() if what != name and what not in before.failed}
        failed |= {what: new["failed"][what] for what in done.failed}
        done.kept = True
        done.machine = {
            what: text
            for what, text in new["machine"].items()
            if not what.startswith("load ") and found["machine"].get(what) != text
        }
        jobs[name] = done
    figures = _figures(runs, extra)
    for done in jobs.values():
        if done.kept:
            others = _figures(
                [run for run in runs if run.job not in done.runs],
                {key: value for key, value in extra.items() if key not in done.extra},
            )
            done.figures = [key for key, value in figures.items() if others.get(key) != value]
    return {
        **found,
        "figures": figures,
        "guard": guard(figures),
        "failed": failed,
        "leftOut": [name for name in found["leftOut"] if name not in jobs or not jobs[name].kept],
        "extra": extra,
        "jobs": {name: msgspec.to_builtins(done) for name, done in jobs.items()},
        "runs": [as_data(run) for run in runs],
    }


def _text(found: dict[str, Any]) -> str:
    """As JSON, a line for each run: there are hundreds."""
    runs = ",\n".join("  " + json.dumps(run) for run in found["runs"])
    rest = {name: value for name, value in found.items() if name != "runs"}
    return json.dumps({**rest, "runs": []}, indent=1).removesuffix("[]\n}") + f"[\n{runs}\n ]\n}}\n"


def load() -> dict[str, Any]:
    """The results that are committed."""
    found: dict[str, Any] = json.loads(LATEST.read_text())
    return found


def save_baseline(found: dict[str, Any]) -> None:
    """Keep the ratios for the guard."""
    kept = {"date": found["date"], "form": found["form"], "ratios": found["guard"]["now"]}
    BASELINE.write_text(json.dumps(kept, indent=1) + "\n")


def show(found: dict[str, Any]) -> None:
    """The figures and the goals, for people."""
    width = max((len(name) for name in found["figures"]), default=0)
    for name, value in found["figures"].items():
        print(f"{name:{width}}  {value:g}")
    print()
    measured = [goal for goal in targets.TARGETS if {goal.figure, f"{goal.figure}_compiled"} & found["figures"].keys()]
    for line in targets.table(found["figures"], measured):
        print(line)
    print()
    for name, text in found["guard"]["slower"].items():
        print(f"slower than the baseline: {name}: {text}")
    for name, text in found["failed"].items():
        print(f"failed: {name}: {text}")
    for name in found["leftOut"]:
        print(f"left out, the time was over: {name}")
    print(f"{found['form']} form, {found['seconds']} s; all of it in {DRAFT.relative_to(ROOT)}")


__all__ = ["BASELINE", "LATEST", "collect", "guard", "keep", "kept", "load", "save", "save_baseline", "show"]
