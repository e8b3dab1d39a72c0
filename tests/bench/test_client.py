"""One simulated device, and many of them at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from greenroom.bench.client import BenchClient, RequestRefusedError, Target, abandon, close_many, in_flight, open_many
from greenroom.bench.dialect import GreenroomDialect, Said
from greenroom.bench.wire import ConnectFailedError
from tests.bench.target import Progress, target
from tests.support.patience import until


async def test_a_device_opens_asks_and_closes() -> None:
    async with target(1) as place:
        device = BenchClient(place, 0)
        await device.open()
        assert b'"session":{' in device.reply
        assert len(place.connections) == 1
        assert (await device.ask(place.dialect.echo())).startswith(b'{"id":2,"result":')
        await device.close()
        assert not place.connections
        with pytest.raises(ConnectFailedError, match="lost with 1000"):
            await device.ask(place.dialect.echo())


async def test_what_the_service_refuses_is_raised_with_its_words() -> None:
    async with target(1) as place:
        place.tokens = ["no.valid.token"]
        with pytest.raises(RequestRefusedError, match='"error":{"code":'):
            await BenchClient(place, 0).open()


async def test_what_waits_for_an_answer_learns_that_its_connection_was_lost() -> None:
    async with target(1) as place:
        device = BenchClient(place, 0)
        await device.open()
        assert device.connection is not None
        asking = asyncio.create_task(device.ask(b'{"jsonrpc":"2.0","method":"ping","params":{}}'))  # nothing answers it
        await asyncio.sleep(0)
        device.connection.abort()
        with pytest.raises(ConnectFailedError, match="lost with 1006"):
            await asking


async def test_notices_are_given_to_whoever_wants_them() -> None:
    received: list[tuple[int, bytes]] = []
    async with target(2) as place:
        (watcher,) = await open_many(
            place, [1], on_notice=lambda device, message: received.append((device.number, message)), errors=Counter()
        )
        await watcher.ask(place.dialect.watch(["bench-0"]))
        other = BenchClient(place, 0)
        await other.open()
        await until(lambda: received)
        assert received[0][0] == 1
        assert b'"bench-0"' in received[0][1]
        await close_many([watcher, other])


async def test_many_are_opened_and_those_that_fail_are_counted() -> None:
    errors: Counter[str] = Counter()
    async with target(5) as place:
        place.tokens = [*place.tokens[:3], "no", "no"]
        devices = await open_many(place, range(5), errors=errors)
        assert sorted(one.number for one in devices) == [0, 1, 2]
        assert [name.partition(":")[0] for name in errors] == ["RequestRefusedError"]
        assert errors.total() == 2
        await close_many(devices)
        await abandon(place)
        assert not place.connections


async def test_so_many_at_a_time_and_no_more() -> None:
    watcher = Progress()
    place = Target("127.0.0.1", 1, (), (), watcher=watcher)
    at_once: list[int] = []
    running = 0

    async def work(number: int) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0)
        running -= 1
        if number % 10 == 0:
            raise OSError("no route")

    errors: Counter[str] = Counter()
    timeline = await in_flight(place, range(200), 7, work, errors)
    assert max(at_once) == 7
    assert errors == {"OSError: no route": 20}
    assert [count for _, count in timeline] == list(range(2, 201, 2))
    assert [at for at, _ in timeline] == sorted(at for at, _ in timeline)
    assert watcher.count == 200


class Polite(GreenroomDialect):
    """Of a server that greets first, and asks by a message whether its client is there."""

    waits = True
    pong = b"pong"

    def hello(self, token: str, number: int) -> bytes:
        return f"hello {token}".encode()

    def kind(self, message: bytes) -> Said:
        return {b"welcome": Said.WELCOME, b"ping": Said.PING}.get(message, Said.DONE)


@asynccontextmanager
async def polite_server(received: list[str]) -> AsyncIterator[int]:
    """Its port. received: what clients said."""

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("welcome")
        received.append(await socket.receive_str())
        await socket.send_str("ping")
        received.append(await socket.receive_str())
        await socket.send_str("done")
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get(Polite.path, talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_server_that_greets_and_pings_by_message_is_answered() -> None:
    received: list[str] = []
    async with polite_server(received) as port:
        place = Target("127.0.0.1", port, ["t"], ["anna"], dialect=Polite())
        device = BenchClient(place, 0)
        await device.open()
        assert (received, device.reply) == (["hello t", "pong"], b"done")
        await device.close()
