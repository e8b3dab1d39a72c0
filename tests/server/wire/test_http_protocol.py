"""Plain HTTP on the service's port, and how a connection is given back in the middle of it."""

from __future__ import annotations

import logging

import pytest

from tests.server.raw_client import GET, HALVES, TEXT, close_frame, frame, handshake, hello, seen, serving
from tests.support.patience import until


async def test_http_goes_to_aiohttp() -> None:
    async with serving() as running, running.client() as client:
        await client.send(GET)
        assert seen(await client.response()) == {"path": "/healthz", "address": "127.0.0.1", "body": 0}


async def test_http_is_kept_alive_and_pipelined() -> None:
    async with serving() as running, running.client() as client:
        await client.send(GET * 3)
        await client.send(GET)
        for _ in range(4):
            assert seen(await client.response())["path"] == "/healthz"


async def test_a_body_that_looks_like_a_handshake_is_a_body() -> None:
    inside = handshake()
    post = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(inside)
    async with serving() as running, running.client() as client:
        await client.send(post + inside, post, inside)
        for _ in range(2):
            assert seen(await client.response())["body"] == len(inside)
        assert running.requests == []


async def test_a_large_body_after_an_idle_time_is_not_a_head() -> None:
    body = b"x" * 100_000
    post = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    async with serving() as running, running.client() as client:
        for _ in range(3):
            await client.send(post, body[:50_000], body[50_000:])
            assert seen(await client.response())["body"] == 100_000


async def test_a_body_after_its_answer_is_not_a_head() -> None:
    async with serving() as running, running.client() as client:
        await client.send(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n")
        assert seen(await client.response()) == {"path": "/unread"}
        await client.send(b"x" * 30_000, b"x" * 30_000)
        await client.send(GET)
        assert seen(await client.response())["path"] == "/healthz"


async def test_upgrades_to_other_protocols_are_plain_requests() -> None:
    async with serving() as running, running.client() as client:
        await client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert seen(await client.response())["path"] == "/x"


@pytest.mark.parametrize("early", [b"", frame(TEXT, b"early")], ids=["alone", "with a frame behind it"])
@pytest.mark.parametrize("requests_before", [1, 3])
async def test_an_upgrade_as_a_later_request(early: bytes, requests_before: int) -> None:
    async with serving() as running, running.client() as client:
        for _ in range(requests_before):
            await client.send(GET)
            await client.response()
        await client.send(handshake() + early)
        assert (await client.response()).status == 101
        if early:
            assert await client.event() == ("text", b"early")
        await hello(client)
        await client.send(close_frame(4000))
        assert await client.closed_with() == ([], 4000)


@pytest.mark.uvloop
async def test_an_upgrade_pipelined_behind_requests() -> None:
    """The answers come in order, then the 101, then the frames that were sent before any of them."""
    async with serving() as running, running.client() as client:
        await client.send(GET + GET + handshake() + frame(TEXT, b"early") + frame(TEXT, b"x" * 30_000))
        for status in (200, 200, 101):
            assert (await client.response()).status == status
        assert await client.event() == ("text", b"early")
        assert await client.event() == ("text", b"x" * 30_000)
        await hello(client)


async def test_an_upgrade_behind_a_body() -> None:
    post = b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with serving() as running, running.client() as client:
        await client.send(post + handshake())
        assert seen(await client.response())["body"] == 5
        assert (await client.response()).status == 101
        await hello(client)


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES.keys())
async def test_a_client_that_leaves_in_the_middle_is_forgotten(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as running:
        for how in ("close", "half close", "reset"):
            async with running.client() as client:
                await client.send(sent)
                if how == "reset":
                    client.abort()
                elif how == "half close":
                    await client.half_close()
                    assert await client.events() == [("eof", None)]
        await until(lambda: not running.door.visitors)
        assert running.door.limits.connections("127.0.0.1") == 0
    assert "Traceback" not in caplog.text
