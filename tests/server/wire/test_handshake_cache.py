"""Heads that were read before are understood as they were then."""

from __future__ import annotations

import random

import pytest

from greenroom.server.wire.handshake import Accepted, judge, parse_head
from greenroom.server.wire.handshake_cache import MAX_HEADS, HandshakeCache, accept, take_key_out

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OTHER = b"AQIDBAUGBwgJCgsMDQ4PEA=="


def head(key: bytes = KEY, *more: bytes, path: bytes = b"/v1/session?a=1") -> bytes:
    return b"\r\n".join(
        [
            b"GET " + path + b" HTTP/1.1",
            b"Host: example.com",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: " + key,
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Protocol: greenroom.v1, x",
            b"Origin: https://app.example.com",
            *more,
        ]
    )


def read(data: bytes, address: str = "192.0.2.1") -> Accepted:
    verdict = judge(parse_head(data), ws_path="/v1/session", subprotocol="greenroom.v1", address=address)
    assert isinstance(verdict, Accepted)
    return verdict


def test_a_head_in_the_cache_says_what_it_said_with_its_own_key_and_address() -> None:
    heads = HandshakeCache()
    keyless = take_key_out(head())
    assert keyless is not None
    assert heads.find(keyless) is None
    heads.remember(keyless, read(head()), "")
    again = take_key_out(head(OTHER))
    assert again is not None
    shape = heads.find(again)
    assert shape is not None
    assert accept(shape, again.key, "192.0.2.9") == read(head(OTHER), "192.0.2.9")


def test_one_byte_makes_a_stranger() -> None:
    heads = HandshakeCache()
    keyless = take_key_out(head())
    assert keyless is not None
    heads.remember(keyless, read(head()), "")
    data = head(OTHER)
    at = data.index(OTHER)
    for place in [*range(at), *range(at + len(OTHER), len(data))]:
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        other = take_key_out(changed)
        assert other is None or heads.find(other) is None, changed


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"short==",
        KEY[:-1],
        KEY + b"=",
        KEY.replace(b"d", b"-"),
        b" " + KEY,
        KEY + b" ",
    ],
)
def test_a_key_that_is_not_in_order_is_left_to_the_strict_reader(key: bytes) -> None:
    assert take_key_out(head(key)) is None


def test_a_second_key_makes_another_head() -> None:
    heads = HandshakeCache()
    keyless = take_key_out(head())
    twice = take_key_out(head(KEY, b"Sec-WebSocket-Key: " + OTHER))
    assert keyless is not None
    assert twice is not None
    heads.remember(keyless, read(head()), "")
    assert heads.find(twice) is None


def test_where_the_key_stood_counts() -> None:
    lines = head().split(b"\r\n")
    moved = b"\r\n".join([*lines[:4], *lines[5:], lines[4]])
    assert read(moved).key == KEY.decode()
    here, there = take_key_out(head()), take_key_out(moved)
    assert here is not None
    assert there is not None
    assert here.digest != there.digest


def test_so_many_are_remembered() -> None:
    heads = HandshakeCache()
    first = None
    for number in range(MAX_HEADS + 1):
        data = head(KEY, b"X-Number: %d" % number)
        keyless = take_key_out(data)
        assert keyless is not None
        heads.remember(keyless, read(data), "")
        first = first or keyless
    assert len(heads) == MAX_HEADS
    assert first is not None
    assert heads.find(first) is None


def test_whatever_is_thrown_at_it_a_head_in_the_cache_was_accepted() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    heads = HandshakeCache()
    keyless = take_key_out(head())
    assert keyless is not None
    heads.remember(keyless, read(head()), "")
    for _ in range(2_000):
        data = bytearray(head(OTHER))
        for _ in range(dice.randrange(4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        found = take_key_out(bytes(data))
        shape = None if found is None else heads.find(found)
        if shape is not None and found is not None:
            assert accept(shape, found.key, "192.0.2.1") == read(bytes(data))
