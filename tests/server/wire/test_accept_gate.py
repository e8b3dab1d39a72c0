"""Who comes in a herd waits in the kernel; who says nothing holds nobody up for long."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom.server.wire import accept_gate
from greenroom.server.wire.accept_gate import AT_MOST, YOUNG, AcceptGate
from tests.server.raw_client import RawClient, RunningDoor, close_frame, handshake, serving
from tests.support.patience import until

BOTH_LOOPS = pytest.mark.parametrize(
    "loop_name", [pytest.param("uvloop", marks=pytest.mark.uvloop), "asyncio"], ids=["uvloop", "asyncio"]
)
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
