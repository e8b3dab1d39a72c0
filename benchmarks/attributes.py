"""What attributes and a status cost who uses them, and who does not: CPU of an open, memory of an idle session.

Three services take turns, and ratios are taken within a lap: the sources of the commit before participants had either
(`before`), these sources with plain opens (`greenroom`), and these with four attributes and a status in each open
(`using`). The first two must lie within 2 % of one another; whatever else has changed since counts too.
"""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import runs
from benchmarks.process import ROOT
from benchmarks.runs import measure
from benchmarks.servers import GREENROOM, RunningServer, running
from benchmarks.world import World
from greenroom.bench.dialect import GreenroomDialect
from greenroom.bench.scenarios import idle, storm

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

COMMIT = "e8752ad869a0a144c01c42c1bcb6a0c7121bb3d9"
"""The first one with attributes and statuses, in the engines; what is measured is the one before it."""
BEFORE, USING = "before", "using"
SEED = 15
_PROFILE = (
    b'"status":"in surgery","participant":{"attributes":'
    b'{"role":"nurse","team":"red","colour":"#aa3311","language":"sv"}},"token"'
)


class AttributesDialect(GreenroomDialect):
    """Each session is opened with attributes and a status."""

    def hello(self, token: str, number: int) -> bytes:
        return super().hello(token, number).replace(b'"token"', _PROFILE, 1)


def job(bench: Bench) -> None:
    """Laps of opens, then sessions that do nothing, each in a fresh service."""
    form = bench.form
    sources = _sources(bench.folder / BEFORE)
    # A data directory of the older one: the newer one brings it up as it starts.
    world = World(bench.folder / "attributes", form.warm + max(form.laps * form.opens, form.peer_idle), env=sources)
    world.prepare()
    starts: dict[str, Callable[[], AbstractContextManager[RunningServer]]] = {
        BEFORE: partial(running, world, GREENROOM, env=sources),
        GREENROOM: partial(running, world, GREENROOM),
        USING: partial(_using, world),
    }
    chance = random.Random(SEED)
    with ExitStack() as stack:
        there = [(name, stack.enter_context(start())) for name, start in starts.items()]
        for number in range(-1, form.laps):
            chance.shuffle(there)
            first, count = (0, form.warm) if number < 0 else (form.warm + number * form.opens, form.opens)
            opens = partial(storm, count=count, width=64, first=first)
            for name, subject in there:
                one = measure("attributes-open", name, number, subject, opens)
                if number >= 0:
                    bench.runs.append(one)
    for number in range(form.rounds):
        for name, start in starts.items():
            with start() as subject:
                scenario = partial(idle, count=form.peer_idle, seconds=1)
                bench.runs.append(measure("attributes-idle", name, number, subject, scenario))
    _tell(bench)


def _tell(bench: Bench) -> None:
    for name, over in ((GREENROOM, BEFORE), (USING, GREENROOM)):
        cpu = runs.ratio(bench.runs, "attributes-open", name, over)
        kib = {one: _kib(bench, one) for one in (name, over)}
        memory = kib[name] / kib[over]
        bench.extra[f"attributes_{name}_over_{over}"] = {"cpu": round(cpu, 4), "memory": round(memory, 4)}
        bench.say(f"  {name} over {over}: CPU of an open {cpu:.3f}, memory {memory:.3f} ({kib[name]:.2f} KiB)")


def _kib(bench: Bench, name: str) -> float:
    return runs.median(run.kib_each for run in runs.of(bench.runs, "attributes-idle", name))


@contextmanager
def _using(world: World) -> Iterator[RunningServer]:
    with running(world, GREENROOM) as subject:
        yield replace(subject, target=world.target(subject.server, AttributesDialect(), world.tokens))


def _sources(folder: Path) -> dict[str, str]:
    """The environment of a service that runs the sources of the commit before."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", f"{COMMIT}^", "src"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as found:
        found.extractall(folder, filter="data")
    return {"PYTHONPATH": str(folder / "src")}


__all__ = ["job"]
