"""Frames: those that nearly every client sends, as they are read, and those that a server writes. Pure; RFC 6455,
sections 5 and 7.4.

`read_frame` reads whole text messages, Ping, Pong and Close. Everything else (fragments, binary, reserved bits and
opcodes, frames without a mask, wrong lengths, what is too large) is left to `picows_parser`, which gets all its bytes:
one parser alone decides what is a violation, and which one. A parser of picows costs 100 µs and 2 KiB for each
connection, and most connections never need it.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

# First bytes of whole frames: FIN and the opcode (RFC 6455, section 5.2).
TEXT: Final = 0x81
BINARY: Final = 0x82
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
PING_FRAME: Final = b"\x89\x00"

_LENGTH_16 = Struct(">BBH")
_LENGTH_64 = Struct(">BBQ")
CLOSE_CODE: Final = Struct(">H")
"""How a Close begins."""

_MAX_REASON_BYTES: Final = 123
_FIRST_BYTES: Final = frozenset((TEXT, CLOSE, PING, PONG))

MORE: Final = 0
"""What `read_frame` says of a frame that is not whole yet."""
OTHER: Final = -1
"""What it says of one that is for picows."""


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


def encode(first: int, payload: bytes) -> bytes:
    """One unmasked frame, as a server sends it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return _LENGTH_16.pack(first, 126, size) + payload
    return long_header(first, size) + payload


def long_header(first: int, size: int) -> bytes:
    """The head of a frame of 64 KiB and more."""
    return _LENGTH_64.pack(first, 127, size)


def is_valid_close_code(code: int) -> bool:
    """What a client may put into a Close (RFC 6455, section 7.4, and IANA's registry)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def is_utf8(data: bytes) -> bool:
    """Whether `data` is UTF-8 (RFC 3629: no surrogates, nothing overlong)."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def cut_reason(reason: str) -> bytes:
    """`reason` as UTF-8 that fits into a control frame, cut between characters."""
    data = reason.encode("utf-8", "replace")
    if len(data) <= _MAX_REASON_BYTES:
        return data
    return data[:_MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
