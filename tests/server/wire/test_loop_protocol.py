"""A transport of the event loop, or one of our own, is handed to a protocol that inherits nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import pytest

from greenroom.server.wire.loop_protocol import LoopProtocol, hand_over
from tests.server.wire.test_plain_transport import MANY_BYTES, Protocol, pairs
from tests.support.patience import PATIENCE, until


class Target(Protocol):
    """As the tests of the transport have it; it may be connected here."""

    def __init__(self) -> None:
        super().__init__()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport


async def connected(make: Callable[[], asyncio.BaseProtocol]) -> tuple[asyncio.Transport, socket.socket]:
    """A transport of the loop, and the client's end."""
    ours, client = socket.socketpair()
    client.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(make, sock=ours)
    return transport, client


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_everything_that_happens_to_a_transport_of_the_loop_reaches_the_target(loop: str) -> None:
    target = Target()
    transport, client = await connected(lambda: LoopProtocol(target))
    assert target.transport is transport
    send, running = asyncio.get_running_loop().sock_sendall, asyncio.get_running_loop()
    await send(client, b"hello")
    await until(lambda: target.data == b"hello")
    transport.write(MANY_BYTES)
    await until(lambda: "paused" in target.seen)
    async with asyncio.timeout(PATIENCE):
        left = len(MANY_BYTES)
        while left:
            left -= len(await running.sock_recv(client, 1_000_000))
    await until(lambda: target.seen[-1] != "paused")
    client.shutdown(socket.SHUT_WR)
    await until(lambda: target.lost)
    assert (target.seen[-1], target.lost) == ("eof", [None])
    client.close()


async def test_a_transport_changes_hands_in_the_middle() -> None:
    first, second = Target(), Target()
    transport, client = await connected(lambda: LoopProtocol(first))
    running = asyncio.get_running_loop()
    await running.sock_sendall(client, b"one")
    await until(lambda: first.data == b"one")
    hand_over(transport, second)
    await running.sock_sendall(client, b"two")
    await until(lambda: second.data == b"two")
    transport.close()
    await until(lambda: second.lost)
    assert (first.data, first.lost, second.transport) == (b"one", [], None)
    client.close()


async def test_a_transport_of_our_own_needs_nothing_in_between() -> None:
    async with pairs() as (pair,):
        heir = Target()
        hand_over(cast(asyncio.Transport, pair.transport), heir)
        assert pair.transport.get_protocol() is heir
        hand_over(cast(asyncio.Transport, pair.transport), pair.protocol)
