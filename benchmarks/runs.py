"""One scenario against one server, measured from outside; and what several of the same add up to."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
import uvloop

from benchmarks.servers import RunningServer
from greenroom.bench.client import Target
from greenroom.bench.figures import Measurement


class Run(msgspec.Struct, kw_only=True, rename="camel"):
    """One run. cpu_us: of the server, an operation; store_cpu_us: of its Redis; memory in bytes."""

    job: str
    subject: str
    round: int
    finding: Measurement
    cpu_us: float
    store_cpu_us: float = 0.0
    memory_before: int = 0
    memory_after: int = 0
    store_memory_before: int = 0
    """What its Redis says it uses."""
    store_memory_after: int = 0
    server_share: float = 0.0
    """CPU of the server in the measured time, of one core."""

    @property
    def kib_each(self) -> float:
        """KiB that one operation left behind."""
        return (self.memory_after - self.memory_before) / 1024 / max(1, self.finding.operations)

    @property
    def store_kib_each(self) -> float:
        """The same of its Redis."""
        return (self.store_memory_after - self.store_memory_before) / 1024 / max(1, self.finding.operations)


LONGEST = 240.0
"""Seconds after which a scenario is given up: one that hangs fails, and the next begins."""
Scenario = Callable[[Target], Awaitable[Measurement]]
Parts = Callable[[Target], AsyncGenerator[Measurement, None]]
"""A scenario of several parts, one after the other with the same connections. Each part's name is its own."""


class _Look(NamedTuple):
    """CPU in seconds, memory in bytes."""

    cpu: float = 0.0
    store_cpu: float = 0.0
    memory: int = 0
    store_memory: int = 0


def _looking(subject: RunningServer) -> list[_Look]:
    """Where scenarios begin and end, the server is looked at, and what was seen is in the list."""
    server, target, store = subject.server, subject.target, subject.store
    looks: list[_Look] = []

    def look() -> None:
        memory = server.memory()
        cpu = server.cpu() + sum(other.cpu() for other in subject.others)
        looks.append(_Look(cpu, 0.0, memory) if store is None else _Look(cpu, store.cpu(), memory, store.memory()))

    target.begin = target.end = look
    return looks


def measure(
    job: str, name: str, number: int, subject: RunningServer, scenario: Scenario, longest: float = LONGEST
) -> Run:
    """Run it, with the server's CPU and memory looked at where the scenario begins and ends. Raises TimeoutError after
    `longest` seconds."""
    looks = _looking(subject)

    async def go() -> Measurement:
        async with asyncio.timeout(longest):
            return await scenario(subject.target)

    return _run(job, name, number, uvloop.run(go()), looks)


def measure_parts(
    job: str, name: str, number: int, subject: RunningServer, scenario: Parts, keep: Callable[[Run], None]
) -> None:
    """The same of each part. `keep` gets it as soon as it is measured; its job is called `job` and the part."""
    looks = _looking(subject)

    async def go() -> None:
        async with asyncio.timeout(LONGEST), aclosing(scenario(subject.target)) as parts:
            async for finding in parts:
                keep(_run(f"{job}-{finding.scenario}", name, number, finding, looks))
                looks.clear()

    uvloop.run(go())


def _run(job: str, name: str, number: int, finding: Measurement, looks: Sequence[_Look]) -> Run:
    """looks: none where the part has no use for them."""
    first, last = (looks[0], looks[-1]) if looks else (_Look(), _Look())
    used = last.cpu - first.cpu
    each = 1e6 / max(1, finding.operations)
    return Run(
        job=job,
        subject=name,
        round=number,
        finding=finding,
        cpu_us=round(used * each, 2),
        store_cpu_us=round((last.store_cpu - first.store_cpu) * each, 2),
        memory_before=first.memory,
        memory_after=last.memory,
        store_memory_before=first.store_memory,
        store_memory_after=last.store_memory,
        server_share=round(used / max(1e-9, finding.seconds), 3),
    )


def key_of(name: str) -> str:
    """A job or a server, as names of figures have it."""
    return name.replace("-", "_").replace(".", "_")


def median(values: Iterable[float]) -> float:
    """The median, 0 where there is nothing."""
    found = list(values)
    return statistics.median(found) if found else 0.0


def of(runs: Iterable[Run], job: str, subject: str = "greenroom") -> list[Run]:
    """The runs of one job with one server."""
    return [one for one in runs if one.job == job and one.subject == subject]


def total(run: Run) -> float:
    """CPU µs an operation, the store's counted: ours has the embedded engine in its process."""
    return run.cpu_us + run.store_cpu_us


def cpu(runs: Iterable[Run], job: str, subject: str = "greenroom") -> float:
    """Median CPU µs an operation, the store's counted."""
    return median(total(one) for one in of(runs, job, subject))


def ratio(
    runs: Iterable[Run], job: str, subject: str = "greenroom", over: str = "floor", over_job: str | None = None
) -> float:
    """The median of the ratios within laps or rounds, stores counted; 0 where one of both is missing. over_job: None is
    the same job."""
    known = list(runs)
    below = {one.round: total(one) for one in of(known, over_job or job, over)}
    return median(total(one) / below[one.round] for one in of(known, job, subject) if below.get(one.round))


def as_data(run: Run) -> dict[str, Any]:
    """For the results file."""
    data: dict[str, Any] = msgspec.to_builtins(run)
    return data


def from_data(data: dict[str, Any]) -> Run:
    """From the results file."""
    return msgspec.convert(data, Run)


__all__ = [
    "Parts",
    "Run",
    "Scenario",
    "as_data",
    "cpu",
    "from_data",
    "key_of",
    "measure",
    "measure_parts",
    "median",
    "of",
    "ratio",
    "total",
]
