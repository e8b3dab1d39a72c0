"""Frames as a server writes them, and what a client's messages are checked for. Pure; RFC 6455, sections 5 and 7.4."""

from __future__ import annotations

import codecs
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

_INSIDE: Final = frozenset((0, CLOSE, PING, PONG))
"""First bytes of what may follow a fragment, other than the last one."""
_MAX_REASON_BYTES: Final = 123
_MASK_BYTES: Final = 4


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


class FrameHeads:
    """Reads the heads of a client's frames as their bytes come, from the first byte of a frame on: the sum of a message
    in fragments is known from them before its payload has come. It ends with the message, or with a frame that may not
    be inside one."""

    __slots__ = ("_ended", "_head", "_skip", "size")

    def __init__(self, size: int) -> None:
        self._ended = False
        self._head = b""
        self._skip = 0
        self.size = size
        """Of the message so far, with what the heads read promise."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection."""
        position = 0
        while position < len(data) and not self._ended:
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            self._head += data[position : position + 1]
            position += 1
            length = _payload_size(self._head)
            if length is not None:
                first = self._head[0]
                if first & 0x7F == 0:
                    self.size += length
                self._ended = first not in _INSIDE or self._head[1] < 0x80
                self._skip = _MASK_BYTES + length
                self._head = b""


def _payload_size(head: bytes) -> int | None:
    """What the head of a frame says of its payload; None: it is not whole (RFC 6455, section 5.2)."""
    if len(head) < 2:
        return None
    short = head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    if len(head) < 2 + extended:
        return None
    return int.from_bytes(head[2 : 2 + extended]) if extended else short


class Fragments:
    """A message that has begun and not ended. Its UTF-8 is checked as it comes, so that a bad one fails early."""

    __slots__ = ("_check", "_parts", "count", "is_timed", "size")

    def __init__(self, *, is_text: bool) -> None:
        self._parts: list[bytes] = []
        self._check = codecs.getincrementaldecoder("utf-8")() if is_text else None
        self.count = 0
        self.size = 0
        self.is_timed = False
        """Whether the rest of it has a deadline."""

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return self._check is not None

    def add(self, payload: bytes, last: bool) -> bool:
        """Whether the message is still valid with `payload` added."""
        self.count += 1
        self.size += len(payload)
        self._parts.append(payload)
        if self._check is None:
            return True
        try:
            self._check.decode(payload, last)
        except UnicodeDecodeError:
            return False
        return True

    def joined(self) -> bytes:
        """The message so far."""
        return b"".join(self._parts)
