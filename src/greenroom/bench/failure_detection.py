"""How soon watchers learn that a participant is gone (promise 4), and whether one is taken for gone who is not."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from greenroom.bench.client import BenchClient, Target, close_many, open_many
from greenroom.bench.figures import Measurement, Stopwatch
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import WireConnection


async def detect_failures(
    target: Target, *, each: int, bystanders: int, limit: float = 80.0, first: int = 0
) -> Measurement:
    """``each`` devices go silent without a word, as many lose their connection, ``bystanders`` stay.

    An operation is a participant whose end was reported. ``more`` has the longest times, in seconds, and false leaves:
    bystanders of whom a watcher received anything but online. limit: seconds after which a missing one is an error.
    """
    errors: Counter[str] = Counter()
    groups = {
        "vanished": range(first, first + each),
        "reset": range(first + each, first + 2 * each),
        "stayed": range(first + 2 * each, first + 2 * each + bystanders),
    }
    everybody = [number for numbers in groups.values() for number in numbers]
    devices = {device.number: device for device in await open_many(target, everybody, errors=errors)}
    for device in devices.values():
        await device.ask(target.dialect.echo())  # as the SDK does: it confirms the open (S6)
    received: dict[tuple[str, str], float] = {}
    gone = [target.external_ids[number] for name in ("vanished", "reset") for number in groups[name]]
    waiting = set(gone)
    all_received = asyncio.Event()

    def notice(_device: BenchClient, message: bytes) -> None:
        now = time.perf_counter()
        for one in msgspec.json.decode(message)["params"].get("participants", ()):
            received.setdefault((one["externalId"], one["presence"]), now)
            if one["presence"] == "offline":
                waiting.discard(one["externalId"])
        if not waiting:
            all_received.set()

    (watcher,) = await open_many(target, [everybody[-1] + 1], on_notice=notice, errors=errors)
    ids = [target.external_ids[number] for number in everybody]
    for start in range(0, len(ids), 100):
        await watcher.ask(target.dialect.watch(ids[start : start + 100]))
    stopwatch = Stopwatch()
    target.watcher.stage("failure-detection", 2 * each)
    target.begin()
    stopwatch.start()
    at = time.perf_counter()
    for number in groups["vanished"]:
        _connection(devices[number]).deaf = True
    for number in groups["reset"]:
        _connection(devices[number]).abort()
    try:
        await asyncio.wait_for(all_received.wait(), limit)
    except TimeoutError:
        errors["no end was received"] = len(waiting)
    stopwatch.stop()
    target.end()
    latencies = [received[one, "offline"] - at for one in gone if (one, "offline") in received]
    found = finding("failure-detection", {"each": each, "bystanders": bystanders}, latencies, stopwatch, errors)
    for name in ("vanished", "reset"):
        for presence in ("unreachable", "offline"):
            found.more[f"{name}_{presence}_s"] = _longest(target, groups[name], received, presence, at)
    stayed = {target.external_ids[number] for number in groups["stayed"]}
    found.more["falseLeaves"] = len({one for one, presence in received if one in stayed and presence != "online"})
    await close_many([watcher, *devices.values()])
    return found


def _connection(device: BenchClient) -> WireConnection:
    assert device.connection is not None
    return device.connection


def _longest(
    target: Target, numbers: Sequence[int], received: dict[tuple[str, str], float], presence: str, at: float
) -> float:
    times = [received.get((target.external_ids[number], presence), 0.0) - at for number in numbers]
    return round(max(times, default=0.0), 2)
