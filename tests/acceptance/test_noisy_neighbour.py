"""Promise 10 on a real service: what one client that misbehaves at line speed costs, and how it is cut off.

What is measured is counted: resident bytes of the service's process, close codes, answers to a neighbour. How long the
neighbour waits is a matter of wall clock, and of `make bench` (`benchmarks/noisy_neighbour.py`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.noisy_neighbour import ATTACKS, Attack, run
from greenroom.bench.minting import mint
from tests.acceptance.process import ServiceProcess, service
from tests.fuzz.bare import Bare, bare
from tests.support.patience import PATIENCE

MOST = 2 * 1024 * 1024
"""Bytes of the service's memory for one client that misbehaves."""
SECONDS = 4.0
"""Longer than the service waits for a head or a hello."""
ENDS = {
    "control-frames": {1008, 4004},
    "messages": {4004},
    "fragments": {1008, 4004},
    "no-hello": {4500},
    "half-open": {408},
    "greedy": {4002, 0},  # whoever never reads again does not read the Close either
}
"""Close codes and HTTP statuses with which the service gets rid of each; 4004 once it has come back too often."""
SHORT = {"hello_timeout": 2, "head_timeout": 2, "close_timeout": 1}


def test_every_attack_has_its_end() -> None:
    assert ENDS.keys() == ATTACKS.keys()


@asynccontextmanager
async def _neighbourhood(
    folder: Path, names: list[str], **settings: object
) -> AsyncIterator[tuple[ServiceProcess, list[str]]]:
    """A service that is warm: it has served a crowd, so that what it keeps for good is not counted as an attack's."""
    async with service(folder, **settings) as running:
        tokens = await mint(running.url, running.key, running.secret, names)
        for _ in range(3):
            async with AsyncExitStack() as stack:
                crowd = [await stack.enter_async_context(bare(running.url)) for _ in range(52)]
                for _ in range(8):
                    crowd.append(await stack.enter_async_context(bare(running.url)))
                    await crowd[-1].open(tokens[0])  # at once: a hello has its time
                for client in crowd[-8:]:
                    await client.is_alive()
        yield running, tokens
        assert "Traceback" not in running.log, running.log


async def _peak(running: ServiceProcess, work: asyncio.Task[None], client: Bare) -> tuple[int, int]:
    """While something works: the most resident bytes beyond those before, and the pings that were answered."""
    base = peak = running.rss()
    pings = 0
    while not work.done():
        await client.is_alive()
        pings += 1
        peak = max(peak, running.rss())
        await asyncio.sleep(0.1)
    await work
    return peak - base, pings


@pytest.mark.slow
@pytest.mark.waiting
@pytest.mark.parametrize("name", ATTACKS)
async def test_promise_10_one_client_at_line_speed_costs_2_mib_at_most(name: str, tmp_path: Path) -> None:
    async with _neighbourhood(tmp_path, ["good", "bad"], **SHORT) as (running, tokens), bare(running.url) as client:
        await client.open(tokens[0])
        attack = Attack(running.port, tokens[1])
        cost, pings = await _peak(running, asyncio.create_task(_attacked(name, attack)), client)
        print(
            f"{name}: {cost / 1024:.0f} KiB, {dict(attack.ends)}, {attack.bytes_sent / 1e6:.0f} MB sent, {pings} pings"
        )
        assert cost <= MOST
        assert attack.ends.keys() <= ENDS[name]


async def _attacked(name: str, attack: Attack) -> None:
    """For so many seconds, on a busy machine longer: until it was cut off. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while not attack.ends:
            await run(name, attack, SECONDS)


CROWD = 100
LONG = "n" * 250
AVATAR = "https://example.com/" + "a" * 2000


@pytest.mark.slow
@pytest.mark.waiting
async def test_promise_10_a_watcher_that_reads_slowly_costs_2_mib_and_has_the_latest_in_the_end(tmp_path: Path) -> None:
    """A hundred participants change all the time, some 230 KiB a round; one of two who watch them does not read."""
    names = [f"user {number}" for number in range(CROWD)]
    settings = {"messages_per_second": 1000, "ping_interval": 60, "pong_timeout": 50}
    async with (
        _neighbourhood(tmp_path, [*names, "good", "slow"], **settings) as (running, tokens),
        AsyncExitStack() as stack,
    ):
        crowd = [await stack.enter_async_context(bare(running.url)) for _ in range(CROWD + 2)]
        for client, token in zip(crowd, tokens, strict=True):
            await client.open(token)
        *crowd, good, slow = crowd
        for watcher in (good, slow):
            watcher.call("participants.watch", 2, externalIds=names)
            assert "result" in await watcher.answer()
        # Changes take memory too (the database's cache, up to its limit): what they take with both reading is
        # measured before and after, and does not count.
        await _change(crowd, range(15, 20))
        before, _ = await _peak(running, asyncio.create_task(_change(crowd, range(20, 40))), good)
        _stop_reading(slow)
        during, _ = await _peak(running, asyncio.create_task(_change(crowd, range(40, 60))), good)
        _read_again(slow)
        end = await _last_of(slow, "round 59")
        after, _ = await _peak(running, asyncio.create_task(_change(crowd, range(60, 80))), good)
        print(f"KiB before {before // 1024}, with a slow reader {during // 1024}, after {after // 1024}")
        assert during - max(before, after) <= MOST
        assert end == CROWD or end == 4002


async def _change(crowd: list[Bare], rounds: range) -> None:
    for number in rounds:
        for client in crowd:
            name = f"round {number} {LONG}"[:256]
            client.call(
                "session.updateParticipantInfo", 3, updateId=str(number), name=name, avatarUrl=AVATAR + str(number)
            )
        for client in crowd:
            assert "result" in await client.answer()
        await asyncio.sleep(0.1)


def _stop_reading(client: Bare) -> None:
    assert client.connection is not None
    transport = client.connection._transport
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport.pause_reading()


def _read_again(client: Bare) -> None:
    assert client.connection is not None
    client.connection._transport.resume_reading()  # type: ignore[union-attr]


async def _last_of(client: Bare, name: str) -> int:
    """How many participants it was sent updates of under this name in the end; or the close code."""
    seen: set[str] = set()
    while len(seen) < CROWD:
        found = await asyncio.wait_for(client.everything.get(), PATIENCE)
        if isinstance(found, int):
            return found
        for one in found.get("params", {}).get("participants", []):
            if one.get("name", "").startswith(name):
                seen.add(one["id"])
    return len(seen)
