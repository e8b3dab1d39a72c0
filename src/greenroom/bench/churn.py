"""Participants come and go under the eyes of watchers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from greenroom.bench.client import BenchClient, RequestRefusedError, Target, close_many, open_many
from greenroom.bench.figures import Measurement, Stopwatch
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError


async def churn(
    target: Target, *, watchers: int, crowd: int, per_second: float, seconds: float, first: int = 0
) -> Measurement:
    """``crowd`` participants come and go at a rate of ``per_second``; each of ``watchers`` watches all of them.

    An operation is a session that came or went. ``more.notices`` are the notifications that watchers got, batched as
    the service batches them; the latency is from the answer to an open to the first notice that names the participant.
    """
    errors: Counter[str] = Counter()
    ids = [target.external_ids[number] for number in range(first, first + crowd)]
    received = 0
    waiting: dict[bytes, float] = {}
    latencies: list[float] = []

    def notice(device: BenchClient, message: bytes) -> None:
        nonlocal received
        received += 1
        if device.number == lookout and waiting:
            for external_id in [one for one in waiting if one in message]:
                latencies.append(time.perf_counter() - waiting.pop(external_id))

    lookout = first + crowd
    devices = await open_many(target, range(lookout, lookout + watchers), on_notice=notice, errors=errors)
    for device in devices:
        await device.ask(target.dialect.watch(ids))
    await asyncio.sleep(0.3)
    operations = 0
    stopwatch = Stopwatch()
    target.watcher.stage("churn", int(per_second * seconds))

    async def come_and_go(number: int) -> None:
        nonlocal operations
        device = BenchClient(target, number)
        try:
            await device.open()
            waiting[f'"{target.external_ids[number]}"'.encode()] = time.perf_counter()
            await asyncio.sleep(1.0)
            await device.close()
        except (ConnectFailedError, RequestRefusedError, OSError) as error:
            errors[f"{type(error).__name__}: {str(error)[:120]}"] += 1
        operations += 2
        target.watcher.done(2)

    target.begin()
    stopwatch.start()
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    while (elapsed := stopwatch.elapsed()) < seconds:
        while number < elapsed * per_second / 2:
            tasks.add(asyncio.create_task(come_and_go(first + number % crowd)))
            number += 1
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.3)
    stopwatch.stop()
    target.end()
    found = finding(
        "churn", {"watchers": watchers, "crowd": crowd, "perSecond": per_second}, latencies, stopwatch, errors
    )
    found.operations = operations
    found.rate = operations / stopwatch.seconds
    found.more["notices"] = received
    await close_many(devices)
    return found
