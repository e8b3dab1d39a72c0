"""One port: which request goes where, how long a head may take, who it comes from, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest

from greenroom.engines.clock import ManualClock
from greenroom.server.wire.addresses import Limits
from greenroom.server.wire.interface import Handler, Refusal, UpgradeRequest, WebSocketOptions
from tests.server.raw_client import (
    GET,
    HALVES,
    LARGE,
    SLOT,
    TEXT,
    RawClient,
    Response,
    close_frame,
    fragments,
    frame,
    handshake,
    hello,
    idle,
    seen,
    serving,
)
from tests.support.patience import PATIENCE, until

BRIEF = WebSocketOptions(head_timeout=0.05, close_timeout=0.5)
LOOPBACK = Limits(trusted_proxies=["127.0.0.1"])


# --- HTTP ------------------------------------------------------------------------------------------------------------


async def test_at_the_end_nobody_waits_for_an_idle_connection() -> None:
    """Each stop of a service that had one took a second."""
    async with serving() as running, running.client() as client:
        await client.send(GET)
        assert (await client.response()).status == 200
        async with asyncio.timeout(PATIENCE):
            await running.door.finish_requests(3600.0)
        assert await client.events() == [("eof", None)]


# --- upgrades --------------------------------------------------------------------------------------------------------


async def test_a_handshake_in_pieces() -> None:
    async with serving() as running, running.client() as client:
        await client.send(handshake(), chop=1)
        assert (await client.response()).status == 101
        await hello(client)


async def test_what_follows_the_head_in_the_same_packet_is_read() -> None:
    async with serving() as running, running.client() as client:
        await client.send(handshake() + frame(TEXT, b"one") + fragments(TEXT, [b"t", b"wo"]) + frame(TEXT, b"3")[:3])
        await client.send(frame(TEXT, b"3")[3:])
        assert (await client.response()).status == 101
        for text in (b"one", b"two", b"3"):
            assert await client.event() == ("text", text)


@pytest.mark.uvloop
async def test_much_after_the_head_is_read() -> None:
    many = frame(TEXT, b"x" * 1_000) * 200
    async with serving() as running, running.client() as client:
        await client.send(handshake() + many)
        assert (await client.response()).status == 101
        for _ in range(200):
            assert await client.event() == ("text", b"x" * 1_000)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake("/elsewhere"), 404),
        (handshake(subprotocol=None), 400),
        (handshake(sec_websocket_version="8"), 426),
        (handshake(sec_websocket_key="x"), 400),
        (handshake(drop=["upgrade", "connection"]), 426),
        (handshake(method="POST", drop=["upgrade"], content_length="0"), 405),
    ],
)
async def test_a_later_handshake_is_refused_like_a_first_one(request_: bytes, status: int) -> None:
    async with serving() as running, running.client() as client:
        await client.send(GET)
        await client.response()
        await client.send(request_)
        response = await client.response()
        assert response.status == status
        assert json.loads(response.body)["error_code"] == status
        assert await client.events() == [("eof", None)]
        assert running.requests == []


async def test_the_service_can_refuse() -> None:
    refusal = Refusal.error(503, error="temporarily_unavailable", description="Not now.", headers={"Retry-After": "20"})
    refused: list[Response] = []
    for before in (b"", GET):
        async with serving(answer=lambda _request: refusal) as running, running.client() as client:
            if before:
                await client.send(before)
                await client.response()
            await client.send(handshake())
            response = await client.response()
            assert (response.status, response.headers["retry-after"]) == (503, "20")
            assert response.headers["connection"] == "close"
            refused.append(response)
            assert json.loads(response.body)["error"] == "temporarily_unavailable"
            assert await client.events() == [("eof", None)]
            assert running.door.limits.connections("127.0.0.1") <= 1
    assert refused[0] == refused[1]


async def test_a_factory_that_fails_is_a_500_and_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_request: UpgradeRequest) -> Handler | Refusal:
        raise RuntimeError("a bug")

    async with serving(answer=fail) as running:
        async with running.client() as client:
            await client.send(handshake())
            assert (await client.response()).status == 500
        async with running.client() as client:
            await client.send(GET)
            assert (await client.response()).status == 200
    assert "sessions factory failed" in caplog.text


async def test_the_request_as_the_service_sees_it() -> None:
    sent = handshake(
        "/v1/session?node=b",
        origin="https://app.example",
        cookie="secret=1",
        authorization="Bearer secret",
        extra=["User-Agent: test", "X-Trace: 1", "x-trace: 2"],
        sec_websocket_protocol="mqtt, greenroom.v1",
    )
    async with serving() as running, running.client() as client:
        await client.send(sent)
        assert (await client.response()).status == 101
        request = running.requests[0]
        websocket = running.handlers[0].websocket
        assert websocket is not None
        assert (request.path, request.query, request.address) == ("/v1/session", "node=b", "127.0.0.1")
        assert request.subprotocols == ("mqtt", "greenroom.v1")
        assert request.headers == {"origin": "https://app.example", "user-agent": "test", "x-trace": "1, 2"}
        assert (websocket.path, websocket.address, websocket.headers) == ("/v1/session", "127.0.0.1", request.headers)


# --- heads that do not come ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES.keys())
async def test_half_a_head_is_answered_with_408(sent: bytes) -> None:
    async with serving(BRIEF) as running, running.client() as client:
        await client.send(sent)
        assert (await client.response()).status == 408
        assert await client.events() == [("eof", None)]


async def trickle(client: RawClient, clock: ManualClock) -> None:
    """A byte of a head every few milliseconds of the clock, until the server has had enough."""
    for letter in b"GET / HTTP/1.1\r\nX-Filler: " + b"a" * 2_000:
        if client.reader.at_eof() or client.writer.is_closing():
            return
        client.writer.write(bytes([letter]))
        clock.advance(0.005)
        await asyncio.sleep(0.005)


async def test_a_trickled_head_is_cut_off_on_time() -> None:
    clock = ManualClock()
    async with serving(BRIEF, clock=clock.monotonic) as running, running.client() as client:
        started = clock.monotonic()
        task = asyncio.create_task(trickle(client, clock))
        assert (await client.response()).status == 408
        assert clock.monotonic() - started < 2.0
        task.cancel()


async def test_a_trickled_later_head_is_cut_off_too() -> None:
    clock = ManualClock()
    async with serving(BRIEF, clock=clock.monotonic) as running, running.client() as client:
        await client.send(GET)
        await client.response()
        task = asyncio.create_task(trickle(client, clock))
        assert (await client.response()).status == 408
        task.cancel()


async def test_idle_between_requests_is_not_a_late_head() -> None:
    clock = ManualClock()
    async with serving(BRIEF, clock=clock.monotonic) as running, running.client() as client:
        await client.send(GET)
        await client.response()
        await idle(clock)
        await client.send(GET[:10])
        await client.send(GET[10:])
        assert (await client.response()).status == 200
        await idle(clock)
        await client.send(handshake())
        assert (await client.response()).status == 101
        await idle(clock)
        await hello(client)


async def test_a_later_head_of_more_than_16_kib_is_refused() -> None:
    async with serving() as running, running.client() as client:
        await client.send(GET)
        await client.response()
        await client.send(b"GET / HTTP/1.1\r\n" + b"X-Filler: %s\r\n" * 100 % ((b"a" * 200,) * 100))
        assert (await client.response()).status == 431
        assert await client.events() == [("eof", None)]


MANY_FIELDS = b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(100)) + b"\r\n"
LARGE_HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"X-Filler: %s\r\n" % (b"a" * 8_100) * 3 + b"\r\n"


@pytest.mark.parametrize("head", [MANY_FIELDS, LARGE_HEAD], ids=["101 fields", "24 KB"])
@pytest.mark.parametrize(
    ("before", "apart"), [(b"", False), (GET, False), (GET, True)], ids=["1st", "pipelined", "later"]
)
async def test_every_head_has_16_kib_and_100_fields(head: bytes, before: bytes, apart: bool) -> None:
    """Whether it is the first, comes later, or in one piece with the one before."""
    async with serving() as running, running.client() as client:
        await client.send(before if apart else before + head)
        if before:
            assert (await client.response()).status == 200
        if apart:
            await client.send(head)
        response = await client.response()
        assert (response.status, json.loads(response.body)["error_reason"]) == (431, "Head_too_large")
        assert await client.events() == [("eof", None)]


@pytest.mark.parametrize("host", [b"a b", b"a, b", b"x:port", b"[::1", b"a/b", b"\xc3\xa9"])
async def test_an_invalid_host_is_refused_on_plain_http_too(host: bytes) -> None:
    async with serving() as running, running.client() as client:
        await client.send(b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert (await client.response()).status == 400
        assert await client.events() == [("eof", None)]


@pytest.mark.parametrize("host", [b"a", b"a:80", b"127.0.0.1:7465", b"[::1]:80", b"xn--e1afmkfd.example", b"a_b", b""])
async def test_a_valid_host_is_taken(host: bytes) -> None:
    async with serving() as running, running.client() as client:
        await client.send(b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert seen(await client.response())["path"] == "/x"


@pytest.mark.parametrize("target", [b"/healthz", b"/v1/session"])
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "later"])
async def test_a_request_line_without_a_version_is_malformed(target: bytes, before: bytes) -> None:
    async with serving() as running, running.client() as client:
        if before:
            await client.send(before)
            await client.response()
        await client.send(b"GET " + target + b"\r\n\r\n")
        assert (await client.response()).status == 400
        assert await client.events() == [("eof", None)]


async def test_a_client_that_reads_nothing_of_an_answer_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(WebSocketOptions(answer_timeout=0.05)) as running, running.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" + GET * 10)
        await until(lambda: not running.door.visitors and bool(caplog.records))
    assert "an answer is not being read: address=127.0.0.1" in caplog.text


async def test_a_client_that_reads_slowly_gets_its_answer() -> None:
    """As long as it reads something within `answer_timeout`."""
    clock = ManualClock()
    options = WebSocketOptions(answer_timeout=0.2)
    async with serving(options, clock=clock.monotonic) as running, running.client() as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(b"\r\n\r\n")
            got = 0
            while got < LARGE:
                got += len(await client.reader.read(LARGE // 10))
                clock.advance(0.15)
                await asyncio.sleep(3 * SLOT)


async def test_the_kernel_keeps_little_of_what_is_not_read() -> None:
    """256 KiB; 4 MB where nothing bounds it."""
    async with serving() as running, running.client() as client:
        await client.send(GET)
        await client.response()
        (visitor,) = running.door.visitors
        assert visitor.transport is not None
        held = visitor.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert held <= 262_144


# --- who it is -------------------------------------------------------------------------------------------------------


async def test_an_address_has_its_share_of_connections() -> None:
    async with serving(limits=Limits(connections_per_address=2)) as running:
        async with running.session() as first, running.client() as second:
            await second.send(GET)
            await second.response()
            async with running.client() as third:
                response = await third.response()
                assert (response.status, response.headers["retry-after"]) == (429, "10")
                assert await third.events() == [("eof", None)]
            assert running.door.limits.connections("127.0.0.1") == 2
            await first.send(close_frame(1000))
            assert (await first.closed_with())[1] == 1000
        await until(lambda: not running.door.limits.connections("127.0.0.1"))
        async with running.session() as again:
            await hello(again)


FORWARDED: dict[str, tuple[bytes, str]] = {
    "a header": (b"X-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7"),
    "a forged one in front": (b"X-Forwarded-For: 203.0.113.1, 198.51.100.7\r\n", "198.51.100.7"),
    "two headers": (b"X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7"),
    "two of our proxies": (b"X-Forwarded-For: 198.51.100.7, 127.0.0.1\r\n", "198.51.100.7"),
    "none": (b"", "127.0.0.1"),
}


def with_header(request: bytes, header: bytes) -> bytes:
    return request.replace(b"Host: localhost\r\n", b"Host: localhost\r\n" + header, 1).replace(
        b"host: localhost\r\n", b"host: localhost\r\n" + header, 1
    )


@pytest.mark.parametrize(("header", "address"), FORWARDED.values(), ids=FORWARDED.keys())
async def test_a_trusted_proxy_forwards_the_address(header: bytes, address: str) -> None:
    async with serving(limits=LOOPBACK) as running, running.client() as client:
        await client.send(with_header(GET, header))
        assert seen(await client.response())["address"] == address
        await client.send(with_header(handshake(), header))
        assert (await client.response()).status == 101
        assert running.requests[0].address == address
        async with running.client() as first:
            await first.send(with_header(handshake(), header))
            assert (await first.response()).status == 101
            assert running.requests[1].address == address


async def test_nobody_else_forwards_anything() -> None:
    async with serving() as running, running.client() as client:
        await client.send(with_header(GET, b"X-Forwarded-For: 198.51.100.7\r\n"))
        assert seen(await client.response())["address"] == "127.0.0.1"
        await client.send(with_header(handshake(), b"X-Forwarded-For: 198.51.100.7\r\n"))
        assert (await client.response()).status == 101
        assert running.requests[0].address == "127.0.0.1"


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "later"])
async def test_what_the_service_refuses_does_not_count(before: bytes) -> None:
    limits = Limits(trusted_proxies=["127.0.0.1"])
    refusal = Refusal.error(503, description="Not now.")
    async with serving(limits=limits, answer=lambda _request: refusal) as running, running.client() as client:
        if before:
            await client.send(before)
            await client.response()
        await client.send(with_header(handshake(), b"X-Forwarded-For: 198.51.100.7\r\n"))
        assert (await client.response()).status == 503
        assert running.requests[0].address == "198.51.100.7"
        assert limits.connections("198.51.100.7") == 0


async def test_the_forwarded_address_has_the_share() -> None:
    limits = Limits(trusted_proxies=["127.0.0.1"], connections_per_address=1)
    forwarded = with_header(handshake(), b"X-Forwarded-For: 198.51.100.7\r\n")
    other = with_header(handshake(), b"X-Forwarded-For: 198.51.100.8\r\n")
    async with (
        serving(limits=limits) as running,
        running.client() as one,
        running.client() as two,
        running.client() as three,
    ):
        for client, sent, status in ((one, forwarded, 101), (two, forwarded, 429), (three, other, 101)):
            await client.send(sent)
            assert (await client.response()).status == status
        async with running.client() as later:
            await later.send(GET)
            await later.response()
            await later.send(forwarded)
            assert (await later.response()).status == 429
        await one.send(close_frame(1000))
        assert (await one.closed_with())[1] == 1000
        one.writer.close()
        await until(lambda: not limits.connections("198.51.100.7"))
        async with running.client() as again:
            await again.send(forwarded)
            assert (await again.response()).status == 101
        assert limits.connections("198.51.100.8") == 1
    assert limits.connections("198.51.100.7") == limits.connections("198.51.100.8") == 0


PROXIED = {
    "version 1": b"PROXY TCP4 198.51.100.7 192.0.2.2 56324 443\r\n",
    "version 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([198, 51, 100, 7, 192, 0, 2, 2, 0, 1, 0, 2]),
}


@pytest.mark.parametrize("chop", [None, 1])
@pytest.mark.parametrize("header", PROXIED.values(), ids=PROXIED.keys())
async def test_a_proxy_header_of_a_trusted_proxy(header: bytes, chop: int | None) -> None:
    limits = Limits(trusted_proxies=["127.0.0.1"])
    async with serving(limits=limits) as running, running.client() as client:
        await client.send(header + GET, chop=chop)
        assert seen(await client.response())["address"] == "198.51.100.7"
        assert limits.connections("198.51.100.7") == 1
        await client.send(handshake())
        assert (await client.response()).status == 101
        assert running.requests[0].address == "198.51.100.7"
        assert limits.connections("198.51.100.7") == 1
    assert limits.connections("198.51.100.7") == 0


async def test_behind_a_proxy_header_only_trusted_addresses_forward() -> None:
    spoofed = with_header(GET, b"X-Forwarded-For: 203.0.113.1\r\n")
    async with serving(limits=LOOPBACK) as running, running.client() as client:
        await client.send(PROXIED["version 1"] + spoofed)
        assert seen(await client.response())["address"] == "198.51.100.7"


async def test_a_proxy_header_counts_for_its_address() -> None:
    limits = Limits(trusted_proxies=["127.0.0.1"], connections_per_address=1)
    async with serving(limits=limits) as running, running.client() as one, running.client() as two:
        await one.send(PROXIED["version 2"] + handshake())
        assert (await one.response()).status == 101
        await two.send(PROXIED["version 1"] + handshake())
        assert (await two.response()).status == 429
    assert limits.connections("198.51.100.7") == 0


@pytest.mark.parametrize(
    "sent",
    [b"PROXY TCP4 nobody 192.0.2.2 1 2\r\n", b"PROXY TCP4 " + b"1" * 200, b"\r\n\r\n\x00\r\nQUIT\n\x51\x11\x00\x00"],
)
async def test_a_malformed_proxy_header_is_refused(sent: bytes) -> None:
    async with serving(limits=LOOPBACK) as running, running.client() as client:
        await client.send(sent + GET)
        assert (await client.response()).status == 400


async def test_a_trusted_proxy_that_says_nothing_is_late_too() -> None:
    async with serving(BRIEF, limits=LOOPBACK) as running, running.client() as client:
        await client.send(b"PROXY TCP4")
        assert (await client.response()).status == 408


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_a_refused_client_that_goes_on_sending_is_cut_off() -> None:
    async with serving(WebSocketOptions(close_timeout=0.05)) as running, running.client() as client:
        await client.send(b"\x00" * 100)
        assert (await client.response()).status == 400
        await client.flood(b"x" * 65_536)
