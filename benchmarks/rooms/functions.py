"""How long one function holds Redis at the limits of rooms: 10,000 in a room, and all of them leave at once.

The engine runs in this process, Redis alone on the servers' core, before all other processes where that is allowed:
what a call took is what `SLOWLOG` says, and that counts the time for which someone else had the core too. A call that
took less than `SEEN` is not looked at.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import redis as redis_client

from benchmarks.peers.stores import Store
from benchmarks.process import SERVER_CORE
from benchmarks.redis_cost import spread
from greenroom.core.requests import ParticipantQuery
from greenroom.core.rooms.requests import EndRoom, KickMember, RoomQuery, RosterQuery, SendMessage
from greenroom.engines.base import SessionQuery
from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.store import FunctionCall
from greenroom.model import PARTITIONS
from greenroom.testing.engine_world import APP, Client
from tests.support.redis_world import RedisWorld

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

SEEN = 500
"""Microseconds."""
KEPT = 1_000_000
"""Entries of the log, at most."""
COUNTED, DETAILED, ENDED = "counted", "detailed", "ended"
DETAILED_MEMBERS = 1_000
SOME = 200
"""Who change their names, are kicked, or resume."""
PASSES = 130
"""As many as it takes to compare 10,000 members, 100 in each."""
_LIBRARY = re.compile(r"^greenroom_\d+_[0-9a-f]+_")
"""How names of functions begin: its version, and what its text hashes to."""
_LONGEST_MESSAGE = b'"' + b"x" * 16_000 + b'"'


def job(bench: Bench) -> None:
    """The longest call of each function, in ms."""
    store = Store(bench.folder / "redis-functions", core=SERVER_CORE)
    try:
        with suppress(PermissionError):
            os.sched_setscheduler(store.process.pid, os.SCHED_FIFO, os.sched_param(1))
        with redis_client.Redis("127.0.0.1", store.port, socket_timeout=30.0) as client:
            client.config_set("slowlog-max-len", KEPT)
            client.config_set("slowlog-log-slower-than", SEEN)
            began = time.monotonic()
            asyncio.run(_work(store.url, client.flushall, bench.form.counted, bench.say))
            longest = longest_of(client.slowlog_get(KEPT))
    finally:
        store.stop()
    bench.extra["room_functions"] = {"members": bench.form.counted, "longest_ms": longest}
    bench.say(f"  {time.monotonic() - began:.0f} s; longest calls in ms: {longest}")


def longest_of(entries: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of the longest call of each function in a slow log, the longest first."""
    found: dict[str, float] = {}
    for entry in entries:
        words = bytes(entry["command"]).split(b" ", 2)
        if words[0].upper() in (b"FCALL", b"FCALL_RO"):
            name = _LIBRARY.sub("", words[1].decode())
            found[name] = max(found.get(name, 0.0), entry["duration"] / 1000)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


async def _work(url: str, empty: Callable[[], object], members: int, say: Callable[[str], None]) -> None:
    """Everything that sessions, backends and the reaper do with a full room."""
    async with RedisWorld(url, empty, timeout=30.0) as world:
        rooms = world.engine.rooms
        for room in (COUNTED, ENDED):
            await rooms.create(world.room_request(room, detailed=False))
        clients = [Client(world, world.open_request(f"user-{number}", name=f"User {number}"))
                   for number in range(members)]  # fmt: skip
        await spread([each.open for each in clients])
        for room, some in ((COUNTED, clients), (ENDED, clients), (DETAILED, clients[:DETAILED_MEMBERS])):
            await spread([partial(each.join, room) for each in some])
        say("  all have joined")
        await world.advance(2.0)
        await _reads(world, clients)
        await spread([partial(each.update, name="Another name") for each in clients[:SOME]])
        await world.rosters_follow()
        await spread([each.resume for each in clients[:SOME]])
        await spread([partial(each.leave, COUNTED) for each in clients[:SOME]])
        kicked = clients[SOME : 2 * SOME]
        await spread([partial(rooms.moderate, _kick(each)) for each in kicked])
        await world.advance(3.0)
        say("  messages, reads, kicks are done; the room ends")
        await rooms.moderate(EndRoom(app=APP, room=ENDED))
        await world.advance(3.0)
        say("  rows and rosters are compared")
        await _compare(world)
        world.add_node("node-2", "lease-2")
        world.kill(world.node)
        say("  the node is gone, and its sessions with it")
        await world.advance(75.0)
        left = [(await world.roster(room)).count for room in (COUNTED, ENDED, DETAILED)]
        if any(left):
            raise RuntimeError(f"members are left in rooms whose sessions have ended: {left}")


def _kick(each: Client) -> KickMember:
    return KickMember(app=APP, room=COUNTED, participant_id=each.participant_id)


async def _reads(world: RedisWorld, clients: list[Client]) -> None:
    rooms = world.engine.rooms
    someone = clients[-1]
    calls: list[Callable[[], Awaitable[object]]] = []
    for room in (COUNTED, DETAILED):
        version = (await world.roster(room)).version
        for since in (None, 0, version - 1):
            calls.append(partial(rooms.roster, RosterQuery(app=APP, room=room, since=since)))
        await world.members(room)
    calls.append(partial(rooms.roster, RosterQuery(app=APP, room=COUNTED, limit=len(clients))))
    for query in (RoomQuery(app=APP), RoomQuery(app=APP, search="count"), RoomQuery(app=APP, names=[COUNTED])):
        calls.append(partial(rooms.rooms, query))
    calls.append(partial(rooms.rooms, RoomQuery(app=APP, participant_id=someone.participant_id)))
    named = tuple(each.participant_id for each in islice(clients, 100))
    for number, to in enumerate(((), named)):
        message = SendMessage(app=APP, room=COUNTED, message_id=f"long-{number}", message=_LONGEST_MESSAGE,
                              sender=someone.participant_id, session_id=someone.id, to=to)  # fmt: skip
        calls.append(partial(rooms.send, message))
    registry = world.engine.registry
    calls.append(partial(registry.sessions, SessionQuery(app=APP, limit=1000)))
    calls.append(partial(registry.participants, ParticipantQuery(app=APP, limit=1000)))
    for call in calls:
        await call()


async def _compare(world: RedisWorld) -> None:
    """Rows and rosters are compared as after a failover: a portion in each pass."""
    engine = world.engine
    assert isinstance(engine, RedisEngine)
    calls = [FunctionCall("room_compare_again", f"p{number}", argument(ms=0), True) for number in range(PARTITIONS)]
    await engine.store.call_many(calls)
    repaired = 0
    for _ in range(PASSES):
        repaired += (await engine.rooms.settle()).repaired
    if repaired:
        raise RuntimeError(f"{repaired} memberships were repaired, and nothing had been lost")


__all__ = ["job", "longest_of"]
