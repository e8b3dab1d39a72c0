"""Reads the frames that nearly every client sends: whole text messages, Ping, Pong and Close. Pure (RFC 6455, 5.2).

Everything else (fragments, binary, reserved bits and opcodes, frames without a mask, wrong lengths, what is too large)
is left to `picows_parser`, which gets all its bytes: one parser alone decides what is a violation, and which one.
A parser of picows costs 100 µs and 2 KiB for each connection, and most connections never need it.
"""

from __future__ import annotations

from typing import Final

from greenroom.server.wire.frames import CLOSE, PING, PONG, TEXT, is_utf8

MORE: Final = 0
"""The frame is not whole yet."""
OTHER: Final = -1
"""It is for picows."""

_FIRST_BYTES: Final = frozenset((TEXT, CLOSE, PING, PONG))


def read_frame(data: bytes, at: int, limit: int) -> tuple[int, int, bytes]:
    """The frame of `data` that begins at `at`: its first byte, where it ends, and its payload without the mask.

    limit: the largest payload, in bytes. The first byte is MORE where the frame is not whole (then the end says up to
    where bytes are needed before it is worth looking again), OTHER where it is none of these. A Close has a valid
    length and reason; whether its code is allowed, and text is UTF-8, is not looked at.
    """
    have = len(data)
    if have - at < 2:
        return MORE, at + 2, b""
    first = data[at]
    size = data[at + 1] - 0x80  # negative without a mask
    start = at + 6
    if first not in _FIRST_BYTES or size < 0:
        return OTHER, at, b""
    if size > 125:
        start = at + (8 if size == 126 else 14)
        if first != TEXT:
            return OTHER, at, b""
        if have < start - 4:
            return MORE, start - 4, b""
        least, size = (126, 65_536)[size - 126], int.from_bytes(data[at + 2 : start - 4])
        if size < least:
            return OTHER, at, b""
    if size > limit and first == TEXT:
        return OTHER, at, b""
    end = start + size
    if have < end:
        return MORE, end, b""
    payload = data[start:end]
    if size:
        # XOR with the repeated key (section 5.3), as two large numbers: 1 KiB in some 3 µs.
        key = (data[start - 4 : start] * ((size + 3) >> 2))[:size]
        payload = (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
    if first == CLOSE and (size == 1 or not is_utf8(payload[2:])):
        return OTHER, at, b""
    return first, end, payload
