"""One participant changes, many watch."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from greenroom.bench.client import BenchClient, Target, close_many, in_flight, open_many
from greenroom.bench.figures import Latencies, Measurement, Stopwatch
from greenroom.bench.scenarios import finding


async def fanout(target: Target, *, watchers: int, updates: int, first: int = 0, pause: float = 0.0) -> Measurement:
    """One participant changes its name ``updates`` times; ``watchers`` others are notified, one update at a time.

    pause: seconds between two updates.

    An operation is a delivery; its latency runs from sending the update to receiving it. ``more.last`` is of the last
    watcher of each update.
    """
    errors: Counter[str] = Counter()
    received: list[float] = []
    everybody = asyncio.Event()
    name = b""

    def notice(_device: BenchClient, message: bytes) -> None:
        if name and name in message:
            received.append(time.perf_counter())
            if len(received) == expected:
                everybody.set()

    subject = BenchClient(target, first)
    await subject.open()
    devices = await open_many(target, range(first + 1, first + 1 + watchers), on_notice=notice, errors=errors)
    expected = len(devices)
    by_number = {device.number: device for device in devices}
    ids = [target.external_ids[first]]

    async def watch(number: int) -> None:
        await by_number[number].ask(target.dialect.watch(ids))

    await in_flight(target, list(by_number), 64, watch, errors)
    await asyncio.sleep(0.5)
    latencies: list[float] = []
    last = Latencies()
    stopwatch = Stopwatch()
    target.watcher.stage("fan-out", updates)
    target.begin()
    stopwatch.start()
    for number in range(updates):
        received.clear()
        everybody.clear()
        text = f"Anna {number:06d}"
        name = text.encode()
        at = time.perf_counter()
        await subject.ask(target.dialect.rename(text))
        try:
            await asyncio.wait_for(everybody.wait(), 20)
        except TimeoutError:
            errors[f"not received by {expected - len(received)}"] += 1
        latencies += [one - at for one in received]
        if received:
            last.add(max(received) - at)
            target.watcher.done(1, max(received) - at)
        await asyncio.sleep(pause)
    stopwatch.stop()
    target.end()
    await close_many([subject, *devices])
    found = finding("fanout", {"watchers": expected, "updates": updates}, latencies, stopwatch, errors)
    found.more["last"] = last.summary()
    return found
