"""What the Redis engine costs: commands, bytes and CPU of Redis per open, update, idle session-hour and watcher.

    python -m benchmarks.redis_cost            a table
    python -m benchmarks.redis_cost --json     the same as JSON

Starts a redis-server of its own (the durable part of its settings: AOF, fsync every second). `fcalls` are what the
network sees; `commands` are what the functions do inside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from greenroom.engines.base import NodeBeat
from greenroom.testing.engine_world import APP, Client, EmbeddedWorld, World
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld

BEATS_AN_HOUR = 3600 / 3
PASSES_AN_HOUR = 3600
CONCURRENT = 100
WARM_UP = 500


class Cost(msgspec.Struct):
    """Of one operation. bytes_in: to Redis. cpu_us: of Redis, microseconds."""

    fcalls: float
    commands: float
    bytes_in: float
    bytes_out: float
    cpu_us: float
    per_second: float


class Meter:
    """Reads Redis' own counters before and after."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def read(self) -> tuple[float, float, float, float, float]:
        stats: Any = self._server.execute("INFO", "commandstats")
        traffic: Any = self._server.execute("INFO", "stats")
        cpu: Any = self._server.execute("INFO", "cpu")
        ours = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
        fcalls = ours.get("fcall", 0)
        inner = sum(ours.values()) - fcalls - sum(ours.get(name, 0) for name in ("info", "hello", "client|setinfo"))
        used = cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"]
        return fcalls, inner, traffic["total_net_input_bytes"], traffic["total_net_output_bytes"], used * 1e6

    async def measure(self, count: int, work: Callable[[], Awaitable[object]]) -> Cost:
        """The cost of each of ``count`` operations that ``work`` does."""
        before = await asyncio.to_thread(self.read)
        started = time.perf_counter()
        await work()
        took = time.perf_counter() - started
        after = await asyncio.to_thread(self.read)
        fcalls, commands, bytes_in, bytes_out, cpu = ((b - a) / count for a, b in zip(before, after, strict=True))
        return Cost(
            fcalls=fcalls,
            commands=commands,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            cpu_us=cpu,
            per_second=count / took,
        )


async def spread(calls: list[Callable[[], Awaitable[object]]], width: int = CONCURRENT) -> None:
    """All of them, at most ``width`` at once."""
    waiting = iter(calls)

    async def worker() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(worker() for _ in range(width)))


async def costs(server: RedisServer, count: int) -> dict[str, Cost]:
    """Every row of the table."""
    rows: dict[str, Cost] = {}
    meter = Meter(server)
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as world:
        beat = NodeBeat(node=world.node, boot="boot-of-" + world.node, lease=world.lease)
        # So many that every partition has some: what a node does for an application with events is not of a session.
        await spread([_client(world, n).open for n in range(-WARM_UP, 0)])
        rows["beat (node)"] = await meter.measure(30, lambda: _repeat(30, lambda: world.engine.registry.beat(beat)))
        rows["reaper pass (node)"] = await meter.measure(30, lambda: _repeat(30, world.engine.registry.reap))
        clients = [_client(world, n) for n in range(count)]
        rows["open"] = await meter.measure(count, lambda: spread([each.open for each in clients]))
        rows["update"] = await meter.measure(count, lambda: spread([_update(each) for each in clients]))
        rows["resume"] = await meter.measure(count, lambda: spread([each.resume for each in clients]))
        full_beat = await meter.measure(30, lambda: _repeat(30, lambda: world.engine.registry.beat(beat)))
        full_pass = await meter.measure(30, lambda: _repeat(30, world.engine.registry.reap))
        rows["idle session-hour"] = _idle(rows["beat (node)"], rows["reaper pass (node)"], full_beat, full_pass, count)
        ids = [each.participant_id for each in clients]
        rows["watch"] = await meter.measure(count, lambda: world.engine.bus.watch(APP, ids))
        rows["update, watched by one node"] = await meter.measure(
            count, lambda: spread([_update(each) for each in clients])
        )
        # Rooms of ten, as calls are; a node is subscribed to those of its own members.
        in_rooms = [(each, f"room-{number // 10}") for number, each in enumerate(clients)]
        rows["join of a room"] = await meter.measure(
            count, lambda: spread([partial(each.join, room) for each, room in in_rooms])
        )
        await world.step(0.01)  # a change of the same membership in the same microsecond would be numbered again
        rows["leave of a room"] = await meter.measure(
            count, lambda: spread([partial(each.leave, room) for each, room in in_rooms])
        )
        await world.engine.bus.unwatch(APP, ids)
        rows["close"] = await meter.measure(count, lambda: spread([each.close for each in clients]))
    return rows


def _client(world: World, number: int) -> Client:
    return Client(world, world.open_request(f"user-{number}", name=f"User {number}", device_id=f"device-{number}"))


def _update(client: Client) -> Callable[[], Awaitable[object]]:
    return lambda: client.update(name=f"Name {client.world.number()}")


async def _repeat(count: int, call: Callable[[], Awaitable[object]]) -> None:
    for _ in range(count):
        await call()


def _idle(beat: Cost, reap: Cost, full_beat: Cost, full_pass: Cost, sessions: int) -> Cost:
    """What sessions add to an hour of beats and passes: the difference between many sessions and some."""

    def added(name: str) -> float:
        beats = (getattr(full_beat, name) - getattr(beat, name)) * BEATS_AN_HOUR
        passes = (getattr(full_pass, name) - getattr(reap, name)) * PASSES_AN_HOUR
        return float(beats + passes) / sessions

    return Cost(
        **{name: added(name) for name in ("fcalls", "commands", "bytes_in", "bytes_out", "cpu_us")}, per_second=0
    )


async def memory(server: RedisServer, count: int) -> tuple[float, float]:
    """Bytes of Redis for one session with its participant, its timeline and its two events; and for its membership in a
    room of ten."""

    def used() -> float:
        found: Any = server.execute("INFO", "memory")
        return float(found["used_memory"])

    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as world:
        clients = [_client(world, n) for n in range(count)]
        empty = used()
        await spread([each.open for each in clients])
        open_ = used()
        await spread([partial(each.join, f"room-{number // 10}") for number, each in enumerate(clients)])
        return (open_ - empty) / count, (used() - open_) / count


async def embedded_rate(path: str, count: int) -> float:
    """Opens a second of the embedded engine, for comparison."""
    async with EmbeddedWorld(path, threaded=True) as world:
        clients = [_client(world, n) for n in range(count)]
        started = time.perf_counter()
        await spread([each.open for each in clients])
        return count / (time.perf_counter() - started)


def main() -> None:
    import tempfile
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=5000)
    options = parser.parse_args()
    with single("--appendonly", "yes", "--appendfsync", "everysec") as server:
        rows = asyncio.run(costs(server, options.count))
        session_bytes, membership_bytes = asyncio.run(memory(server, options.count))
    with tempfile.TemporaryDirectory() as directory:
        embedded = asyncio.run(embedded_rate(str(Path(directory) / "data"), options.count))
    figures = {
        "rows": {name: msgspec.structs.asdict(row) for name, row in rows.items()},
        "bytes_of_memory_per_session": session_bytes,
        "bytes_of_memory_per_membership": membership_bytes,
        "embedded_opens_per_second": embedded,
        "opens_compared_with_embedded": rows["open"].per_second / embedded,
    }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'':30}{'FCALLs':>9}{'commands':>10}{'bytes in':>10}{'out':>8}{'CPU µs':>8}{'a second':>10}")
    for name, row in rows.items():
        print(
            f"{name:30}{row.fcalls:9.2f}{row.commands:10.1f}{row.bytes_in:10.0f}{row.bytes_out:8.0f}{row.cpu_us:8.0f}"
            f"{row.per_second:10.0f}"
        )
    print(f"memory per session: {session_bytes:.0f} bytes, per membership: {membership_bytes:.0f} bytes")
    print(f"embedded engine: {embedded:.0f} opens a second")


if __name__ == "__main__":
    main()
