"""Many servers, all up at the same time, that take turns in random order: what an open costs each of them.

A lap gives every server the same number of opens. Ratios are taken within a lap, so that what the machine does besides
falls on all alike, and no server always follows the same one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from benchmarks.peers.install import CENTRIFUGO
from benchmarks.runs import measure, total
from benchmarks.servers import EDDSA, FLOORS, GREENROOM, HS256, RunningServer, cluster, running
from benchmarks.world import World
from greenroom.bench.scenarios import storm

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

SEED = 13
MINTED = "-minted"
"""Ends the name of a job whose tokens the measured service made itself, just before the lap."""


class Entry(msgspec.Struct, frozen=True):
    """One server in the laps. start: makes it; minted: whether it mints the tokens of each lap itself."""

    job: str
    subject: str
    start: Callable[[World], AbstractContextManager[RunningServer]]
    minted: bool = False


def _entry(alg: str, name: str, *, minted: bool = False, width: int = 64) -> Entry:
    job = f"open-{width}-{alg}{MINTED if minted else ''}"
    return Entry(job, name, partial(running, name=name, alg=alg), minted)


def _on_redis(world: World, nodes: int, name: str, tokens: int) -> AbstractContextManager[RunningServer]:
    return cluster(world, nodes, tokens, name=name, alg=HS256)


def entries(bench: Bench) -> list[Entry]:
    """All that take part with 64 opens in flight."""
    ours = bench.ours
    found = [
        _entry(alg, name, minted=minted)
        for alg in (EDDSA, HS256)
        for name, minted in (
            *((name, False) for name in FLOORS),
            *((name, minted) for minted in (False, True) for name in ours),
            *((name, False) for name in bench.form.peers if name != CENTRIFUGO or alg == HS256),
        )
    ]
    for nodes in bench.form.redis_nodes:
        for name in ours if nodes == 1 else [GREENROOM]:
            start = partial(_on_redis, nodes=nodes, name=name, tokens=bench.form.lap_tokens)
            found.append(Entry(f"redis-{nodes}", name, start))
    return found


def job(bench: Bench) -> None:
    """64 in flight, all servers."""
    run(bench, entries(bench), laps=bench.form.laps, count=bench.form.opens, width=64)


def wide(bench: Bench) -> None:
    """256 in flight, where a service is loaded more than it can take."""
    found = [_entry(EDDSA, name, width=256) for name in ("floor", *bench.ours)]
    run(bench, found, laps=bench.form.wide_laps, count=2 * bench.form.opens, width=256)


def single(bench: Bench) -> None:
    """One in flight: nothing is batched."""
    found = [_entry(EDDSA, name, width=1) for name in ("floor", *bench.ours)]
    run(bench, found, laps=bench.form.wide_laps, count=bench.form.opens // 4, width=1)


def run(bench: Bench, found: Sequence[Entry], *, laps: int, count: int, width: int) -> None:
    """The laps. What does not start is left out, and its reason kept."""
    chance = random.Random(SEED)
    with ExitStack() as stack:
        there: list[tuple[Entry, RunningServer]] = []
        for entry in found:
            try:
                there.append((entry, stack.enter_context(entry.start(bench.world))))
            except Exception as error:
                bench.note(f"{entry.job} {entry.subject}", error)
        bench.say(f"  {len(there)} servers are up; {laps} laps of {count:,} opens, {width} in flight, seed {SEED}")
        for number in range(-1, laps):
            chance.shuffle(there)
            numbers = _numbers(number, count, bench)
            for entry, subject in there:
                if entry.minted:
                    subject.mint(numbers)
                scenario = partial(storm, count=len(numbers), width=width, first=numbers.start)
                one = measure(entry.job, entry.subject, number, subject, scenario)
                if number > 0:
                    one.finding.timeline, one.finding.curve = [], []  # plots show those of the first
                if number >= 0:  # the lap before it warms up: interpreters and JITs get going
                    bench.runs.append(one)
                if one.finding.errors:
                    bench.say(f"  {entry.job} {entry.subject}: errors {one.finding.errors}")
            bench.say(f"  lap {number + 1} of {laps}" if number >= 0 else "  warm")
    for entry in found:
        costs = sorted(total(one) for one in bench.runs if (one.job, one.subject) == (entry.job, entry.subject))
        if costs:
            middle = costs[len(costs) // 2]
            bench.say(f"  {entry.job:20} {entry.subject:20} {middle:8.1f} µs CPU each, stores included")


def _numbers(lap: int, count: int, bench: Bench) -> range:
    """The participants of a lap: others in each, as long as there are so many, and those of the warm lap first."""
    warm = bench.form.warm
    if lap < 0:
        return range(warm)
    space = max(1, (bench.form.lap_tokens - warm) // count)
    first = warm + lap % space * count
    return range(first, first + count)


__all__ = ["MINTED", "SEED", "Entry", "entries", "job", "run", "single", "wide"]
