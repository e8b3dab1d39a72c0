"""Heads and verdicts, without a socket; the malformed ones are in test_raw_websocket.py."""

from __future__ import annotations

import json
import random

import pytest

from greenroom.server.wire.handshake import Accepted, Head, MalformedHeadError, judge, parse_head, switching_protocols
from greenroom.server.wire.interface import Refusal
from tests.server.raw_client import handshake


def head(path: str = "/v1/session", **how: str) -> Head:
    return parse_head(handshake(path, **how)[:-4])


def verdict(of: Head, *, ws_path: str | None = "/v1/session", subprotocol: str | None = "greenroom.v1") -> object:
    return judge(of, ws_path=ws_path, subprotocol=subprotocol, address="192.0.2.1")


def test_a_head_is_read() -> None:
    read = parse_head(b"GET /x?a=b HTTP/1.1\r\nHost: a\r\nX-One:  1 \t\r\nx-one: 2\r\nEmpty:")
    assert (read.method, read.target, read.path, read.query, read.version) == ("GET", "/x?a=b", "/x", "a=b", (1, 1))
    assert read.fields == {"host": "a", "x-one": "1, 2", "empty": ""}
    assert [read.count(name) for name in ("host", "x-one", "nothing")] == [1, 2, 0]


def test_a_head_without_headers_is_read() -> None:
    assert parse_head(b"GET / HTTP/1.0").fields == {}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/v1/session?x", "/v1/session"),
        ("http://a/v1/session", "/v1/session"),
        ("http://a", "/"),
        ("http://a?x=/y", "/"),
        ("http://a/b?c=/d", "/b"),
        ("*", "*"),
        ("/?http://a/b", "/"),
    ],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert Head.of("GET", target, (1, 1), []).path == path


@pytest.mark.parametrize(
    ("value", "has"),
    [("upgrade", True), ("keep-alive, Upgrade", True), ("upgraded", False), ("not-upgrade, x", False), ("", False)],
)
def test_tokens_are_whole_words(value: str, has: bool) -> None:
    assert Head.of("GET", "/", (1, 1), [("Connection", value)]).has_token("connection", "upgrade") is has


def test_a_handshake_in_order_is_accepted() -> None:
    accepted = verdict(head(origin="https://app.example"))
    assert isinstance(accepted, Accepted)
    assert accepted.subprotocol == "greenroom.v1"
    assert accepted.request.headers == {"origin": "https://app.example"}
    # The example of RFC 6455, section 1.3.
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in switching_protocols(accepted)


def test_any_path_and_subprotocol() -> None:
    accepted = verdict(head("/anywhere", sec_websocket_protocol="a, b"), ws_path=None, subprotocol=None)
    assert isinstance(accepted, Accepted)
    assert accepted.subprotocol == "a"
    bare = verdict(parse_head(handshake(subprotocol=None)[:-4]), ws_path=None, subprotocol=None)
    assert isinstance(bare, Accepted)
    assert bare.subprotocol is None
    assert b"protocol:" not in switching_protocols(bare).lower()


def test_plain_requests_are_nobodys_business() -> None:
    assert verdict(parse_head(b"GET /healthz HTTP/1.1\r\nHost: a")) is None
    assert verdict(head("/healthz", upgrade="h2c")) is None
    assert verdict(parse_head(b"GET / HTTP/1.1\r\nHost: a"), ws_path=None) is None


def test_a_refusal_has_the_one_error_body() -> None:
    refusal = verdict(head(sec_websocket_version="8"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers["Sec-WebSocket-Version"]) == (426, "13")
    body = json.loads(refusal.body)
    assert body["error_code"] == 426
    assert "version 13" in body["error_description"]


def test_no_noise_breaks_the_reader() -> None:
    """Whatever the bytes, a head is read or refused by its own error."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    start = handshake()[:-4]
    for _ in range(3_000):
        data = bytearray(start)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.choice([b"\r\n", b":", b" ", b",", b"\x00", dice.randbytes(2)])
        try:
            read = parse_head(bytes(data))
        except MalformedHeadError:
            continue
        assert isinstance(verdict(read), Accepted | Refusal | None)
