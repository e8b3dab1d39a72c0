"""Fan-out to watchers, herds that come back, and churn of presence."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from greenroom.bench.client import Device, RefusedError, Target, close_many, in_flight, open_many
from greenroom.bench.dialect import hello, resume, secret
from greenroom.bench.figures import Finding, Latencies, Stopwatch
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError
from greenroom.core.backoff import full_jitter
from greenroom.core.client.effects import ClientSettings

_ATTEMPT_LIMIT = ClientSettings().attempt_limit
_HERD_LIMIT = 60.0
"""Seconds after which a herd that is not all back is given up: the grace is 40 s."""


async def fanout(target: Target, *, watchers: int, updates: int, first: int = 0) -> Finding:
    """One participant changes its name ``updates`` times; ``watchers`` others hear of it, one update at a time.

    An operation is a delivery; its latency runs from sending the update to hearing of it. ``more.last`` is of the last
    watcher of each update.
    """
    errors: Counter[str] = Counter()
    heard: list[float] = []
    everybody = asyncio.Event()
    name = b""

    def notice(_device: Device, message: bytes) -> None:
        if name and name in message:
            heard.append(time.perf_counter())
            if len(heard) == expected:
                everybody.set()

    subject = Device(target, first)
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
        heard.clear()
        everybody.clear()
        text = f"Anna {number:06d}"
        name = text.encode()
        at = time.perf_counter()
        await subject.ask(target.dialect.rename(text))
        try:
            await asyncio.wait_for(everybody.wait(), 20)
        except TimeoutError:
            errors[f"not heard by {expected - len(heard)}"] += 1
        latencies += [one - at for one in heard]
        if heard:
            last.add(max(heard) - at)
            target.watcher.done(1, max(heard) - at)
    stopwatch.stop()
    target.end()
    await close_many([subject, *devices])
    found = finding("fanout", {"watchers": expected, "updates": updates}, latencies, stopwatch, errors)
    found.more["last"] = last.summary()
    return found


class _Member(msgspec.Struct):
    """One device of a herd, across its connections."""

    number: int
    session_id: str
    secret: str
    following: str = ""
    """The next secret: the same for every attempt until one is answered, or a lost reply would lock the client out."""
    attempts: int = 0
    admitted_at: float = 0.0
    """When the last attempt's handshake was done."""


async def herd(target: Target, *, count: int, first: int = 0, seed: int = 1) -> Finding:
    """``count`` devices lose their connections in one instant and resume by the SDK's own rules (full jitter).

    An operation is a session that is back; its latency is of the attempt that was let in, from the end of its handshake
    to the answer. ``more.fromDialing`` is the same from the start of its dialing, with the wait to be accepted;
    ``more.allBack`` are the seconds until the last one is back.
    """
    errors: Counter[str] = Counter()
    members, devices = await _assembled(target, range(first, first + count), errors)
    await asyncio.sleep(1.0)
    latencies: list[float] = []
    timeline: list[tuple[float, int]] = []
    back: list[Device] = []
    whole = Latencies()
    chance = random.Random(seed)
    target.watcher.stage("herd: resume", len(members))
    stopwatch = Stopwatch()
    target.begin()
    stopwatch.start()
    for device in devices:
        if device.connection is not None:
            device.connection.abort()
    lost = time.perf_counter()
    every = max(1, len(members) // 100)

    async def come_back(member: _Member) -> None:
        failures = 1  # the SDK waits before its first attempt too (S1)
        while time.perf_counter() - lost < _HERD_LIMIT:
            await asyncio.sleep(full_jitter(failures, chance.random))
            member.attempts += 1
            at = time.perf_counter()
            wait, device = await _resume_once(target, member, errors)
            if device is None:
                failures += 1
                await asyncio.sleep(wait)
                continue
            now = time.perf_counter()
            latencies.append(now - member.admitted_at)
            whole.add(now - at)
            if device.connection is not None:
                device.connection.send(target.dialect.echo())
            back.append(device)
            if len(back) % every == 0:
                timeline.append((round(time.perf_counter() - lost, 3), len(back)))
                target.watcher.done(every, latencies[-1])
            return
        errors["gave up"] += 1

    await asyncio.gather(*(come_back(member) for member in members))
    stopwatch.stop()
    target.end()
    found = finding("herd", {"sessions": count}, latencies, stopwatch, errors, timeline)
    found.more["allBack"] = round(stopwatch.seconds, 3)
    found.more["back"] = len(back)
    found.more["fromDialing"] = whole.summary()
    attempts = [member.attempts for member in members]
    found.more["meanAttempts"] = round(sum(attempts) / max(1, len(attempts)), 3)
    found.more["maxAttempts"] = max(attempts, default=0)
    await close_many(back)
    return found


async def _assembled(
    target: Target, numbers: Sequence[int], errors: Counter[str]
) -> tuple[list[_Member], list[Device]]:
    members: list[_Member] = []
    devices: list[Device] = []

    async def one(number: int) -> None:
        device = Device(target, number)
        chosen = secret()
        await device.dial()
        reply = await device.ask(hello(target.tokens[number], chosen))
        await device.ask(target.dialect.echo())  # as the SDK does: it confirms the open (S6)
        members.append(_Member(number, _session_id(reply), chosen))
        devices.append(device)

    target.watcher.stage("herd: open", len(numbers))
    await in_flight(target, numbers, 64, one, errors)
    return members, devices


async def _resume_once(target: Target, member: _Member, errors: Counter[str]) -> tuple[float, Device | None]:
    """(seconds the service asks to wait, None) or (0, the device that is back)."""
    device = Device(target, member.number)
    member.following = member.following or secret()
    try:
        async with asyncio.timeout(_ATTEMPT_LIMIT):
            await device.dial()
            member.admitted_at = time.perf_counter()
            await device.ask(resume(member.session_id, member.secret, member.following, member.attempts))
    except RefusedError as error:
        errors[f"refused: {_reason(str(error))}"] += 1
        wait = _retry_after(str(error))
    except (ConnectFailedError, OSError, TimeoutError) as error:
        errors[f"failed: {type(error).__name__} {str(error)[:60]}"] += 1
        wait = 0.0
    else:
        member.secret, member.following = member.following, ""
        return 0.0, device
    if device.connection is not None:
        device.connection.abort()
    return wait, None


def _session_id(reply: bytes) -> str:
    return str(msgspec.json.decode(reply)["result"]["session"]["id"])


def _data(text: str) -> dict[str, object]:
    try:
        found = msgspec.json.decode(text.encode())["error"].get("data", {})
    except (msgspec.DecodeError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(text: str) -> str:
    return str(_data(text).get("reason", text[:80]))


def _retry_after(text: str) -> float:
    after = _data(text).get("retryAfter", 0.0)
    return float(after) if isinstance(after, int | float) else 0.0


async def churn(
    target: Target, *, watchers: int, crowd: int, per_second: float, seconds: float, first: int = 0
) -> Finding:
    """``crowd`` participants come and go at a rate of ``per_second``; each of ``watchers`` watches all of them.

    An operation is a session that came or went. ``more.heard`` are the notices that watchers got, gathered as the
    service gathers them; the latency is from the answer to an open to the first notice that names the participant.
    """
    errors: Counter[str] = Counter()
    ids = [target.external_ids[number] for number in range(first, first + crowd)]
    heard = 0
    waiting: dict[bytes, float] = {}
    latencies: list[float] = []

    def notice(device: Device, message: bytes) -> None:
        nonlocal heard
        heard += 1
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
        device = Device(target, number)
        try:
            await device.open()
            waiting[f'"{target.external_ids[number]}"'.encode()] = time.perf_counter()
            await asyncio.sleep(1.0)
            await device.close()
        except (ConnectFailedError, RefusedError, OSError) as error:
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
    found.more["heard"] = heard
    await close_many(devices)
    return found


__all__ = ["churn", "fanout", "herd"]
