"""Rooms under load: joins and leaves one after another, opens beside rooms, and memberships that stay."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import Any

from greenroom.bench.client import Target, close_many, in_flight, open_many
from greenroom.bench.figures import Measurement, Stopwatch
from greenroom.bench.scenarios import finding, storm

GATHERED = 0.25
"""Seconds after which what was done last has reached everybody: changes are gathered for 0.1 s."""


async def join_and_leave(
    target: Target, *, count: int, rooms: int, sessions: int = 250, width: int = 64, first: int = 0
) -> Measurement:
    """Join a room and leave it, ``count`` times, ``width`` in flight, by ``sessions`` that take turns.

    rooms: in each of which one member stays, who is notified; 0: everybody has a room of their own, which is opened by
    the join and ends with the leave. An operation is a join and a leave, the latency that of the join's answer.
    """
    errors: Counter[str] = Counter()
    there = await open_many(target, range(first, first + rooms), errors=errors)
    for number, device in enumerate(there):
        await device.ask(target.dialect.join(f"bench-{number}"))
    free = deque(await open_many(target, range(first + rooms, first + rooms + sessions), errors=errors))
    latencies: list[float] = []

    async def one(number: int) -> None:
        device = free.popleft()
        room = f"bench-{number % rooms}" if rooms else f"own-{device.number}"
        at = time.perf_counter()
        try:
            await device.ask(target.dialect.join(room))
            latencies.append(time.perf_counter() - at)
            await device.ask(target.dialect.leave(room))
        finally:
            free.append(device)

    stopwatch = Stopwatch()
    target.watcher.stage("joins", count)
    target.begin()
    stopwatch.start()
    timeline = await in_flight(target, range(count), min(width, len(free)), one, errors)
    stopwatch.stop()
    await asyncio.sleep(GATHERED)
    target.end()
    await close_many([*there, *free])
    return finding("rooms", {"rooms": rooms, "inFlight": width}, latencies, stopwatch, errors, timeline)


async def opens_beside(target: Target, *, present: int, in_rooms: bool, count: int, first: int = 0) -> Measurement:
    """Opens and closes while ``present`` other sessions are there, in rooms of four or in none."""
    errors: Counter[str] = Counter()
    devices = await open_many(target, range(first, first + present), errors=errors)
    if in_rooms:
        for number, device in enumerate(devices):
            await device.ask(target.dialect.join(f"beside-{number // 4}"))
        await asyncio.sleep(GATHERED)
    found = await storm(target, count=count, width=64, first=first + present)
    found.parameters |= {"present": len(devices), "inRooms": in_rooms}
    found.errors |= errors
    await close_many(devices)
    return found


async def memberships(target: Target, *, sessions: int, rooms_each: int, members: int, first: int = 0) -> Measurement:
    """``sessions`` join ``rooms_each`` rooms of ``members``, and stay for a look at memory. An operation is one
    membership; begin is called when all sessions are open."""
    errors: Counter[str] = Counter()
    devices = await open_many(target, range(first, first + sessions), errors=errors)
    await asyncio.sleep(1.0)
    by_number = {device.number: device for device in devices}
    latencies: list[float] = []

    async def join(number: int) -> None:
        for turn in range(rooms_each):
            at = time.perf_counter()
            room = f"memory-{turn}-{(number - first) % max(1, sessions // members)}"
            await by_number[number].ask(target.dialect.join(room))
            latencies.append(time.perf_counter() - at)

    stopwatch = Stopwatch()
    target.begin()
    stopwatch.start()
    await in_flight(target, list(by_number), 64, join, errors)
    stopwatch.stop()
    await asyncio.sleep(1.0)
    target.end()
    await close_many(devices)
    parameters: dict[str, Any] = {"sessions": sessions, "roomsEach": rooms_each, "members": members}
    return finding("memberships", parameters, latencies, stopwatch, errors)
