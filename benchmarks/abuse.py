"""What one participant, or one application's backend, costs the others while it keeps to the protocol.

`noisy_neighbour` breaks the protocol and is cut off; here every request is well-formed and there are simply too many of
them, or too expensive ones. Beside each, one good client pings, opens and closes: its p99 is the figure, and how that
grew from the first third of the time to the last. In a room it is its other members that ping, leave and join. Both
engines. An abuser runs in a process of its own:
``python -m benchmarks.abuse NAME SECONDS``, with the service's address and credentials as JSON on standard input.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks.noisy_neighbour import FIRST_NEIGHBOUR, PAUSE
from benchmarks.servers import RunningServer, cluster, running
from greenroom.bench.client import BenchClient, RequestRefusedError, Target, close_many, open_many
from greenroom.bench.figures import Measurement, Stopwatch
from greenroom.bench.minting import api_token
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

DEFAULT_LIMITS = {
    "GREENROOM_MESSAGES_PER_SECOND": "50",
    "GREENROOM_MESSAGES_BURST": "100",
    "GREENROOM_OPENS_PER_SECOND": "2000",
}
"""The bench's settings lift these; here they are what is tried."""
ROOM_LIMITS = DEFAULT_LIMITS | {"GREENROOM_IDS_PER_SECOND": "2000", "GREENROOM_IDS_BURST": "4000"}
ROOM = "abused"
MEMBERS = 50
"""Of the room, beside the abuser."""
PREFILL = 20_000
"""Events in the stream before participants are erased."""
TOKENS = 5_000
_UNKNOWN_IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(800)]
"""As many as fit into one message of 32 KiB."""


@dataclass
class Abuser:
    """An abuser, and its result. token: of one participant."""

    url: str
    port: int
    token: str
    key: str
    secret: str
    done: Counter[str] = field(default_factory=Counter)

    @property
    def target(self) -> Target:
        """The service, as one participant's devices see it."""
        return Target("127.0.0.1", self.port, [self.token], ["abuser"])

    async def ask(self, device: BenchClient, method: str, params: dict[str, Any]) -> None:
        """One request; whether it was refused is counted."""
        message = {"jsonrpc": "2.0", "id": 5, "method": method, "params": params}
        try:
            await device.ask(json.dumps(message).encode())
            self.done["answered"] += 1
        except RequestRefusedError as error:
            self.done["refused"] += 1
            await asyncio.sleep(_retry_after(str(error)))

    async def api(self, session: aiohttp.ClientSession, method: str, path: str, **more: Any) -> None:
        """One call of the server API."""
        async with session.request(method, path, **more) as reply:
            await reply.read()
            self.done[f"status {reply.status}"] += 1


def _retry_after(text: str) -> float:
    at = text.find('"retryAfter":')
    with suppress(ValueError):
        return min(1.0, float(text[at + 13 :].split(",")[0].split("}")[0])) if at >= 0 else 0.0
    return 0.0


# -- what they do ------------------------------------------------------------------------------------------------------


async def open_loops(abuser: Abuser) -> None:
    """Eight loops of open and close, as fast as they are answered."""

    async def loop() -> None:
        while True:
            device = BenchClient(abuser.target, 0)
            try:
                await device.open()
                abuser.done["answered"] += 1
            except RequestRefusedError as error:
                abuser.done["refused"] += 1
                await asyncio.sleep(_retry_after(str(error)))
            await device.close()

    await asyncio.gather(*(loop() for _ in range(8)))


async def updates(abuser: Abuser) -> None:
    """Ten sessions that change the avatar to another long one, again and again."""

    async def loop(number: int) -> None:
        device = BenchClient(abuser.target, 0)
        await device.open()
        turn = 0
        while True:
            turn += 1
            avatar = f"https://example.com/{number}/{turn}?" + "a" * 1_900
            params = {"updateId": f"{number:016x}{turn:016x}", "avatarUrl": avatar}
            await abuser.ask(device, "session.updateParticipantInfo", params)

    await asyncio.gather(*(loop(number) for number in range(10)))


async def wide_reads(abuser: Abuser) -> None:
    """One session that asks for 800 participants at a time."""
    device = BenchClient(abuser.target, 0)
    await device.open()
    while True:
        await abuser.ask(device, "participants.get", {"ids": _UNKNOWN_IDS})


async def watch_turns(abuser: Abuser) -> None:
    """Three sessions that watch and unwatch 800 participants in turns."""

    async def loop() -> None:
        device = BenchClient(abuser.target, 0)
        await device.open()
        while True:
            await abuser.ask(device, "participants.watch", {"ids": _UNKNOWN_IDS})
            await abuser.ask(device, "participants.unwatch", {"ids": _UNKNOWN_IDS})

    await asyncio.gather(*(loop() for _ in range(3)))


async def _backend(abuser: Abuser) -> aiohttp.ClientSession:
    async with aiohttp.ClientSession(abuser.url) as session:
        token = await api_token(session, abuser.key, abuser.secret)
    return aiohttp.ClientSession(abuser.url, headers={"Authorization": f"Bearer {token}"})


async def kicks(abuser: Abuser) -> None:
    """A backend that kicks someone else each time."""
    async with await _backend(abuser) as session:
        number = 0
        while True:
            number += 1
            await abuser.api(session, "POST", f"/v1/participants/ext:kicked-{number}/kick", json={})


async def erases(abuser: Abuser) -> None:
    """A backend that fills the stream of events, then erases one participant after another."""
    async with await _backend(abuser) as session:
        device = BenchClient(abuser.target, 0)
        await device.open()
        await device.close()
        numbers = iter(range(PREFILL))

        async def fill() -> None:
            for number in numbers:
                body = {"name": f"Name {number}"}
                async with session.patch("/v1/participants/ext:bench-2", json=body) as reply:
                    await reply.read()

        await asyncio.gather(*(fill() for _ in range(16)))
        while True:
            await abuser.api(session, "DELETE", "/v1/participants/ext:bench-2")
            device = BenchClient(abuser.target, 0)
            await device.open()
            await device.close()


async def large_bodies(abuser: Abuser) -> None:
    """A backend that sends bodies of a mebibyte."""
    body = json.dumps({"externalId": "x", "padding": ["0"] * 200_000}).encode()
    async with await _backend(abuser) as session:
        headers = {"Content-Type": "application/json"}
        while True:
            with suppress(aiohttp.ClientError):
                await abuser.api(session, "POST", "/v2/client-access-token", data=body, headers=headers)


ABUSES: dict[str, Callable[[Abuser], Awaitable[None]]] = {
    "open-loops": open_loops,
    "updates": updates,
    "wide-reads": wide_reads,
    "watch-turns": watch_turns,
    "kicks": kicks,
    "erases": erases,
    "large-bodies": large_bodies,
}


async def room_joins(abuser: Abuser) -> None:
    """Four sessions that join the room and leave it again."""

    async def loop() -> None:
        device = BenchClient(abuser.target, 0)
        await device.open()
        while True:
            await abuser.ask(device, "rooms.join", {"room": ROOM})
            await abuser.ask(device, "rooms.leave", {"room": ROOM})

    await asyncio.gather(*(loop() for _ in range(4)))


async def room_messages(abuser: Abuser) -> None:
    """Three sessions that send the longest messages to all in the room."""

    async def loop(number: int) -> None:
        device = BenchClient(abuser.target, 0)
        await device.open()
        await abuser.ask(device, "rooms.join", {"room": ROOM})
        turn = 0
        while True:
            turn += 1
            params = {"room": ROOM, "messageId": f"{number}-{turn}-{time.monotonic_ns()}", "message": "x" * 16_000}
            await abuser.ask(device, "rooms.send", params)

    await asyncio.gather(*(loop(number) for number in range(3)))


async def room_watches(abuser: Abuser) -> None:
    """Three sessions that watch and unwatch 32 rooms in turns."""
    rooms = [ROOM, *(f"nobody-{number}" for number in range(31))]

    async def loop() -> None:
        device = BenchClient(abuser.target, 0)
        await device.open()
        while True:
            await abuser.ask(device, "rooms.watch", {"rooms": rooms})
            await abuser.ask(device, "rooms.unwatch", {"rooms": rooms})

    await asyncio.gather(*(loop() for _ in range(3)))


ROOM_ABUSES: dict[str, Callable[[Abuser], Awaitable[None]]] = {
    "joins": room_joins,
    "messages": room_messages,
    "watches": room_watches,
}


async def run(name: str, abuser: Abuser, seconds: float) -> None:
    """Abuse for so many seconds; what cuts it off is come back from at once."""
    abuse = {**ABUSES, **ROOM_ABUSES}[name]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await abuse(abuser)
                except (ConnectFailedError, RequestRefusedError, OSError, aiohttp.ClientError) as error:
                    abuser.done[type(error).__name__] += 1
                    await asyncio.sleep(0.05)


# -- the bench ---------------------------------------------------------------------------------------------------------


Turn = Callable[[int], Awaitable[None]]
"""What good clients do next, by its number."""
Neighbours = Callable[[Target], AbstractAsyncContextManager[Turn]]


@asynccontextmanager
async def opener(target: Target) -> AsyncIterator[Turn]:
    """A good client pings and, one time in five, opens and closes."""
    steady = BenchClient(target, 0)
    await steady.open()

    async def turn(number: int) -> None:
        if number % 5:
            await steady.ask(target.dialect.echo())
        else:
            device = BenchClient(target, FIRST_NEIGHBOUR + number // 5 % (len(target.tokens) - FIRST_NEIGHBOUR))
            await device.open()
            await device.close()

    yield turn
    await steady.close()


@asynccontextmanager
async def members(target: Target) -> AsyncIterator[Turn]:
    """A member of the room pings and, one time in five, another leaves and joins again."""
    steady, *others = await open_many(target, range(FIRST_NEIGHBOUR, FIRST_NEIGHBOUR + MEMBERS), errors=Counter())
    for device in (steady, *others):
        await device.ask(target.dialect.join(ROOM))

    async def turn(number: int) -> None:
        if number % 5:
            await steady.ask(target.dialect.echo())
        else:
            device = others[number // 5 % len(others)]
            await device.ask(target.dialect.leave(ROOM))
            await device.ask(target.dialect.join(ROOM))

    yield turn
    await close_many([steady, *others])


async def beside(
    target: Target, *, abuse: str | None, server: dict[str, Any], seconds: float, neighbours: Neighbours = opener
) -> Measurement:
    """What good neighbours do, beside an abuser; None: beside nobody."""
    stopwatch, errors = Stopwatch(), Counter[str]()
    latencies: list[float] = []
    async with neighbours(target) as turn:
        process = None if abuse is None else _start(abuse, target, server, seconds + 1.0)
        await asyncio.sleep(1.0)
        target.begin()
        stopwatch.start()
        number = 0
        while stopwatch.elapsed() < seconds:
            at = time.perf_counter()
            try:
                await turn(number)
                latencies.append(time.perf_counter() - at)
            except (ConnectFailedError, RequestRefusedError, OSError) as error:
                errors[f"{type(error).__name__}: {str(error)[:60]}"] += 1
            number += 1
            await asyncio.sleep(PAUSE)
        stopwatch.stop()
        target.end()
        found = finding("abuse", {"abuse": abuse or "none"}, latencies, stopwatch, errors)
        third = max(1, len(latencies) // 3)
        found.more["growth"] = round(_p99(latencies[-third:]) / _p99(latencies[:third]), 2)
        if process is not None:
            said, _ = await asyncio.to_thread(process.communicate)
            found.more["abuser"] = json.loads(said)
    return found


def _p99(latencies: list[float]) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _start(name: str, target: Target, server: dict[str, Any], seconds: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.abuse", name, str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(
        json.dumps(
            {
                "url": server["url"], "port": target.port, "token": target.tokens[2],
                "key": server["appKey"], "secret": server["appSecret"],
            }
        ).encode()
    )  # fmt: skip
    process.stdin.close()
    process.stdin = None
    return process


def job(bench: Bench, seconds: float = 10.0) -> None:
    """Each abuse, and none, on both engines, with the default limits."""
    scenario = partial(beside, seconds=seconds)
    _each(bench, "abuse", ABUSES, scenario, DEFAULT_LIMITS, min(TOKENS, bench.form.tokens))


def rooms(bench: Bench, seconds: float = 5.0) -> None:
    """The same in a room, for its other members."""
    scenario = partial(beside, seconds=seconds, neighbours=members)
    _each(bench, "rooms-abuse", ROOM_ABUSES, scenario, ROOM_LIMITS, FIRST_NEIGHBOUR + MEMBERS)


def _each(
    bench: Bench, job: str, abuses: Iterable[str], scenario: Callable[..., Awaitable[Measurement]],
    limits: dict[str, str], tokens: int,
) -> None:  # fmt: skip
    for engine in ("embedded", "redis"):
        for abuse in (None, *abuses):
            with _fresh(bench, engine, limits, tokens) as subject:
                name = f"{job}-{engine}-{abuse or 'none'}"
                one = partial(scenario, abuse=abuse, server=subject.server.ready)
                found = bench.against(subject, name, "greenroom", 0, one)
            bench.say(f"  {abuse or 'none'}: p99 {found.finding.latency['p99']} ms, {found.finding.more}")


def _fresh(bench: Bench, engine: str, limits: dict[str, str], tokens: int) -> AbstractContextManager[RunningServer]:
    if engine == "embedded":
        return running(bench.world, "greenroom", env=limits)
    return cluster(bench.world, 1, tokens, env=limits)


def main() -> None:
    """An abuser in its own process; prints the result."""
    name, seconds = sys.argv[1:]
    abuser = Abuser(**json.loads(sys.stdin.read()))
    asyncio.run(run(name, abuser, float(seconds)))
    print(json.dumps(abuser.done))


if __name__ == "__main__":
    main()
