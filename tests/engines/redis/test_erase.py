"""Whoever is erased is gone from Redis' files too, and no call holds Redis for long, however long the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.engines.base import EVENT_LIMITS, EraseParticipant, EventLimits, KickParticipant
from greenroom.engines.redis.trimming import trim
from greenroom.model import partition_of
from greenroom.testing.engine_world import APP, World
from tests.support.redis_server import RedisServer, single, wait_for
from tests.support.redis_world import RedisWorld

CANARIES = ("canary-external-1f0c", "canary-name-77aa", "canary-avatar-0b1d", "canary-device-e41c", "canary-text-55ce")
LONGEST_MS = 20
"""Milliseconds that a call may hold Redis."""

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with single("--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0") as running:
        yield running


def world_on(server: RedisServer, limits: EventLimits = EVENT_LIMITS) -> RedisWorld:
    world = RedisWorld(server.url, lambda: server.execute("FLUSHALL"))
    world.event_limits = limits
    return world


async def canary(w: World) -> str:
    """Someone who was here, with sessions that ended long ago and lately. The participant's id."""
    participant_id = ""
    for seconds in (1000, 10):
        client = await w.client(
            CANARIES[0], name=CANARIES[1], avatar_url="/" + CANARIES[2], device_name=CANARIES[3], address=CANARIES[3]
        )
        participant_id = client.participant_id
        request = KickParticipant(app=APP, participant_id=participant_id, reason=CANARIES[4])
        await w.engine.registry.restrict(request)
        await w.step(seconds)
        await w.advance(2)
    return participant_id


def found_in(server: RedisServer) -> list[str]:
    """Which canaries Redis' files hold after a rewrite."""
    server.execute("BGREWRITEAOF")
    wait_for(lambda: "aof_rewrite_in_progress:0" in _persistence(server), "the rewrite")
    wait_for(lambda: "aof_rewrite_scheduled:0" in _persistence(server), "the rewrite")
    content = b"".join(path.read_bytes() for path in Path(server.directory).rglob("*") if path.is_file())
    return [text for text in CANARIES if text.encode() in content]


def _persistence(server: RedisServer) -> str:
    info: Any = server.execute("INFO", "persistence")
    return "\n".join(f"{name}:{value}" for name, value in info.items())


async def test_an_erase_leaves_nothing_in_the_files_after_a_rewrite(server: RedisServer) -> None:
    server.execute("CONFIG", "SET", "rdbcompression", "no")
    async with world_on(server) as w:
        person = await canary(w)
        for number in range(40):
            await w.open(f"user-{number}")
        assert found_in(server) == list(CANARIES), "the canaries are seen"
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=person))
        await w.advance(4)
        assert found_in(server) == []


async def test_on_the_largest_stream_no_call_of_an_erase_or_of_trimming_holds_redis_for_long(
    server: RedisServer,
) -> None:
    """S17's limits: 100,000 events and 64 MiB, all of them in one partition."""
    async with world_on(server) as w:
        a = await w.client("alice", name="Alice")
        key = f"greenroom:{{p{partition_of(APP, a.participant_id)}}}"
        body = _event(w, a.participant_id)
        fill = (
            "for i = 1, 5000 do redis.call('XADD', KEYS[1], '1-*', 'e', ARGV[1]) end"
            f" redis.call('HINCRBY', KEYS[2], '{APP}', {5000 * len(body)})"
        )
        for _ in range(EVENT_LIMITS.count // 5000):
            await asyncio.to_thread(server.execute, "EVAL", fill, 2, f"{key}:ev:{APP}", f"{key}:eb", body)
        server.execute("CONFIG", "SET", "slowlog-log-slower-than", 1000)
        server.execute("CONFIG", "SET", "slowlog-max-len", 10_000)
        server.execute("SLOWLOG", "RESET")
        cpu = _cpu_ms(server)
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        page = await w.engine.outbox.read(APP, None, 1000)
        assert all("name" not in event.data for event in page.items), "hidden from the first moment"
        calls = 0
        while (await w.engine.registry.reap()).more:
            calls += 1
        assert calls > 100
        page = await w.engine.outbox.read(APP, None, 1000)
        assert all("name" not in event.data for event in page.items)
        w.event_limits = EventLimits(count=1000)
        assert await trim(w.engine.store, w.event_limits) > 40_000  # type: ignore[attr-defined]
        per_call = (_cpu_ms(server) - cpu) / calls
        assert per_call < LONGEST_MS, "pieces are alike, so that the mean says what each costs"
        assert _slowest_ms(server) < 25 * LONGEST_MS, "a call that works on all of a stream takes seconds"


def _event(w: World, participant_id: str) -> str:
    return (
        f'{{"id":"x:1:updated","type":"participant.updated","at":{w.now_ms()},"participantId":"{participant_id}",'
        f'"data":{{"version":1,"revision":1,"sessions":1,"name":"Alice","avatarUrl":"/{"x" * 500}"}}}}'
    )


def _cpu_ms(server: RedisServer) -> float:
    """Milliseconds of processor that Redis has used."""
    info: Any = server.execute("INFO", "cpu")
    return 1000 * float(info["used_cpu_user"] + info["used_cpu_sys"])


def _slowest_ms(server: RedisServer) -> float:
    """By the clock on the wall: on a busy machine a call waits for the processor too."""
    entries: Any = server.execute("SLOWLOG", "GET", 10_000)
    return max((entry[2] for entry in entries), default=0) / 1000
