"""A crowd in one room: it joins, changes, sends messages, goes and comes, and loses a node."""

from __future__ import annotations

import asyncio
import random
import re
import time
from base64 import urlsafe_b64decode
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from greenroom.bench.client import BenchClient, OnNotice, RequestRefusedError, Target, close_many, in_flight, open_many
from greenroom.bench.dialect import create_counted_room, next_members
from greenroom.bench.figures import Latencies, Measurement, Stopwatch
from greenroom.bench.reconnect import CrowdSession, assembled, resume_paced
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError

AWAY_FOR = 1.0
"""Seconds between the leave and the join of someone who goes and comes back."""
PAUSE = 0.12
"""Seconds between two changes that are to be sent on their own."""
PATIENCE = 60.0
"""Seconds for which a change or a message is waited for."""
LONGEST_CRASH = 60.0
"""Seconds for which rosters may differ from sessions after a crash, before that is an error."""
_ROSTER_HEAD = re.compile(rb'"version":(\d+)(?:,"since":(\d+))?,"count":(\d+)')
"""How a roster or a change of one begins, behind the room's name."""
_CURSOR = re.compile(rb'"cursor":"([^"]+)"')
_HEAD_BYTES = 400


class CrowdPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a crowd in one room does. Times in seconds; what is 0 is left out.

    counted: whether watchers get only the count. rosters: whether the server notifies members of the roster, as
    Greenroom does. changes: of members' names, one at a time. messages: to all, one at a time. churn: leaves and joins
    a second. away: the share of those who lose their node that never come back.
    """

    members: int
    counted: bool = False
    rosters: bool = True
    changes: int = 0
    messages: int = 0
    churn: float = 0.0
    churn_seconds: float = 0.0
    away: float = 0.0


class Crash(msgspec.Struct, frozen=True):
    """kill: ends a node, in another thread. revive: starts it again on the same port; None where others continue.
    survivors: the nodes that clients come back to."""

    kill: Callable[[], object]
    revive: Callable[[], object] | None
    survivors: Target


async def crowd(target: Target, plan: CrowdPlan, crash: Crash | None = None) -> AsyncGenerator[Measurement, None]:
    """The parts of a plan: `join`, `change`, `message`, `churn`, `crash`."""
    people = Crowd(target, plan)
    try:
        await people.open()
        yield await people.join()
        if plan.changes:
            yield await people.change()
        if plan.messages:
            yield await people.message()
        if plan.churn:
            yield await people.churn()
        if crash is not None:
            yield await people.crash(crash)
    finally:
        await people.close()


class _Member(msgspec.Struct):
    id: str


class _Changes(msgspec.Struct):
    version: int
    since: int
    joined: list[_Member] = []
    left: list[tuple[str, str]] = []


class _Notice(msgspec.Struct):
    params: _Changes


_decode = msgspec.json.Decoder(_Notice).decode


class Crowd:
    """Members of one room, and the version and count of the roster that each of them got last."""

    ROOM = "crowd"

    def __init__(self, target: Target, plan: CrowdPlan) -> None:
        self._target = target
        self._plan = plan
        self._devices: dict[int, BenchClient] = {}
        self._members: dict[int, CrowdSession] = {}
        self._known: dict[int, tuple[int, int]] = {}
        """By number: version and count."""
        self._wanted = 0
        self._missing: set[int] = set()
        """Members that have not got the expected count yet."""
        self._complete = asyncio.Event()
        self._complete_at = 0.0
        self._listener: OnNotice | None = None

    async def open(self) -> None:
        """Open all sessions."""
        errors: Counter[str] = Counter()
        numbers = range(self._plan.members)
        if self._plan.rosters:
            members, devices = await assembled(self._target, numbers, errors, self._notice)
            self._members = {member.number: member for member in members}
        else:
            devices = await open_many(self._target, numbers, on_notice=self._notice, errors=errors)
        self._devices = {device.number: device for device in devices}
        if len(self._devices) < self._plan.members:
            raise RequestRefusedError(f"not all sessions were opened: {dict(errors)}")

    async def close(self) -> None:
        """Close those that are left."""
        await close_many(list(self._devices.values()))

    # -- what members were notified of --------------------------------------------------------------------------------

    def _notice(self, device: BenchClient, message: bytes) -> None:
        self._learn(device.number, message, 0)
        if self._listener is not None:
            self._listener(device, message)

    def _learn(self, number: int, message: bytes, start: int) -> None:
        """A roster, or a change of one, that begins behind `start`."""
        head = _ROSTER_HEAD.search(message, start, start + _HEAD_BYTES)
        if head is not None:
            self._note(number, int(head[1]), int(head[3]))

    def _note(self, number: int, version: int, count: int) -> None:
        """A notice may be read before the reply that it follows."""
        if version < self._known.get(number, (0, 0))[0]:
            return
        self._known[number] = version, count
        if count != self._wanted:
            self._missing.add(number)
            self._complete.clear()
        elif number in self._missing:
            self._missing.discard(number)
            if not self._missing:
                self._complete_at = time.perf_counter()
                self._complete.set()

    def _want(self, count: int, numbers: Iterable[int]) -> None:
        """From now on wait for these until they have got this count of members."""
        self._wanted = count
        self._missing = {number for number in numbers if self._known.get(number, (0, -1))[1] != count}
        self._complete.clear()
        self._complete_at = time.perf_counter()

    async def _follow(self, errors: Counter[str], limit: float = PATIENCE) -> float:
        """When the last one was notified. limit: seconds after which missing notifications are an error."""
        if self._plan.rosters and self._missing:
            try:
                await asyncio.wait_for(self._complete.wait(), limit)
            except TimeoutError:
                errors["not notified of the count"] = len(self._missing)
                return time.perf_counter()
        return self._complete_at

    # -- parts --------------------------------------------------------------------------------------------------------

    async def join(self) -> Measurement:
        """All join at once, and read the pages of the roster that a join's answer does not hold, as SDKs do.
        ``more.converged`` are the seconds until each has the whole roster, or its count; ``more.lag`` those from the
        last answer."""
        errors: Counter[str] = Counter()
        latencies: list[float] = []
        dialect, devices = self._target.dialect, self._devices
        reads_all = self._plan.rosters and not self._plan.counted
        if self._plan.counted:
            await devices[0].ask(create_counted_room(self.ROOM))
        self._want(len(devices), devices)

        async def one(number: int) -> None:
            at = time.perf_counter()
            reply = await devices[number].ask(dialect.join(self.ROOM))
            latencies.append(time.perf_counter() - at)
            self._learn(number, reply, 0)
            while reads_all and (cursor := _CURSOR.search(reply)):
                reply = await devices[number].ask(next_members(self.ROOM, cursor[1].decode()))

        with self._measured("join", len(devices)) as stopwatch:
            timeline = await in_flight(self._target, list(devices), 256, one, errors)
            answered = time.perf_counter()
            converged = max(answered, await self._follow(errors))
        found = finding("join", self._parameters(), latencies, stopwatch, errors, timeline)
        found.rate = found.operations / max(1e-9, answered - stopwatch.began)
        if self._plan.rosters:
            found.more |= {"converged": round(converged - stopwatch.began, 3), "lag": round(converged - answered, 3)}
        return found

    async def change(self) -> Measurement:
        """Members change their names, one after the other: each may once a second. An operation is a delivery."""
        numbers = list(self._devices)

        async def rename(turn: int, text: str) -> None:
            await self._devices[numbers[turn % len(numbers)]].ask(self._target.dialect.rename(text))

        return await self._delivered("change", self._plan.changes, rename, len(numbers), pause=PAUSE)

    async def message(self) -> Measurement:
        """One member sends to all others. An operation is a delivery."""
        number = next(iter(self._devices))

        async def say(_turn: int, text: str) -> None:
            await self._devices[number].ask(self._target.dialect.say(self.ROOM, text))

        return await self._delivered("message", self._plan.messages, say, len(self._devices) - 1, number)

    async def _delivered(
        self, name: str, count: int, act: Callable[[int, str], Awaitable[None]], expected: int,
        sender: int | None = None, pause: float = 0.0,
    ) -> Measurement:  # fmt: skip
        """Do it, and wait until all have it; sender: who is not waited for."""
        errors: Counter[str] = Counter()
        received: dict[int, float] = {}
        everybody = asyncio.Event()
        text = b""

        def notice(device: BenchClient, message: bytes) -> None:
            if text and text in message and device.number != sender:
                received.setdefault(device.number, time.perf_counter())
                if len(received) == expected:
                    everybody.set()

        await asyncio.sleep(1.0)  # nothing is under way any more
        latencies: list[float] = []
        last = Latencies()
        self._listener = notice
        with self._measured(name, count) as stopwatch:
            for turn in range(count):
                received.clear()
                everybody.clear()
                text = f"{name} {turn:06d}".encode()
                at = time.perf_counter()
                await act(turn, text.decode())
                try:
                    await asyncio.wait_for(everybody.wait(), PATIENCE)
                except TimeoutError:
                    errors["not received"] += expected - len(received)
                    break
                latencies += [one - at for one in received.values()]
                last.add(max(received.values()) - at)
                self._target.watcher.done(1)
                await asyncio.sleep(pause)
        self._listener = None
        found = finding(name, self._parameters(), latencies, stopwatch, errors)
        found.more["last"] = last.summary()
        return found

    async def churn(self) -> Measurement:
        """Some of the members go and come back, each once. An operation is a leave or a join; the latency is from its
        sending to its being received by each of those who stay. Of a counted room it is that of joins, to the count
        that has them."""
        plan, target = self._plan, self._target
        errors: Counter[str] = Counter()
        sent: dict[tuple[str, bool], float] = {}
        joins: list[tuple[int, float]] = []
        frames: dict[tuple[int, int], list[tuple[str, bool]]] = {}
        receipts: list[tuple[float, tuple[int, int]]] = []

        def notice(device: BenchClient, message: bytes) -> None:
            now = time.perf_counter()
            head = _ROSTER_HEAD.search(message, 0, _HEAD_BYTES)
            if head is None or device.number in ids:
                return
            key = int(head[1]), int(head[2] or 0)
            if key not in frames:
                changes = _decode(message).params
                if changes.since == changes.version:
                    errors["had to read the roster again"] += 1
                frames[key] = [(one.id, True) for one in changes.joined] + [(one, False) for one, _ in changes.left]
            receipts.append((now, key))

        count = min(int(plan.churn / 2 * plan.churn_seconds), len(self._devices) // 2)
        going = list(self._devices)[-count:]
        ids = {number: participant_id(target.tokens[number]) for number in going}
        await asyncio.sleep(1.0)
        self._want(len(self._devices), self._devices)
        self._listener = notice

        async def go_and_come(number: int) -> None:
            device = self._devices[number]
            sent[ids[number], False] = time.perf_counter()
            try:
                await device.ask(target.dialect.leave(self.ROOM))
                await asyncio.sleep(AWAY_FOR)
                at = sent[ids[number], True] = time.perf_counter()
                reply = await device.ask(target.dialect.join(self.ROOM))
                head = _ROSTER_HEAD.search(reply, 0, _HEAD_BYTES)
                joins.append((int(head[1]) if head else 0, at))
                self._learn(number, reply, 0)
            except (ConnectFailedError, RequestRefusedError, OSError) as error:
                errors[f"{type(error).__name__}: {str(error)[:120]}"] += 1
            target.watcher.done(2)

        with self._measured("churn", 2 * count) as stopwatch:
            tasks: set[asyncio.Task[None]] = set()
            while len(tasks) < count:
                due = min(count, int(stopwatch.elapsed() * plan.churn / 2) + 1)
                tasks |= {asyncio.create_task(go_and_come(number)) for number in going[len(tasks) : due]}
                await asyncio.sleep(0.01)
            await asyncio.gather(*tasks)
            answered = time.perf_counter()
            if plan.counted:
                await asyncio.sleep(1.1)  # the last count
            converged = await self._follow(errors)
        self._listener = None
        if plan.counted:
            latencies = list(times_to_reach(joins, [(now, version) for now, (version, _) in receipts]))
        else:
            latencies = [now - sent[change] for now, key in receipts for change in frames[key] if change in sent]
            if missed := len(sent) * (len(self._devices) - count) - len(latencies):
                errors["changes that a member did not receive"] = missed
        found = finding("churn", {**self._parameters(), "perSecond": plan.churn}, latencies, stopwatch, errors)
        found.operations = 2 * count
        found.rate = found.operations / stopwatch.seconds
        found.more |= {"frames": len(receipts), "lag": round(max(0.0, converged - answered), 3)}
        return found

    async def crash(self, crash: Crash) -> Measurement:
        """A node is killed. Who was on it comes back by the SDK's own rules, but for those who never do; the latency is
        from the kill to being back. ``more.converged``: until the last of all who are there has the right count."""
        errors: Counter[str] = Counter()
        chance = random.Random(1)
        self._target.watcher.stage("crash", len(self._devices))
        stopwatch = Stopwatch()
        stopwatch.start()
        at = time.perf_counter()
        await asyncio.to_thread(crash.kill)
        lost = await self._lost()
        away = set(lost[: int(len(lost) * self._plan.away)])
        for number in away:
            del self._devices[number]
        back = [number for number in lost if number not in away]
        self._want(self._plan.members - len(away), self._devices)
        self._missing.update(back)
        latencies: list[float] = []

        async def come_back(number: int) -> None:
            member = self._members[number]
            version, count = self._known[number]
            member.watching = {self.ROOM: version}
            device = await resume_paced(crash.survivors, member, errors, at, chance, self._notice)
            if device is None:
                return
            latencies.append(time.perf_counter() - at)
            self._devices[number] = device
            if b'"lostRooms":[[' in device.reply:
                errors["lost its membership"] += 1
            start = device.reply.find(b'"rosters":[{')
            if start < 0:
                self._note(number, version, count)
            else:
                self._learn(number, device.reply, start)

        coming = asyncio.gather(*(come_back(number) for number in back))
        up = at
        if crash.revive is not None:
            await asyncio.to_thread(crash.revive)
            up = time.perf_counter()
        await coming
        converged = await self._follow(errors, LONGEST_CRASH if len(latencies) == len(back) else 0.0)
        stopwatch.stop()
        parameters = {**self._parameters(), "lost": len(lost), "away": len(away)}
        found = finding("crash", parameters, latencies, stopwatch, errors)
        found.more |= {
            "allBack": round(max(latencies, default=0.0), 3),
            "converged": round(max(converged - at, max(latencies, default=0.0)), 3),
            "up": round(up - at, 3),
        }
        return found

    async def _lost(self) -> list[int]:
        """Who lost the connection: when no more do."""
        found: list[int] = []
        while True:
            await asyncio.sleep(0.1)
            gone = [number for number, device in self._devices.items() if _is_lost(device)]
            if gone and len(gone) == len(found):
                return gone
            found = gone

    def _parameters(self) -> dict[str, Any]:
        return {"members": self._plan.members, "counted": self._plan.counted}

    @contextmanager
    def _measured(self, name: str, total: int) -> Iterator[Stopwatch]:
        """Between begin and end of the target."""
        stopwatch = Stopwatch()
        self._target.watcher.stage(f"room: {name}", total)
        self._target.begin()
        stopwatch.start()
        yield stopwatch
        stopwatch.stop()
        self._target.end()


def _is_lost(device: BenchClient) -> bool:
    return device.connection is None or device.connection.lost.done()


def times_to_reach(joins: Sequence[tuple[int, float]], receipts: Iterable[tuple[float, int]]) -> Iterator[float]:
    """From the sending of each join, at a version, to each receipt of the first version that is not below it."""
    times: dict[int, list[float]] = {}
    for now, version in receipts:
        times.setdefault(version, []).append(now)
    versions = sorted(times)
    for version, at in joins:
        place = bisect_left(versions, version)
        if place < len(versions):
            yield from (now - at for now in times[versions[place]])


def participant_id(token: str) -> str:
    """Of whom a token is."""
    payload = token.split(".")[1]
    claims = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=dict[str, Any])
    return str(claims["sub"])
