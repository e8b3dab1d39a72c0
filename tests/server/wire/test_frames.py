"""Frames, byte by byte. The reader of common ones is right for every length and split, and never of another opinion
than picows."""

from __future__ import annotations

import asyncio
import os
import random
from types import SimpleNamespace
from typing import cast

import pytest

from greenroom.server.wire.frames import (
    CLOSE,
    MORE,
    OTHER,
    PING,
    PONG,
    TEXT,
    cut_reason,
    encode,
    is_utf8,
    is_valid_close_code,
    read_frame,
)
from greenroom.server.wire.interface import UpgradeRequest, WebSocketOptions
from greenroom.server.wire.picows_parser import PicowsParser, feed
from greenroom.server.wire.timer_wheel import TimerWheel
from greenroom.server.wire.websocket import WebSocketProtocol
from tests.server import raw_client
from tests.server.raw_client import close_frame, frame, mask, turning_wheel

LIMIT = 70_000
LENGTHS = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1_000, 65_535, 65_536, LIMIT]


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_a_frame_has_the_shortest_length(size: int, head: str) -> None:
    assert encode(TEXT, b"x" * size) == bytes.fromhex(head) + b"x" * size


def test_close_codes_a_client_may_send() -> None:
    valid = {code for code in range(65_536) if is_valid_close_code(code)}
    assert valid == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@pytest.mark.parametrize("reason", ["", "x" * 123, "x" * 124, "ä" * 62, "🎤" * 40, "a" + "🎤" * 40])
def test_a_reason_fits_a_control_frame_and_is_utf8(reason: str) -> None:
    cut = cut_reason(reason)
    assert len(cut) <= 123
    assert reason.encode().startswith(cut)
    assert is_utf8(cut)


@pytest.mark.parametrize("size", [*range(40), 125, 126, 1_023, 32_768])
def test_unmasking_is_byte_by_byte_xor(size: int) -> None:
    chance = random.Random(size)
    key, masked = chance.randbytes(4), chance.randbytes(size)
    head = b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2))
    plain = bytes(byte ^ key[at % 4] for at, byte in enumerate(masked))
    assert read_frame(head + key + masked, 0, LIMIT) == (TEXT, len(head) + 4 + size, plain)


@pytest.mark.parametrize("size", LENGTHS)
def test_a_text_of_every_length_is_read_when_it_is_whole(size: int) -> None:
    payload = b"x" * size
    sent = b"before" + frame(raw_client.TEXT, payload)
    for cut in {*range(20), size, len(sent) - 7}:
        part = sent[: 6 + cut]
        if len(part) < len(sent):
            first, wanted, _ = read_frame(part, 6, LIMIT)
            assert first == MORE
            assert len(part) < wanted <= len(sent)
    assert read_frame(sent + b"\xff", 6, LIMIT) == (TEXT, len(sent), payload)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (frame(raw_client.PING, b"a"), (PING, b"a")),
        (frame(raw_client.PONG), (PONG, b"")),
        (close_frame(1000, "grüße".encode()), (CLOSE, b"\x03\xe8" + "grüße".encode())),
        (frame(raw_client.CLOSE), (CLOSE, b"")),
    ],
)
def test_control_frames(sent: bytes, read: tuple[int, bytes]) -> None:
    first, end, payload = read_frame(sent, 0, LIMIT)
    assert ((first, payload), end) == (read, len(sent))


OTHERS = {
    "binary": frame(raw_client.BINARY, b"x"),
    "a fragment": frame(raw_client.TEXT, b"x", fin=False),
    "a continuation": frame(raw_client.CONTINUATION, b"x"),
    "reserved bits": frame(raw_client.TEXT, b"x", rsv=1),
    "a reserved opcode": frame(3),
    "no mask": frame(raw_client.TEXT, b"x", masked=False),
    "no mask, 16-bit length": frame(raw_client.TEXT, b"x" * 126, masked=False),
    "a ping of 126 bytes": frame(raw_client.PING, b"x" * 126),
    "a close of one byte": frame(raw_client.CLOSE, b"x"),
    "a close with a bad reason": close_frame(1000, b"\xff"),
    "125 bytes with a 16-bit length": frame(raw_client.TEXT, b"x" * 125, length=b"\x7e\x00\x7d"),
    "65,535 bytes with a 64-bit length": frame(raw_client.TEXT, b"x" * 65_535, length=b"\x7f" + (65_535).to_bytes(8)),
    "a negative length": frame(raw_client.TEXT, length=b"\x7f" + b"\xff" * 8),
    "a byte too large, the head alone": frame(raw_client.TEXT, length=b"\x7f" + (LIMIT + 1).to_bytes(8))[:10],
}


@pytest.mark.parametrize("sent", OTHERS.values(), ids=OTHERS.keys())
def test_what_is_left_to_picows(sent: bytes) -> None:
    assert read_frame(b"before" + sent, 6, LIMIT) == (OTHER, 6, b"")


# --- against picows ---


class _Log:
    """The handler and the transport of one connection, and what they receive."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.websocket: WebSocketProtocol | None = None
        self.transport = cast(
            asyncio.Transport,
            SimpleNamespace(
                set_write_buffer_limits=lambda _high, _low: None, set_protocol=lambda _protocol: None,
                write=self._written, is_closing=lambda: False, can_write_eof=lambda: True, write_eof=lambda: None,
                close=lambda: None, pause_reading=lambda: None, abort=lambda: None,
            ),
        )  # fmt: skip

    def _written(self, data: bytes) -> None:
        # Of a Close the code: the words for one and the same violation may differ.
        self.calls.append(data[2:4] if data[:1] == b"\x88" else data)

    def opened(self, websocket: object) -> None:
        """Nothing is sent unasked."""

    def text(self, message: bytes) -> None:
        self.calls.append(("text", message))
        if message.startswith(b"close me") and self.websocket is not None:
            self.websocket.close(4001, "")

    def lost(self, code: int, _reason: str) -> None:
        self.calls.append(("lost", code))

    def pong(self) -> None:
        self.calls.append("pong")

    def drained(self) -> None:
        """Nothing waits."""


def _connection(options: WebSocketOptions, wheel: TimerWheel) -> tuple[_Log, WebSocketProtocol]:
    log = _Log()
    connection = WebSocketProtocol(
        log, UpgradeRequest("/", "", {}, "192.0.2.1"), options, wheel, lambda _connection: None
    )
    connection.connection_made(log.transport)
    connection.start(b"", b"")
    log.websocket = connection
    return log, connection


TEXTS = [b"", b"x", b"close me", "grüße 🎤".encode(), b"\xff", b"\xed\xa0\x80", b"\xe2\x82"]


def _payload(chance: random.Random, limit: int) -> bytes:
    if chance.random() < 0.5:
        return chance.choice(TEXTS) if chance.random() < 0.1 else b"hello"
    sizes = [chance.randrange(140), chance.randrange(limit + 2), limit, limit + 1, 125, 126, 65_535, 65_536]
    size = chance.choices(sizes, [60, 5, 2, 1, 10, 10, 0.5, 0.5])[0]
    return chance.choice([b"a", "ä".encode()]) * size if size % 2 else chance.choice([b"b", b"\x00"]) * size


def _frame(chance: random.Random, limit: int) -> bytes:
    """Mostly common ones; now and then one with something odd about it."""
    payload = _payload(chance, limit)
    kind = chance.choices([1, 9, 10, 8, 0, 2, chance.randrange(16)], [70, 8, 8, 3, 1, 1, 1])[0]
    if kind == 8 and chance.random() < 0.8:
        payload = chance.choice([1000, 1001, 1005, 999, 3000, 5000]).to_bytes(2) + payload[:123]
    elif kind > 7 and chance.random() < 0.95:
        payload = payload[:125]
    fin = 0x80 if chance.random() > 0.02 else 0
    odd = chance.random()
    if kind == 0 or not fin:
        # What is too large in sum and wrong in another way too is either, as reads are cut.
        payload, odd = payload[:20], 1.0
    key = chance.randbytes(4)
    size = len(payload)
    if size < 126 and odd > 0.02:
        length = bytes([size])
    elif size < 65_536 and odd > 0.01:
        length = b"\x7e" + size.to_bytes(2)
    else:
        length = b"\x7f" + (size if odd > 0.001 else 1 << 63).to_bytes(8)
    rsv = 0x40 if chance.random() < 0.005 else 0
    if chance.random() < 0.005:
        return bytes([fin | rsv | kind, length[0]]) + length[1:] + payload
    return bytes([fin | rsv | kind, length[0] | 0x80]) + length[1:] + key + mask(payload, key)


def _pieces(chance: random.Random, stream: bytes) -> list[bytes]:
    typical = max(chance.choice([1, 3, 40, 500, 2_000, 20_000]), len(stream) // 200)
    pieces, at = [], 0
    while at < len(stream):
        size = chance.randint(1, 2 * typical)
        pieces.append(stream[at : at + size])
        at += size
    return pieces


async def _compare(chance: random.Random, wheel: TimerWheel) -> int:
    """One connection's worth of frames, to both; how many were received, answers and the end included."""
    limit = chance.choice([100, 300, 32_768, 66_000])
    options = WebSocketOptions(max_message_bytes=limit, max_fragments=3, control_frames_burst=1_000)
    frames = [_frame(chance, limit) for _ in range(chance.randint(1, 40))]
    (own_log, own), (picows_log, picows) = _connection(options, wheel), _connection(options, wheel)
    picows._parser = PicowsParser(picows, options)
    for piece in _pieces(chance, b"".join(frames)):
        feed(own, piece)
        feed(picows, piece)
        assert own_log.calls == picows_log.calls
    for connection in (own, picows):
        connection.connection_lost(None)
    assert own_log.calls == picows_log.calls
    return len(own_log.calls)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frames", [20_000, pytest.param(3_000_000, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
async def test_it_reads_what_picows_reads(frames: int) -> None:
    """Random frames, good and bad, cut anywhere: the same messages, answers and close codes, in the same order."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    chance = random.Random(seed)
    received = connections = 0
    with turning_wheel() as wheel:
        while received < frames:
            received += await _compare(chance, wheel)
            connections += 1
            if connections % 50 == 0:
                await asyncio.sleep(0)
    assert connections > frames / 50, "nearly every connection ends early"
