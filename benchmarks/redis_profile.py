"""Where an open and a close, and a join and a leave of a room, spend the time of Redis.

    python -m benchmarks.redis_profile                 CPU of Redis and of this side, medians of laps
    python -m benchmarks.redis_profile --instructions  instructions of redis-server by what they are for (Valgrind)

Starts a redis-server of its own, as the comparison with other services does (AOF, `appendfsync always`), and opens and
closes sessions, 64 in flight; in between each joins and leaves a room of four. CPU is of this machine and this moment:
compare laps of one run. Instructions are the same in every run, to one per cent.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import redis as redis_client
import uvloop

from benchmarks.process import CPUCLOCK_SCHED
from benchmarks.redis_cost import spread
from greenroom.testing.engine_world import Client
from tests.support.redis_server import RedisServer, free_ports, single
from tests.support.redis_world import RedisWorld

OPTIONS = ("--appendonly", "yes", "--appendfsync", "always")
WIDTH = 64
"""Calls in flight."""
WARM_UP = 500
MEMBERS = 4
"""Of each room."""
PATIENCE = 60.0
"""Seconds for a call under Valgrind."""

Step = Callable[[], Awaitable[object]]


class Opens:
    """Laps of opens and their closes. Participants of a lap are new, or those of the lap before."""

    def __init__(self, world: RedisWorld) -> None:
        self._world = world
        self._number = 0

    def lap(self, count: int, *, known: bool = False) -> dict[str, Step]:
        """The steps of a lap."""
        first = self._number - count if known else self._number
        self._number = first + count
        clients = [self._client(number) for number in range(first, first + count)]
        pairs = [(one, f"room-{(first + number) // MEMBERS}") for number, one in enumerate(clients)]
        return {
            "open": lambda: spread([one.open for one in clients], WIDTH),
            "join": lambda: spread([partial(one.join, room) for one, room in pairs], WIDTH),
            "leave": lambda: spread([partial(one.leave, room) for one, room in pairs], WIDTH),
            "close": lambda: spread([one.close for one in clients], WIDTH),
        }

    def _client(self, number: int) -> Client:
        request = self._world.open_request(f"user-{number}", name=f"User {number}", device_id=f"device-{number}")
        return Client(self._world, msgspec.structs.replace(request, sdk="bench", address="127.0.0.1"))


# -- CPU ---------------------------------------------------------------------------------------------------------------


async def _cpu(server: RedisServer, count: int, laps: int) -> None:
    used: dict[str, list[tuple[float, float]]] = {}
    calls: dict[str, str] = {}
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as world:
        opens = Opens(world)
        for step in opens.lap(WARM_UP).values():
            await step()
        for _ in range(laps):
            for what, step in opens.lap(count).items():
                await world.step(0.001)  # who leaves a room leaves it later than it joined
                before, commands = _clocks(server.pid), _counters(server)
                await step()
                after = _clocks(server.pid)
                ours, theirs = ((b - a) * 1e6 / count for a, b in zip(before, after, strict=True))
                used.setdefault(what, []).append((ours, theirs))
                calls[what] = _difference(commands, _counters(server), count)
    for what, rows in used.items():
        ours, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{what:6}{ours:8.1f} µs of Redis{theirs:8.1f} µs of the engine in the node    {calls[what]}")
    medians = []
    for first, second in (("open", "close"), ("join", "leave")):
        both = [a[0] + b[0] for a, b in zip(used[first], used[second], strict=True)]
        medians.append(statistics.median(both))
        print(f"{first} and {second}: {medians[-1]:.1f} µs of Redis; least {min(both):.1f}")
    print(f"join and leave are {medians[1] / medians[0]:.2f} of open and close")


def _clocks(pid: int) -> tuple[float, float]:
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED), time.process_time()


def _counters(server: RedisServer) -> dict[str, int]:
    stats: Any = server.execute("INFO", "commandstats")
    traffic: Any = server.execute("INFO", "stats")
    counts = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
    return counts | {"in": traffic["total_net_input_bytes"], "out": traffic["total_net_output_bytes"]}


def _difference(before: dict[str, int], after: dict[str, int], count: int) -> str:
    each = {name: (calls - before.get(name, 0)) / count for name, calls in after.items()}
    calls, bytes_in, bytes_out = each.pop("fcall"), each.pop("in"), each.pop("out")
    rows = sorted((-n, name) for name, n in each.items() if n >= 0.1 and name != "info")
    inside = ", ".join(f"{name} {-n:.1f}" for n, name in rows)
    total = -sum(n for n, _ in rows)
    return f"{calls:.1f} calls, {bytes_in:.0f} bytes in, {bytes_out:.0f} out, {total:.1f} commands: {inside}"


# -- instructions ------------------------------------------------------------------------------------------------------

_FUNCTIONS = {"function": "luaCallFunction", "commands": "scriptCall", "log": "feedAppendOnlyFile"}
"""Functions of redis-server whose inclusive counts the rows are made from. A command that a script runs logs nothing
itself: that is done behind the script."""


class Valgrind:
    """A redis-server under callgrind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_ports(1)[0]
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        server = ["redis-server", "--port", str(self.port), "--dir", str(folder), "--save", "", *OPTIONS]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*tool, *server], stdout=log, stderr=log)
        self.client = redis_client.Redis(port=self.port, socket_timeout=PATIENCE)
        self._dumps = 0
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                self.client.ping()
            except redis_client.ConnectionError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("redis-server does not start under valgrind")

    def since_last(self) -> dict[str, int]:
        """Instructions since the last time, with what each function and those that it calls used of them."""
        self._dumps += 1
        subprocess.run(["callgrind_control", "-d", str(self._process.pid)], capture_output=True, check=True)
        command = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", f"{self._folder}/out.{self._dumps}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = {"": 0}
        for line in text.splitlines():
            match = re.match(r"\s*([\d,]+) .*?(?:\?\?\?:(\w+)|(PROGRAM TOTALS))", line)
            if match:
                found.setdefault(match[2] or "", 0)
                found[match[2] or ""] += int(match[1].replace(",", ""))
        return found

    def stop(self) -> None:
        self.client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


async def _instructions(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        server = Valgrind(Path(name))
        try:
            url = f"redis://127.0.0.1:{server.port}/0"
            async with RedisWorld(url, server.client.flushall, timeout=PATIENCE) as world:
                opens = Opens(world)
                for step in opens.lap(WARM_UP).values():
                    await step()
                await asyncio.to_thread(server.since_last)
                for who, known in (("of new participants", False), ("of known ones", True)):
                    for what, step in opens.lap(count, known=known).items():
                        await world.step(0.001)
                        await step()
                        counts = await asyncio.to_thread(server.since_last)
                        print(f"{what} {who}: {_split(counts, count)}")
        finally:
            server.stop()


def _split(counts: dict[str, int], count: int) -> str:
    total = counts[""]
    function, commands, log = (counts.get(name, 0) for name in _FUNCTIONS.values())
    rows = {"Lua": function - commands, "commands": commands, "log": log, "the rest": total - function - log}
    inner = {
        name.removesuffix("Command"): n for name, n in counts.items() if re.fullmatch("[hlrsxz][a-z]+Command", name)
    }
    rows |= dict(sorted(inner.items(), key=lambda row: -row[1])[:6])
    parts = ", ".join(f"{name} {n / count / 1000:.0f}" for name, n in rows.items())
    return f"{total / count / 1000:.0f} thousand: {parts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="opens of a lap")
    parser.add_argument("--laps", type=int, default=9)
    parser.add_argument("--instructions", action="store_true")
    options = parser.parse_args()
    if options.instructions:
        uvloop.run(_instructions(options.count))
        return
    with single(*OPTIONS) as server:
        uvloop.run(_cpu(server, options.count, options.laps))


if __name__ == "__main__":
    main()
