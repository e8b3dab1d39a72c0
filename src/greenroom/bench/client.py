"""One simulated device: connects, says hello, waits for answers. Shared by all scenarios."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from greenroom.bench.dialect import Dialect, GreenroomDialect, Said
from greenroom.bench.wire import ConnectFailedError, Dialer, WireConnection, loopback_sources


class RequestRefusedError(Exception):
    """The server answered, and said no. Its message begins with what it said."""


class Watcher(Protocol):
    """Is notified of how far a scenario is: a progress bar, or nothing."""

    def stage(self, name: str, total: int) -> None:
        """A new stage begins, of so many operations."""

    def done(self, count: int, latency: float | None = None) -> None:
        """So many more are done; the last one took so many seconds."""


class Quiet:
    """Shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing is shown."""

    def done(self, count: int, latency: float | None = None) -> None:
        """Nothing is shown."""


def _nothing() -> None:
    return None


@dataclass
class Target:
    """A server under load.

    tokens: one for each participant; scenarios take them from the front. external_ids: of the same participants.
    begin, end: called around the measured part, so that whoever started the server can look at its CPU.
    tls: an SSL context, None: plain. ramp: seconds over which scenarios grow to their width.
    more_ports: of other nodes on the same host, which take turns.
    """

    host: str
    port: int
    tokens: Sequence[str]
    external_ids: Sequence[str]
    dialect: Dialect = field(default_factory=GreenroomDialect)
    watcher: Watcher = field(default_factory=Quiet)
    begin: Callable[[], None] = _nothing
    end: Callable[[], None] = _nothing
    tls: Any = None
    ramp: float = 0.0
    more_ports: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.connections: set[WireConnection] = set()
        """Those that are there now."""
        self.dialer = Dialer(
            self.host,
            (self.port, *self.more_ports),
            path=self.dialect.path,
            subprotocol=self.dialect.subprotocol,
            sources=loopback_sources(self.host),
        )


OnNotice = Callable[["BenchClient", bytes], None]
"""Called with what the server says unasked."""


class BenchClient:
    """One connection and the answer it waits for. on_notice: what the server says unasked."""

    __slots__ = ("_answer", "_loop", "_target", "connection", "number", "on_notice", "reply")

    def __init__(self, target: Target, number: int, on_notice: OnNotice | None = None) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] | None = None
        self.number = number
        self.connection: WireConnection | None = None
        self.on_notice = on_notice
        self.reply = b""
        """The last answer."""

    async def open(self) -> None:
        """Connect and open a session. Raises RequestRefusedError, ConnectFailedError, OSError."""
        await self.dial()
        await self.ask(self._target.dialect.hello(self._target.tokens[self.number], self.number))

    async def dial(self) -> None:
        """Connect, and read the welcome of protocols that have one."""
        if self._target.dialect.waits:
            self._answer = self._loop.create_future()
        connection = await self._target.dialer.dial(self._message, ssl=self._target.tls)
        self.connection = connection
        self._target.connections.add(connection)
        connection.lost.add_done_callback(self._lost)
        if self._answer is not None:
            await self._answer

    async def ask(self, message: bytes) -> bytes:
        """Send a request and wait for its answer. Raises RequestRefusedError; ConnectFailedError where it is lost."""
        connection = self.connection
        assert connection is not None
        if connection.lost.done():
            raise ConnectFailedError(f"lost with {connection.close_code}")
        answer = self._answer = self._loop.create_future()
        connection.send(message)
        self.reply = await answer
        return self.reply

    async def close(self) -> None:
        """Close 1000, and wait until it is over."""
        if self.connection is not None:
            self.connection.close()
            await self.connection.lost

    def _message(self, message: bytes) -> None:
        kind = self._target.dialect.kind(message)
        if kind is Said.DONE or kind is Said.WELCOME:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(message)
        elif kind is Said.NOTICE:
            if self.on_notice is not None:
                self.on_notice(self, message)
        elif kind is Said.PING and self.connection is not None:
            self.connection.send(self._target.dialect.pong)
        elif kind is Said.REFUSED and self._answer is not None and not self._answer.done():
            self._answer.set_exception(RequestRefusedError(message[:200].decode("utf-8", "replace")))

    def _lost(self, code: asyncio.Future[int]) -> None:
        if self.connection is not None:
            self._target.connections.discard(self.connection)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectFailedError(f"lost with {code.result()}"))
            self._answer.exception()  # whoever waited may be gone


async def in_flight(
    target: Target, numbers: Sequence[int], width: int, work: Callable[[int], Any], errors: Counter[str]
) -> list[tuple[float, int]]:
    """Do `work` for each number, `width` at a time. Errors are counted, not raised. What was done when."""
    items = iter(numbers)
    started = time.perf_counter()
    timeline: list[tuple[float, int]] = []
    done = 0
    every = max(1, len(numbers) // 100)

    async def one_after_the_other(delay: float) -> None:
        nonlocal done
        await asyncio.sleep(delay)
        for number in items:
            at = time.perf_counter()
            try:
                await work(number)
            except (ConnectFailedError, RequestRefusedError, OSError) as error:
                errors[f"{type(error).__name__}: {str(error)[:120]}"] += 1
            done += 1
            if done % every == 0:
                now = time.perf_counter()
                timeline.append((round(now - started, 3), done))
                target.watcher.done(every, now - at)

    async with asyncio.TaskGroup() as group:
        workers = min(width, len(numbers))
        for worker in range(workers):
            group.create_task(one_after_the_other(target.ramp * worker / workers))
    return timeline


async def open_many(
    target: Target, numbers: Sequence[int], *, width: int = 64, on_notice: OnNotice | None = None, errors: Counter[str]
) -> list[BenchClient]:
    """Open a session for each number, and keep them."""
    devices: list[BenchClient] = []

    async def one(number: int) -> None:
        device = BenchClient(target, number, on_notice)
        await device.open()
        devices.append(device)

    target.watcher.stage("open", len(numbers))
    await in_flight(target, numbers, width, one, errors)
    return devices


async def close_many(devices: Sequence[BenchClient], limit: float = 30.0) -> None:
    """Close them all with 1000. Harmless where some are gone. limit: seconds; what is left then is dropped."""
    waiting = [device.connection.lost for device in devices if device.connection and not device.connection.lost.done()]
    for number, device in enumerate(devices):
        if device.connection is not None:
            device.connection.close()
        if number % 100 == 99:
            await asyncio.sleep(0)
    if waiting:
        await asyncio.wait(waiting, timeout=limit)
    for device in devices:
        if device.connection is not None:
            device.connection.abort()


async def abandon(target: Target) -> None:
    """Drop every connection that a scenario has left, and see it gone."""
    left = tuple(target.connections)
    for connection in left:
        connection.abort()
    if left:
        await asyncio.wait([connection.lost for connection in left], timeout=5)
