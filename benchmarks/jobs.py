"""The jobs of a bench: which scenario runs against which servers, how often, in what order.

Servers take turns within a round, so that what else the machine does hits all alike; ratios are taken within rounds.
"""

from __future__ import annotations

import datetime
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import abuse, attributes, environment, flame, laps, noisy_neighbour, outage
from benchmarks.machine import load_average
from benchmarks.peers.install import CENTRIFUGO, KINDS
from benchmarks.probe import probing
from benchmarks.process import ROOT
from benchmarks.rooms import crowd as room_crowd
from benchmarks.rooms import functions as room_functions
from benchmarks.rooms import laps as room_laps
from benchmarks.rooms import memory as room_memory
from benchmarks.runs import Parts, Run, Scenario, measure, measure_parts
from benchmarks.servers import COMPILED, EDDSA, GREENROOM, HS256, RunningServer, running
from benchmarks.world import World
from greenroom.bench.churn import churn
from greenroom.bench.client import Target, close_many, open_many
from greenroom.bench.failure_detection import detect_failures
from greenroom.bench.fanout import fanout
from greenroom.bench.figures import Measurement
from greenroom.bench.reconnect import reconnect
from greenroom.bench.scenarios import echo, heartbeats, idle, storm

_FEW_ROUNDS = 3
"""Of what takes long: an odd number, so that a median is a run's."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done."""

    name: str
    rounds: int
    laps: int
    wide_laps: int
    """Of 256 in flight, and of one."""
    opens: int
    """Of each server in a lap."""
    warm: int
    """Opens before the measured ones: interpreters and JITs get going."""
    idle: tuple[int, ...]
    idle_seconds: float
    echoes: int
    watchers: int
    updates: int
    herd: int
    present: tuple[int, ...]
    churn_seconds: float
    tokens: int
    lap_tokens: int
    """Participants that laps take turns with; so many have a token of each algorithm."""
    peers: tuple[str, ...]
    peer_idle: int
    peer_watchers: int
    redis_nodes: tuple[int, ...]
    joins: int
    """Of each server in a lap, and leaves."""
    room_laps: int
    members: int
    """Of a detailed room."""
    counted: int
    """Of a counted one."""
    room_churn: float
    """Seconds for which members go and come back."""
    without: tuple[str, ...] = ()
    """Jobs that only `--only` runs."""
    compiles: bool
    """Whether the compiled service is built where it is not; else it takes part only where it is there already."""
    limit: float
    """Seconds after which no further job is begun; what was left out is said."""


QUICK = Form(
    name="quick", rounds=2, laps=3, wide_laps=2, opens=600, warm=200, idle=(10_000,), idle_seconds=1, echoes=20_000,
    watchers=1_000, updates=5, herd=2_000, present=(), churn_seconds=4, tokens=10_210, lap_tokens=2_000,
    peers=(CENTRIFUGO,), peer_idle=1_000, peer_watchers=500, redis_nodes=(1,), joins=300, room_laps=2, members=200,
    counted=500, room_churn=2, compiles=False, limit=120,
    without=("profile", "peers", "present", "heartbeat", "stall", "failure-detection", "neighbours", "outage", "abuse",
        "attributes", "rooms", "rooms-crowd", "rooms-counted", "rooms-memory", "rooms-functions", "rooms-abuse"),
)  # fmt: skip
FULL = Form(
    name="full", rounds=3, laps=9, wide_laps=5, opens=1_000, warm=300, idle=(10_000, 19_000), idle_seconds=16,
    echoes=60_000, watchers=5_000, updates=20, herd=10_000, present=(100, 10_000, 19_000), churn_seconds=20,
    tokens=19_700, lap_tokens=9_300, peers=(*KINDS, CENTRIFUGO), peer_idle=5_000, peer_watchers=2_000,
    redis_nodes=(1, 2, 3), joins=500, room_laps=5, members=1_000, counted=10_000, room_churn=4, compiles=True,
    limit=2_300,
)  # fmt: skip


class Done(msgspec.Struct, kw_only=True):
    """A job that was run. runs, failed, extra: which of the bench's are its own, by name."""

    date: str
    seconds: int
    load_before: str
    """Of the last minute, 5 and 15 minutes."""
    load_after: str
    runs: list[str] = []
    failed: list[str] = []
    extra: list[str] = []
    kept: bool = False
    """Whether it was run on its own and put beside the jobs of an earlier run."""
    machine: dict[str, str] = {}
    """Of one that was: what is another than at the whole run."""
    figures: list[str] = []
    """Of one that was: the figures that come from its runs, in part at least."""


def now() -> str:
    """As results say it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


class Bench:
    """One bench: the world, and the runs so far."""

    def __init__(self, form: Form, folder: Path) -> None:
        self.form = form
        self.folder = folder
        self.world = World(folder, form.tokens, hs256=form.lap_tokens)
        self.runs: list[Run] = []
        self.extra: dict[str, Any] = {}
        """What is no run: the time of an import, counts of instructions."""
        self.failed: dict[str, str] = {}
        self.left_out: list[str] = []
        self.done: dict[str, Done] = {}
        self.ours: list[str] = [GREENROOM]
        """Of our servers, those there are here: the compiled one only where a compiler is."""
        self._started = time.monotonic()

    def run(self, only: list[str] | None = None) -> None:
        """All jobs, or those named."""
        chosen = environment.chosen()
        self.say(f"servers run on CPython {chosen.version} ({chosen.path}): {chosen.build}")
        if environment.compiled_python(build=self.form.compiles) is not None:
            self.ours.append(COMPILED)
        self.say(f"{self.form.name} form: minting {self.form.tokens:,} tokens")
        self.world.prepare()
        for name, job in JOBS.items():
            if name not in only if only is not None else name in self.form.without:
                continue
            if only is None and time.monotonic() - self._started > self.form.limit:
                self.left_out.append(name)
                continue
            self.say(name)
            before, began = load_average(), time.monotonic()
            runs, failed, extra = len(self.runs), set(self.failed), set(self.extra)
            try:
                job(self)
            except Exception as error:
                self.note(name, error)
            self.done[name] = Done(
                date=now(),
                seconds=round(time.monotonic() - began),
                load_before=before,
                load_after=load_average(),
                runs=sorted({run.job for run in self.runs[runs:]}),
                failed=sorted(set(self.failed) - failed),
                extra=sorted(set(self.extra) - extra),
            )

    def note(self, what: str, error: Exception) -> None:
        """Keep that something failed: the bench continues, and says so at its end."""
        self.failed[what] = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        self.say(f"  failed: {what}: {self.failed[what]}")

    def storm(self, width: int) -> Scenario:
        """The scenario of opens in a fresh server, with its warming up."""
        return partial(storm, count=2 * self.form.opens, width=width, warm=self.form.warm)

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", flush=True)

    def stop(self) -> None:
        """Nothing is left running: servers are stopped by their jobs."""

    def once(
        self,
        job: str,
        name: str,
        number: int,
        scenario: Scenario,
        *,
        alg: str = EDDSA,
        env: dict[str, str] | None = None,
    ) -> Run:
        """One run against a fresh server."""
        with running(self.world, name, alg, env) as subject:
            return self.against(subject, job, name, number, scenario)

    def against(
        self, subject: RunningServer, job: str, name: str, number: int, scenario: Scenario, *, probe: bool = False
    ) -> Run:
        """One run against a server that is there. probe: look at stalls of its loop meanwhile."""
        stall: dict[str, Any] = {}
        with probing(subject, self.form.tokens - 1, stall) if probe else nullcontext():
            found = measure(job, name, number, subject, scenario)
        if probe:
            found.finding.more["stall"] = stall
        self.keep(found)
        return found

    def in_parts(self, subject: RunningServer, job: str, name: str, number: int, scenario: Parts) -> None:
        """A scenario in several parts against a server that is there."""
        measure_parts(job, name, number, subject, scenario, self.keep)

    def keep(self, found: Run) -> None:
        """One more run."""
        self.runs.append(found)
        finding = found.finding
        last = finding.latency.get("p99", 0.0)
        self.say(
            f"  {found.job:22} {found.subject:18} {found.cpu_us:9.1f} µs CPU each, {finding.rate:9,.0f}/s, "
            f"p99 {last:8.1f} ms, generator {finding.generator_share:.0%}"
            + (f", store {found.store_cpu_us:.0f} µs" if found.store_cpu_us else "")
            + (f", errors {finding.errors}" if finding.errors else "")
        )


def _echo(bench: Bench) -> None:
    for number in range(bench.form.rounds):
        for subject in ("floor", *bench.ours):
            bench.once("echo", subject, number, partial(echo, connections=64, count=bench.form.echoes))


def _idle(bench: Bench) -> None:
    for count in bench.form.idle:
        for subject in ("floor", *bench.ours):
            found = bench.once(f"idle-{count}", subject, 0, partial(idle, count=count, seconds=bench.form.idle_seconds))
            bench.say(f"  {subject:10} {found.kib_each:.1f} KiB each")


def _fanout(bench: Bench) -> None:
    for number in range(_FEW_ROUNDS):
        for subject in ("floor", *bench.ours):
            bench.once(
                "fanout", subject, number, partial(fanout, watchers=bench.form.watchers, updates=bench.form.updates)
            )


def _herd(bench: Bench) -> None:
    """All clients lose their connections at once, beside one more that pings every 10 ms."""
    for name in bench.ours:
        with running(bench.world, name) as subject:
            found = bench.against(subject, "herd", name, 0, partial(reconnect, count=bench.form.herd), probe=True)
        bench.say(f"  {found.finding.more}")


def _churn(bench: Bench) -> None:
    bench.once(
        "churn",
        "greenroom",
        0,
        partial(churn, watchers=200, crowd=200, per_second=200.0, seconds=bench.form.churn_seconds),
    )


def _peers(bench: Bench) -> None:
    """The same work on other stacks: memory, fan-out, and the smallest request. Opens are in the laps."""
    form = bench.form
    scenarios: dict[str, Scenario] = {
        "peers-idle": partial(idle, count=form.peer_idle, seconds=1),
        "peers-fanout": partial(fanout, watchers=form.peer_watchers, updates=form.updates),
        "peers-echo": partial(echo, connections=64, count=form.echoes // 3),
    }
    for job, scenario in scenarios.items():
        for name in (*bench.ours, *form.peers):
            if (job, name) == ("peers-echo", CENTRIFUGO):
                continue  # its protocol has no such request
            try:
                bench.once(job, name, 0, scenario, alg=HS256)
            except Exception as error:
                bench.note(f"{job} {name}", error)


async def _opens_beside(target: Target, *, present: int, count: int) -> Measurement:
    """Opens and closes while so many sessions are there and stay."""
    errors: Counter[str] = Counter()
    devices = await open_many(target, range(present), errors=errors)
    found = await storm(target, count=count, width=64, first=present, warm=100)
    found.parameters["present"] = len(devices)
    await close_many(devices)
    return found


def _present(bench: Bench) -> None:
    """What an open costs with few and with many sessions present."""
    for number in range(2):
        for present in bench.form.present:
            count = min(2_000, bench.form.tokens - 101 - present)
            bench.once(f"present-{present}", "greenroom", number, partial(_opens_beside, present=present, count=count))


def _heartbeat(bench: Bench) -> None:
    """Heartbeats every 2 s instead of 15, so that there are enough of them to be seen; nothing else happens."""
    env = {"GREENROOM_PING_INTERVAL": "2", "GREENROOM_PONG_TIMEOUT": "1.9"}
    with running(bench.world, "greenroom", env=env) as subject:
        found = bench.against(subject, "heartbeat", "greenroom", 0, partial(heartbeats, count=5_000, seconds=16.0))
    bench.say(f"  {found.cpu_us:.1f} µs each, {found.finding.operations:,} of them, {found.finding.more}")


def _failure_detection(bench: Bench) -> None:
    """Detection and false leaves, with the default timers."""
    found = bench.once("failure-detection", "greenroom", 0, partial(detect_failures, each=50, bystanders=900))
    bench.say(f"  {found.finding.more}")


def _stall(bench: Bench) -> None:
    """The worst scenarios but the herd, beside one more client that pings every 10 ms."""
    form = bench.form
    scenarios: dict[str, Scenario] = {
        "storm": bench.storm(256),
        "fanout": partial(fanout, watchers=form.watchers, updates=form.updates),
    }
    for name, scenario in scenarios.items():
        with running(bench.world, "greenroom") as subject:
            found = bench.against(subject, f"stall-{name}", "greenroom", 0, scenario, probe=True)
        bench.say(f"  {found.finding.more['stall']}")


def _import(bench: Bench) -> None:
    """Milliseconds of `import greenroom` in a new interpreter, beyond the interpreter's own start."""
    code = "import time; t = time.perf_counter(); import greenroom; print(time.perf_counter() - t)"
    times = [
        float(
            subprocess.run(
                [str(environment.python()), "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
            ).stdout
        )
        for _ in range(7)
    ]
    bench.extra["import_ms"] = round(statistics.median(times) * 1000, 1)
    bench.say(f"  {bench.extra['import_ms']} ms")


JOBS: dict[str, Callable[[Bench], None]] = {
    "import": _import,
    "opens": laps.job,
    "open-256": laps.wide,
    "open-1": laps.single,
    "profile": flame.job,
    "idle": _idle,
    "fanout": _fanout,
    "herd": _herd,
    "echo": _echo,
    "churn": _churn,
    "peers": _peers,
    "present": _present,
    "heartbeat": _heartbeat,
    "stall": _stall,
    "failure-detection": _failure_detection,
    "neighbours": noisy_neighbour.job,
    "outage": outage.job,
    "abuse": abuse.job,
    "attributes": attributes.job,
    "rooms": room_laps.job,
    "rooms-crowd": room_crowd.detailed,
    "rooms-counted": room_crowd.counted,
    "rooms-memory": room_memory.job,
    "rooms-functions": room_functions.job,
    "rooms-abuse": abuse.rooms,
}


__all__ = ["FULL", "JOBS", "QUICK", "Bench", "Form"]
