"""Who comes in a herd waits in the kernel; who says nothing holds nobody up for long."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.server.wire import accept_gate
from greenroom.server.wire.accept_gate import AT_MOST, YOUNG, AcceptGate, GatedListener
from greenroom.server.wire.interface import WebSocketOptions
from tests.server.raw_client import RawClient, RunningDoor, close_frame, handshake, serving
from tests.support.patience import PATIENCE, until

BOTH_LOOPS = pytest.mark.parametrize(
    "loop_name", [pytest.param("uvloop", marks=pytest.mark.uvloop), "asyncio"], ids=["uvloop", "asyncio"]
)
make_epoll: Any = getattr(select, "epoll", None)
HTTP = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Times:
    """A clock, and the engine's queue."""

    now = 1_000.0
    queued = 0

    def gate(self) -> AcceptGate:
        return AcceptGate(lambda: self.now, lambda: self.queued)


def test_it_is_full_until_one_is_answered() -> None:
    gate = Times().gate()
    arrivals = [gate.enter() for _ in range(AT_MOST)]
    assert gate.is_full()
    arrivals[50].answered()
    arrivals[50].answered()
    assert not gate.is_full()
    assert gate.unanswered == AT_MOST - 1
    gate.enter()
    assert gate.is_full()


def test_who_is_not_answered_counts_for_a_quarter_of_a_second() -> None:
    times = Times()
    gate = times.gate()
    old = [gate.enter() for _ in range(AT_MOST)]
    times.now += YOUNG
    assert gate.is_full()
    times.now += 0.001
    assert not gate.is_full()
    assert gate.unanswered == 0
    old[0].answered()
    assert gate.unanswered == 0


def test_what_is_answered_is_forgotten() -> None:
    gate = Times().gate()
    for _ in range(1_000):
        assert not gate.is_full()
        gate.enter().answered()
    assert len(gate._arrivals) <= 1


def test_a_long_queue_of_the_engine_closes_it_and_a_few_are_let_in_all_the_same() -> None:
    times = Times()
    gate = times.gate()
    gate.enter()
    times.queued = AT_MOST
    assert gate.is_full()
    times.now += YOUNG
    assert not gate.is_full(), "a health check must get in where the engine stands still"
    gate.enter()
    assert gate.is_full()
    times.queued -= 1
    assert not gate.is_full()


# --- on sockets ---


@contextlib.asynccontextmanager
async def silent(running: RunningDoor, count: int) -> AsyncIterator[None]:
    """Clients that connect and say nothing."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", running.port))
        yield
    finally:
        for one in sockets:
            one.close()


async def accepted(running: RunningDoor, count: int) -> None:
    await until(lambda: len(running.door.visitors) >= count)


async def answered(running: RunningDoor) -> None:
    await until(lambda: not running.door.gate.unanswered)


@BOTH_LOOPS
async def test_a_herd_waits_in_the_kernel(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_gate, "YOUNG", 3_600.0)
    async with serving(backlog=400) as running, silent(running, 300):
        await accepted(running, AT_MOST)
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert AT_MOST <= len(running.door.visitors) < AT_MOST + 16
        for visitor in list(running.door.visitors)[:40]:
            visitor.close()
        await accepted(running, AT_MOST)
        assert len(running.door.visitors) < AT_MOST + 16


@BOTH_LOOPS
async def test_clients_that_say_nothing_do_not_keep_it_closed(loop_name: str) -> None:
    async with serving(backlog=600) as running, silent(running, 500), running.client() as client:
        await client.send(HTTP)
        assert (await client.response()).status == 200
        assert len(running.door.visitors) == 501


@BOTH_LOOPS
async def test_who_is_answered_counts_no_more(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_gate, "YOUNG", 3_600.0)
    async with serving() as running:
        async with running.client() as client:
            await client.send(HTTP)
            await client.response()
            await answered(running)
        async with running.client() as client:
            await client.send(b"\x00")
            assert (await client.response()).status == 400
            await answered(running)
        async with running.client() as client:
            await accepted(running, 1)
            assert running.door.gate.unanswered == 1
            client.abort()
            await answered(running)
        async with running.session():
            assert running.door.gate.unanswered == 0, "a client may be far away: it is not waited for"


@BOTH_LOOPS
async def test_listeners_of_any_kind_share_the_gate(
    loop_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_gate, "YOUNG", 3_600.0)
    async with serving() as running:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "door"))
        server = await running.door.listen(listener)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "door"))
        async with running.client():
            await accepted(running, 2)
            assert running.door.gate.unanswered == 2
            client = RawClient(reader, writer)
            await client.send(handshake())
            assert (await client.response()).status == 101
            assert running.door.gate.unanswered == 1
        writer.close()
        server.close()
        await server.wait_closed()


@BOTH_LOOPS
async def test_systems_without_epoll_serve_on_the_transports_of_the_loop(
    loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "epoll")
    async with serving() as running:
        async with running.client() as client:
            await client.send(HTTP)
            assert (await client.response()).status == 200
        async with running.session() as session:
            await session.send(close_frame(1000))
            assert (await session.closed_with())[1] == 1000


class FullEpoll:
    """An epoll that takes no more connections, as where ``fs.epoll.max_user_watches`` is reached."""

    is_full = False

    def __init__(self) -> None:
        self._epoll = make_epoll()

    def register(self, number: int, events: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._epoll.register(number, events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


@BOTH_LOOPS
async def test_a_connection_that_the_kernel_does_not_watch_is_closed_and_counts_no_more(
    loop_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept_gate, "YOUNG", 3_600.0)
    monkeypatch.setattr(accept_gate, "_PAUSE", 0.01)
    monkeypatch.setattr(select, "epoll", FullEpoll)
    async with serving() as running:
        monkeypatch.setattr(FullEpoll, "is_full", True)
        async with running.client() as client:
            assert await asyncio.wait_for(client.reader.read(), PATIENCE) == b""
        await answered(running)
        assert not running.door.limits._open
        assert "No space left" in caplog.text
        monkeypatch.setattr(FullEpoll, "is_full", False)
        async with running.client() as client:
            await client.send(HTTP)
            assert (await client.response()).status == 200


class Unable:
    """A protocol that fails as it is called first."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        raise RuntimeError("a mistake")

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(bytearray(16))

    def buffer_updated(self, nbytes: int) -> None:
        """Never, if it is closed in time."""

    def eof_received(self) -> bool | None:
        return None

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@BOTH_LOOPS
@pytest.mark.parametrize("has_epoll", [True, False], ids=["epoll", "loop"])
async def test_a_protocol_that_fails_as_it_is_called_first_loses_its_connection(
    loop_name: str, has_epoll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_epoll:
        monkeypatch.delattr(select, "epoll")
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    protocols = [Unable(), Unable()]
    waiting = list(protocols)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    gate = AcceptGate(time.monotonic)
    options = WebSocketOptions()
    listener = GatedListener(listening, gate, lambda _: waiting.pop(), tls=None, options=options, backlog=9)
    try:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*address)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()
        await until(lambda: all(protocol.lost for protocol in protocols))
        assert {str(one.get("exception")) for one in reported} == {"a mistake"}
    finally:
        listener.close()
        await listener.wait_closed()


@BOTH_LOOPS
async def test_it_can_be_closed_while_it_is_full(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_gate, "YOUNG", 3_600.0)
    async with serving(backlog=400) as running, silent(running, 300):
        await accepted(running, AT_MOST)
        await asyncio.sleep(0.01)
        running.server.close()
        running.door.abort_all()
        await until(lambda: not running.door.visitors)
        await asyncio.sleep(0.01)
        assert not running.door.visitors, "nobody is accepted any more"
