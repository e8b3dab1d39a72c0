"""Thousands of clients lose their connections at once, and resume."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from greenroom.bench.client import BenchClient, OnNotice, RequestRefusedError, Target, close_many, in_flight
from greenroom.bench.dialect import hello, resume, secret
from greenroom.bench.figures import Latencies, Measurement, Stopwatch
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError
from greenroom.codes import ERRORS, ErrorCode
from greenroom.core.backoff import full_jitter
from greenroom.core.client.effects import ClientSettings

_ATTEMPT_LIMIT = ClientSettings().attempt_timeout
_GIVE_UP_AFTER = 60.0
"""Seconds after which clients that are not all back are given up: the grace is 40 s."""


class CrowdSession(msgspec.Struct):
    """One device, across its connections."""

    number: int
    session_id: str
    secret: str
    following: str = ""
    """The next secret: the same for every attempt until one is answered, or a lost reply would lock the client out."""
    attempts: int = 0
    dialled_at: float = 0.0
    """When the last attempt began."""
    admitted_at: float = 0.0
    """When the last attempt's handshake was done."""
    watching: dict[str, int] = {}
    """Versions of rosters, by room."""
    ended: bool = False
    """Whether the service said that the session no longer exists."""


async def reconnect(target: Target, *, count: int, first: int = 0, seed: int = 1) -> Measurement:
    """``count`` devices lose their connections in one instant and resume by the SDK's own rules (full jitter).

    An operation is a session that is back; its latency is of the attempt that was let in, from the end of its handshake
    to the answer. ``more.fromDialing`` is the same from the start of its dialing, with the wait to be accepted;
    ``more.allBack`` are the seconds until the last one is back.
    """
    errors: Counter[str] = Counter()
    members, devices = await assembled(target, range(first, first + count), errors)
    await asyncio.sleep(1.0)
    latencies: list[float] = []
    timeline: list[tuple[float, int]] = []
    back: list[BenchClient] = []
    whole = Latencies()
    chance = random.Random(seed)
    target.watcher.stage("reconnect: resume", len(members))
    stopwatch = Stopwatch()
    target.begin()
    stopwatch.start()
    for device in devices:
        if device.connection is not None:
            device.connection.abort()
    lost = time.perf_counter()
    every = max(1, len(members) // 100)

    async def come_back(member: CrowdSession) -> None:
        device = await resume_paced(target, member, errors, lost, chance)
        if device is None:
            return
        now = time.perf_counter()
        latencies.append(now - member.admitted_at)
        whole.add(now - member.dialled_at)
        back.append(device)
        if len(back) % every == 0:
            timeline.append((round(now - lost, 3), len(back)))
            target.watcher.done(every, latencies[-1])

    await asyncio.gather(*(come_back(member) for member in members))
    stopwatch.stop()
    target.end()
    found = finding("reconnect", {"sessions": count}, latencies, stopwatch, errors, timeline)
    found.more["allBack"] = round(stopwatch.seconds, 3)
    found.more["back"] = len(back)
    found.more["fromDialing"] = whole.summary()
    attempts = [member.attempts for member in members]
    found.more["meanAttempts"] = round(sum(attempts) / max(1, len(attempts)), 3)
    found.more["maxAttempts"] = max(attempts, default=0)
    await close_many(back)
    return found


async def assembled(
    target: Target, numbers: Sequence[int], errors: Counter[str], on_notice: OnNotice | None = None
) -> tuple[list[CrowdSession], list[BenchClient]]:
    """Sessions that can be resumed, and their devices, in the same order."""
    members: list[CrowdSession] = []
    devices: list[BenchClient] = []

    async def one(number: int) -> None:
        device = BenchClient(target, number, on_notice)
        chosen = secret()
        await device.dial()
        reply = await device.ask(hello(target.tokens[number], chosen))
        await device.ask(target.dialect.echo())  # as the SDK does: it confirms the open (S6)
        members.append(CrowdSession(number, _session_id(reply), chosen))
        devices.append(device)

    target.watcher.stage("reconnect: open", len(numbers))
    await in_flight(target, numbers, 64, one, errors)
    return members, devices


async def resume_paced(
    target: Target, member: CrowdSession, errors: Counter[str], lost: float, chance: random.Random,
    on_notice: OnNotice | None = None,
) -> BenchClient | None:  # fmt: skip
    """The device that is back, by the SDK's own rules; None where it gave up. lost: when the connection was."""
    failures = 1  # the SDK waits before its first attempt too (S1)
    while time.perf_counter() - lost < _GIVE_UP_AFTER and not member.ended:
        await asyncio.sleep(full_jitter(failures, chance.random))
        member.attempts += 1
        member.dialled_at = time.perf_counter()
        wait, device = await resume_once(target, member, errors, on_notice)
        if device is None:
            failures += 1
            await asyncio.sleep(wait)
            continue
        if device.connection is not None:
            device.connection.send(target.dialect.echo())
        return device
    errors["gave up"] += 1
    return None


async def resume_once(
    target: Target, member: CrowdSession, errors: Counter[str], on_notice: OnNotice | None = None
) -> tuple[float, BenchClient | None]:
    """(seconds the service asks to wait, None) or (0, the device that is back)."""
    device = BenchClient(target, member.number, on_notice)
    member.following = member.following or secret()
    try:
        async with asyncio.timeout(_ATTEMPT_LIMIT):
            await device.dial()
            member.admitted_at = time.perf_counter()
            await device.ask(
                resume(member.session_id, member.secret, member.following, member.attempts, member.watching)
            )
    except RequestRefusedError as error:
        reason = _reason(str(error))
        member.ended = reason == ERRORS[ErrorCode.SESSION_ENDED].reason
        errors[f"refused: {reason}"] += 1
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
