"""One client that misbehaves at line speed, and what its neighbours notice (promise 10).

Each attack is one client's: it connects, misbehaves until it is cut off, and comes back at once. `tests/acceptance`
measures what it costs the service and how it is cut off; here, in `make bench`, the p99 of a good neighbour beside it
is timed. An attack runs in a process of its own: ``python -m benchmarks.noisy_neighbour ATTACK PORT TOKEN SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom.bench.client import BenchClient, Target
from greenroom.bench.dialect import hello, secret
from greenroom.bench.figures import Measurement, Stopwatch
from greenroom.bench.scenarios import finding
from greenroom.bench.wire import ConnectFailedError, frame
from greenroom.messages import PATH, SUBPROTOCOL

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

HALF_OPEN = 200
"""Request heads that never end, at a time."""
SILENT = 50
"""Connections without a hello, at a time."""
FIRST_NEIGHBOUR = 10
"""Tokens from here on are the neighbours'; the attacker has one of those before."""
PAUSE = 0.02
"""Seconds between what the neighbour does: some 36 messages a second, below the 50 that everybody may send."""
_PING, _TEXT_BEGIN, _MORE = 0x89, 0x01, 0x00
_ECHO = frame(b'{"jsonrpc":"2.0","id":2,"method":"ping","params":{}}')
_HEAD = (
    f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Z3JlZW5yb29tIGJlbmNoIQ==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
).encode()


@dataclass
class Attack:
    """What one attacker did so far. ends: how its connections ended, by close code or HTTP status; 0: without one."""

    port: int
    token: str
    ends: Counter[int] = field(default_factory=Counter)
    bytes_sent: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection, until `hang_up`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=64 * 1024)
        self._writers.append(writer)
        return reader, writer

    def hang_up(self) -> None:
        """Drop all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def connect(self, *, session: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A WebSocket, with a session where wanted; what came until then was read."""
        reader, writer = await self.dial()
        writer.write(_HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        if session:
            writer.write(frame(hello(self.token, secret())))
            await reader.readexactly(4)
        return reader, writer

    async def pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Write the same again and again, as fast as the line takes it, until it is cut off; read what comes."""
        reading = asyncio.ensure_future(_end_of(reader))
        try:
            while not reading.done():
                writer.write(data)
                self.bytes_sent += len(data)
                with suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0)
            self.ends[await reading] += 1
        finally:
            reading.cancel()


async def _end_of(reader: asyncio.StreamReader) -> int:
    """Reads to the end; the code of the Close that came, the status of a refusal, or 0."""
    tail = b""
    with suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            tail = (tail + chunk)[-4096:]
    return code_in(tail)


def code_in(tail: bytes) -> int:
    """The close code of the last frame, the status of an HTTP answer, or 0."""
    if tail.startswith(b"HTTP/1.1 "):
        return int(tail[9:12])
    for at in range(len(tail) - 2, -1, -1):
        if tail[at] == 0x88 and tail[at + 1] == len(tail) - at - 2:
            return int.from_bytes(tail[at + 2 : at + 4])
    return 0


async def control_frames(attack: Attack) -> None:
    """Pings with the largest payload."""
    await attack.pour(*await attack.connect(session=True), frame(b"x" * 125, _PING) * 64)


async def messages(attack: Attack) -> None:
    """Requests, far beyond 50 a second."""
    await attack.pour(*await attack.connect(session=True), _ECHO * 64)


async def fragments(attack: Attack) -> None:
    """A message in pieces of one byte, without an end."""
    await attack.pour(*await attack.connect(session=True), frame(b" ", _TEXT_BEGIN) + frame(b" ", _MORE) * 256)


async def no_hello(attack: Attack) -> None:
    """Connections on which nothing is said."""

    async def one() -> None:
        reader, _ = await attack.connect(session=False)
        attack.ends[await _end_of(reader)] += 1

    await asyncio.gather(*(one() for _ in range(SILENT)))


async def half_open(attack: Attack) -> None:
    """Request heads of 2 KiB that never end."""

    async def one() -> None:
        reader, writer = await attack.dial()
        writer.write(_HEAD + b"X-Slow: " + b"a" * 2048)
        attack.ends[await _end_of(reader)] += 1

    await asyncio.gather(*(one() for _ in range(HALF_OPEN)))


async def greedy(attack: Attack) -> None:
    """Asks for the longest answers and reads none."""
    ids = ",".join(f'"{number:032x}"' for number in range(500))
    ask = f'{{"jsonrpc":"2.0","id":3,"method":"participants.get","params":{{"ids":[{ids}]}}}}'.encode()
    reader, writer = await attack.connect(session=True)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    try:
        while not writer.is_closing():
            writer.write(frame(ask) * 4)
            attack.bytes_sent += len(ask) * 4
            await asyncio.wait_for(writer.drain(), 0.3)
            await asyncio.sleep(0.02)
    except (ConnectionError, TimeoutError):
        pass
    with suppress(RuntimeError):
        reader._transport.resume_reading()  # type: ignore[attr-defined]
    attack.ends[await _end_of(reader)] += 1


ATTACKS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    "control-frames": control_frames,
    "messages": messages,
    "fragments": fragments,
    "no-hello": no_hello,
    "half-open": half_open,
    "greedy": greedy,
}


async def run(name: str, attack: Attack, seconds: float) -> None:
    """Attack, and come back at once when cut off, for so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await ATTACKS[name](attack)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass  # cut off while it connected
                finally:
                    attack.hang_up()


# -- the bench --------------------------------------------------------------------------------------------------------


async def beside(target: Target, *, attack: str | None, seconds: float) -> Measurement:
    """A good neighbour pings and, one time in five, opens and closes, beside an attack; None: beside nothing."""
    stopwatch, errors = Stopwatch(), Counter[str]()
    latencies: list[float] = []
    steady = BenchClient(target, 0)
    await steady.open()
    attacker = None if attack is None else _attacker(attack, target, seconds + 1.0)
    loop = asyncio.get_running_loop()
    target.begin()
    stopwatch.start()
    turn = 0
    while stopwatch.elapsed() < seconds:
        at = loop.time()
        try:
            if turn % 5:
                await steady.ask(target.dialect.echo())
            else:
                device = BenchClient(target, FIRST_NEIGHBOUR + turn)
                await device.open()
                await device.close()
            latencies.append(loop.time() - at)
        except (ConnectFailedError, OSError) as error:
            errors[type(error).__name__] += 1
        turn += 1
        await asyncio.sleep(PAUSE)
    stopwatch.stop()
    target.end()
    found = finding("neighbours", {"attack": attack or "none"}, latencies, stopwatch, errors)
    if attacker is not None:
        said, _ = await asyncio.to_thread(attacker.communicate)
        found.more.update(json.loads(said))
    await steady.close()
    return found


def _attacker(name: str, target: Target, seconds: float) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.noisy_neighbour",
        name,
        str(target.port),
        target.tokens[2],
        str(seconds),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def job(bench: Bench) -> None:
    """Each attack, and none, against a service with the default limits."""
    from functools import partial

    from benchmarks.servers import running

    limits = {"GREENROOM_MESSAGES_PER_SECOND": "50", "GREENROOM_MESSAGES_BURST": "100"}
    for attack in (None, *ATTACKS):
        with running(bench.world, "greenroom", env=limits) as subject:
            name = f"neighbours-{attack or 'none'}"
            found = bench.against(subject, name, "greenroom", 0, partial(beside, attack=attack, seconds=5.0))
        bench.say(f"  {attack or 'none'}: p99 {found.finding.latency['p99']} ms, {found.finding.more}")


def main() -> None:
    """An attack in a process of its own; prints how its connections ended."""
    name, port, token, seconds = sys.argv[1:]
    attack = Attack(int(port), token)
    asyncio.run(run(name, attack, float(seconds)))
    print(json.dumps({"ends": {str(code): count for code, count in attack.ends.items()}, "sent": attack.bytes_sent}))


if __name__ == "__main__":
    main()


__all__ = ["ATTACKS", "Attack", "beside", "code_in", "job", "run"]
