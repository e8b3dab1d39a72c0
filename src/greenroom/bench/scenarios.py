"""Storms, echo and idle sessions. Each scenario returns a Measurement; what it measures lies between begin and end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from greenroom.bench.client import BenchClient, Target, close_many, in_flight, open_many
from greenroom.bench.figures import Latencies, Measurement, Stopwatch


async def storm(target: Target, *, count: int, width: int, first: int = 0, warm: int = 0) -> Measurement:
    """Open and close, ``count`` times, ``width`` in flight. The latency is that of connect, hello and its answer.

    warm: opens before, which do not count; they take the tokens after those of the others.
    """
    latencies: list[float] = []

    async def one(number: int) -> None:
        at = time.perf_counter()
        device = BenchClient(target, number)
        await device.open()
        latencies.append(time.perf_counter() - at)
        await device.close()

    await in_flight(target, range(first + count, first + count + warm), width, one, Counter())
    latencies.clear()
    return await _measured(target, "storm", one, range(first, first + count), width, latencies)


async def _measured(
    target: Target, name: str, one: object, numbers: Sequence[int], width: int, latencies: list[float]
) -> Measurement:
    errors: Counter[str] = Counter()
    watch = Stopwatch()
    target.watcher.stage(name, len(numbers))
    target.begin()
    watch.start()
    timeline = await in_flight(target, numbers, width, one, errors)  # type: ignore[arg-type]
    watch.stop()
    await asyncio.sleep(0.1)  # what the last closes leave to the server is its work too
    target.end()
    return finding(name, {"inFlight": width}, latencies, watch, errors, timeline)


def finding(
    name: str,
    parameters: dict[str, object],
    latencies: Sequence[float],
    watch: Stopwatch,
    errors: Counter[str],
    timeline: list[tuple[float, int]] | None = None,
) -> Measurement:
    """A Measurement of what was timed."""
    histogram = Latencies()
    for one in latencies:
        histogram.add(one)
    return Measurement(
        scenario=name,
        parameters={"count": len(latencies), **parameters},
        operations=len(latencies),
        seconds=watch.seconds,
        rate=len(latencies) / watch.seconds,
        latency=histogram.summary(),
        curve=histogram.curve(),
        errors=dict(errors),
        generator_share=round(watch.share, 3),
        timeline=timeline or [],
    )


async def echo(target: Target, *, connections: int, count: int, first: int = 0, pause: float = 0.0) -> Measurement:
    """The smallest request and its answer, one under way on each connection. pause: seconds between two of one."""
    errors: Counter[str] = Counter()
    devices = await open_many(target, range(first, first + connections), errors=errors)
    message = target.dialect.echo()
    latencies: list[float] = []
    each = max(1, count // max(1, len(devices)))

    async def one(device: BenchClient) -> None:
        for _ in range(each):
            at = time.perf_counter()
            await device.ask(message)
            latencies.append(time.perf_counter() - at)
            if pause:
                target.watcher.done(1, latencies[-1])
                await asyncio.sleep(pause)

    watch = Stopwatch()
    target.watcher.stage("echo", each * len(devices))
    target.begin()
    watch.start()
    results = await asyncio.gather(*(one(device) for device in devices), return_exceptions=True)
    watch.stop()
    target.end()
    for result in results:
        if isinstance(result, BaseException):
            errors[f"{type(result).__name__}: {str(result)[:120]}"] += 1
    await close_many(devices)
    return finding("echo", {"connections": connections}, latencies, watch, errors)


async def idle(target: Target, *, count: int, seconds: float, width: int = 64, first: int = 0) -> Measurement:
    """Open ``count`` sessions and leave them alone for some seconds; heartbeats are answered.

    begin is called before the first open, end when the time is over, so that a look at memory in both shows what the
    sessions take. The figures are of the opens; `more` has the pings that came in the quiet time.
    """
    errors: Counter[str] = Counter()
    latencies: list[float] = []
    devices: list[BenchClient] = []

    async def one(number: int) -> None:
        at = time.perf_counter()
        device = BenchClient(target, number)
        await device.open()
        latencies.append(time.perf_counter() - at)
        devices.append(device)

    watch = Stopwatch()
    target.watcher.stage("idle: open", count)
    target.begin()
    watch.start()
    timeline = await in_flight(target, range(first, first + count), width, one, errors)
    watch.stop()
    target.watcher.stage("idle: wait", int(seconds))
    before = _pings(devices)
    for _ in range(int(seconds)):
        await asyncio.sleep(1)
        target.watcher.done(1)
    await asyncio.sleep(seconds - int(seconds))
    target.end()
    found = finding("idle", {"seconds": seconds}, latencies, watch, errors, timeline)
    found.more["heartbeats"] = _pings(devices) - before
    found.more["lost"] = sum(1 for one_ in devices if one_.connection is None or one_.connection.lost.done())
    await close_many(devices)
    return found


async def heartbeats(target: Target, *, count: int, seconds: float, first: int = 0) -> Measurement:
    """``count`` sessions that do nothing but answer heartbeats: the operations. begin is called after the opens."""
    errors: Counter[str] = Counter()
    devices = await open_many(target, range(first, first + count), errors=errors)
    await asyncio.sleep(1.0)
    watch = Stopwatch()
    target.watcher.stage("heartbeats", int(seconds))
    before = _pings(devices)
    target.begin()
    watch.start()
    await asyncio.sleep(seconds)
    watch.stop()
    target.end()
    found = finding("heartbeats", {"sessions": len(devices)}, [], watch, errors)
    found.operations = _pings(devices) - before
    found.rate = found.operations / watch.seconds
    found.more["lost"] = sum(1 for one in devices if one.connection is None or one.connection.lost.done())
    await close_many(devices)
    return found


def _pings(devices: Sequence[BenchClient]) -> int:
    return sum(device.connection.pings for device in devices if device.connection is not None)
