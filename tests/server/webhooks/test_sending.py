"""Every way in which a receiver can misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from typing import Any

import pytest

from greenroom.server.outbound.lookups import AT_ONCE, NameLookups
from greenroom.server.webhooks import sending
from greenroom.server.webhooks.sending import Sender, retry_after
from greenroom.server.wire.addresses import parse_networks
from tests.server.webhooks.receiver import Answer, answer, drip, flood, garbage, hang, hang_up, receiver
from tests.support.patience import PATIENCE, until

LOOPBACK = parse_networks(["127.0.0.0/8"])


def sender(total: float = 5.0, *, public_only: bool = False, tls: ssl.SSLContext | None = None) -> Sender:
    return Sender(allowed=() if public_only else LOOPBACK, allow_http=True, total_timeout=total, tls=tls)


async def post(url: str, by: Sender) -> sending.DeliveryOutcome:
    try:
        return await by.send(url, b"{}", {"webhook-id": "e1"})
    finally:
        await by.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_is_success(status: int) -> None:
    async with receiver(answer(status)) as there:
        outcome = await post(there.url, sender())
        assert outcome.delivered
        assert outcome.why == ""
        assert there.got[0].headers["webhook-id"] == "e1"


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 418, 429, 500, 502, 503, 599])
async def test_nothing_else_is(status: int) -> None:
    async with receiver(answer(status)) as there:
        outcome = await post(there.url, sender())
        assert not outcome.delivered
        assert not outcome.gone
        assert str(status) in outcome.why


async def test_410_means_gone() -> None:
    async with receiver(answer(410)) as there:
        assert (await post(there.url, sender())).gone


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    async with receiver() as inner, receiver(answer(status, Location=inner.url)) as there:
        outcome = await post(there.url, sender())
        assert not outcome.delivered
        assert "redirect" in outcome.why
        assert inner.got == []


async def test_refused() -> None:
    async with receiver() as there:
        url = there.url
    outcome = await post(url, sender())
    assert (outcome.status, outcome.why) == (None, "the receiver refuses connections or cannot be reached")


@pytest.mark.parametrize("behaviour", [hang, drip])
async def test_no_answer_in_time(behaviour: Answer) -> None:
    async with receiver(behaviour) as there:
        began = time.monotonic()
        outcome = await post(there.url, sender(total=0.4))
        assert time.monotonic() - began < PATIENCE / 2
        assert not outcome.delivered
        assert "no answer within 0.4 s" in outcome.why


async def test_a_body_without_end_costs_no_more_than_its_first_piece() -> None:
    async with receiver(flood) as there:
        began = time.monotonic()
        assert (await post(there.url, sender())).delivered
        assert time.monotonic() - began < PATIENCE / 2


async def test_a_head_without_end_is_refused() -> None:
    async def big_head(_got: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\n")

    async with receiver(big_head) as there:
        outcome = await post(there.url, sender())
        assert not outcome.delivered


@pytest.mark.parametrize("behaviour", [garbage, hang_up])
async def test_no_http(behaviour: Answer) -> None:
    async with receiver(behaviour) as there:
        outcome = await post(there.url, sender())
        assert (outcome.delivered, outcome.status) == (False, None)
        assert outcome.why


async def test_a_certificate_that_nobody_vouches_for_is_refused(self_signed: ssl.SSLContext) -> None:
    async with receiver(tls=self_signed) as there:
        outcome = await post(there.url.replace("http:", "https:"), sender())
        assert (outcome.delivered, outcome.why) == (False, "the receiver's TLS certificate or handshake failed")
        assert there.got == []


async def test_tls_to_a_plain_port_is_refused() -> None:
    async with receiver() as there:
        outcome = await post(there.url.replace("http:", "https:"), sender())
        assert not outcome.delivered


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"]
)
async def test_loopback_is_refused_in_every_spelling(host: str) -> None:
    async with receiver() as there:
        outcome = await post(f"http://{host}:{there.port}/hook", sender(public_only=True))
        assert "private address" in outcome.why
        assert there.got == []


async def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name leads to a public address first and to loopback then. It is resolved once a connection,
    and what was resolved then is checked then."""
    async with receiver() as there:
        answers = ["93.184.216.34", "127.0.0.1"]
        loop = asyncio.get_running_loop()

        def rebinding(host: str, port: int, **_options: object) -> list[tuple[object, ...]]:
            return [(2, 1, 6, "", (answers.pop(0) if len(answers) > 1 else answers[0], port))]

        connected: list[str] = []

        async def connect(_self: object, _family: object, address: tuple[str, int]) -> None:
            connected.append(address[0])
            raise OSError("not really")

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        monkeypatch.setattr(type(loop), "sock_connect", lambda _self, _sock, address: connect(_self, None, address))
        url = f"http://rebind.example:{there.port}/hook"
        by = sender(public_only=True)
        first = await by.send(url, b"{}", {})
        second = await by.send(url, b"{}", {})
        await by.close()
        assert connected == ["93.184.216.34"]
        assert "cannot be reached" in first.why
        assert "private address" in second.why
        assert there.got == []


async def test_proxies_cookies_and_netrc_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver(answer(200, Set_Cookie="a=b; Path=/")) as there:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        by = sender()
        for _ in range(2):
            assert (await by.send(there.url, b"{}", {})).delivered
        await by.close()
        assert proxy.got == []
        assert all("cookie" not in got.headers and "authorization" not in got.headers for got in there.got)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tue, 99 Nov 2023 22:00:00 GMT", None),
        ("9" * 400, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1_700_000_000.0) == seconds


async def test_retry_after_is_passed_on() -> None:
    async with receiver(answer(429, Retry_After="33")) as there:
        assert (await post(there.url, sender())).retry_after == 33.0


# -- connections that are used again ----------------------------------------------------------------------------------


def resetting(got: list[int]) -> Answer:
    """Answers the first request of each connection, and resets the connection at the second. got: requests of each."""
    connections: dict[asyncio.StreamWriter, int] = {}

    async def answer_once(_got: object, writer: asyncio.StreamWriter) -> None:
        if writer not in connections:
            connections[writer] = len(got)
            got.append(0)
        got[connections[writer]] += 1
        if got[connections[writer]] > 1:
            writer.transport.abort()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    return answer_once


async def test_a_connection_that_was_reset_while_idle_costs_no_delay_and_is_no_failure() -> None:
    """What receivers do to connections that were kept alive, in the very moment in which one is used again."""
    got: list[int] = []
    async with receiver(resetting(got)) as there:
        by = sender()
        try:
            for number in range(4):
                began = time.monotonic()
                outcome = await by.send(there.url, b"{}", {"webhook-id": str(number)})
                assert outcome.delivered, outcome
                assert time.monotonic() - began < PATIENCE / 2
        finally:
            await by.close()
        # One and three came on kept connections, and again on connections of their own, which were not kept.
        assert sorted(one.headers["webhook-id"] for one in there.got) == ["0", "1", "1", "2", "3", "3"]


async def test_a_new_connection_that_is_reset_is_a_failure_and_not_tried_again() -> None:
    async with receiver(hang_up) as there:
        outcome = await post(there.url, sender())
        assert not outcome.delivered
        assert len(there.got) == 1


# -- names that do not resolve ----------------------------------------------------------------------------------------


async def test_one_applications_silent_name_server_stops_nobody_elses_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = socket.getaddrinfo
    under_way: list[str] = []

    def getaddrinfo(host: str, *rest: Any, **named: Any) -> Any:
        if host.startswith("silent"):
            under_way.append(host)
            release.wait(PATIENCE)
            raise socket.gaierror("no answer")
        return real("127.0.0.1" if host.startswith("good") else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with receiver() as there:
        by = sender(total=2 * PATIENCE)
        silent = [
            asyncio.create_task(by.send(f"http://silent{number}.test:1/", b"", {}, app="one")) for number in range(40)
        ]
        try:
            await until(lambda: len(under_way) == AT_ONCE)
            began = time.monotonic()
            url = there.url.replace("127.0.0.1", "good.test")
            assert (await by.send(url, b"{}", {"webhook-id": "e"}, app="two")).delivered
            # Nor does it take the loop's own threads, on which a connection to Redis is resolved.
            await asyncio.get_running_loop().run_in_executor(None, time.monotonic)
            assert time.monotonic() - began < PATIENCE / 2
            assert len(under_way) == AT_ONCE
        finally:
            release.set()
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            await by.close()


async def test_lookups_that_were_cancelled_keep_their_place_until_they_end() -> None:
    release, begun = threading.Event(), threading.Event()

    def look_up(host: str, *_rest: Any, **_named: Any) -> Any:
        if host == "silent":
            begun.set()
            release.wait(PATIENCE)
            raise socket.gaierror("no answer")
        return []

    lookups = NameLookups(at_once=1, look_up=look_up)
    first = asyncio.create_task(lookups.look_up("one", "silent", 1, socket.AF_INET))
    await until(begun.is_set)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(lookups.look_up("one", "quick", 1, socket.AF_INET))
    assert await lookups.look_up("two", "quick", 1, socket.AF_INET) == []
    assert not second.done()
    release.set()
    assert await asyncio.wait_for(second, PATIENCE) == []
