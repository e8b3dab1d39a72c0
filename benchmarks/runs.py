"""One scenario against one server, measured from outside; and what several of the same add up to."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

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
    server_share: float = 0.0
    """CPU of the server in the measured time, of one core."""

    @property
    def kib_each(self) -> float:
        """KiB that one operation left behind."""
        return (self.memory_after - self.memory_before) / 1024 / max(1, self.finding.operations)


Scenario = Callable[[Target], Awaitable[Measurement]]


def measure(job: str, name: str, number: int, subject: RunningServer, scenario: Scenario) -> Run:
    """Run it, with the server's CPU and memory looked at where the scenario begins and ends."""
    server, target, store = subject.server, subject.target, subject.store
    cpu: list[float] = []
    stored: list[float] = []
    memory: list[int] = []

    def look() -> None:
        memory.append(server.memory())
        cpu.append(server.cpu() + sum(other.cpu() for other in subject.others))
        stored.append(store.cpu() if store is not None else 0.0)

    target.begin = target.end = look

    async def go() -> Measurement:
        return await scenario(target)

    finding = uvloop.run(go())
    used = cpu[-1] - cpu[0]
    each = 1e6 / max(1, finding.operations)
    return Run(
        job=job,
        subject=name,
        round=number,
        finding=finding,
        cpu_us=round(used * each, 2),
        store_cpu_us=round((stored[-1] - stored[0]) * each, 2),
        memory_before=memory[0],
        memory_after=memory[-1],
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


__all__ = ["Run", "Scenario", "as_data", "cpu", "key_of", "measure", "median", "of", "ratio", "total"]
