"""What `read_frame` leaves: fragments, binary messages, and all that breaks RFC 6455. The only file that touches
picows, whose protocol class is not documented: pinned to 2.3.

picows is the parser and nothing else. Its `WSProtocol` finds and unmasks frames, and refuses what breaks RFC 6455 in
their headers; it is given a transport that swallows whatever it writes. Policy is here: reserved bits, order and
assembly of fragments, UTF-8; and in `websocket`, which owns the connection.

How picows is driven (2.3.1): it wants a request first, so each parser is fed one constant request and its answer is
dropped. Then bytes go in with `get_buffer` and `buffer_updated`, frames come out of `on_ws_frame`, and a violation
shows as `transport.is_close_frame_sent`, *after* the frames before it were delivered.
"""

from __future__ import annotations

import codecs
import logging
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows import picows as _picows

from greenroom.codes import CloseCode
from greenroom.server.wire.frames import CLOSE, PING, PONG
from greenroom.server.wire.interface import WebSocketOptions

log = logging.getLogger("greenroom.server")

_WSProtocol: Any = _picows.WSProtocol  # type: ignore[attr-defined]

_CONTINUATION: Final = WSMsgType.CONTINUATION
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTROL: Final = {WSMsgType.CLOSE: CLOSE, WSMsgType.PING: PING, WSMsgType.PONG: PONG}

_INSIDE: Final = frozenset((0, CLOSE, PING, PONG))
"""First bytes of what may follow a fragment, other than the last one."""
_MASK_BYTES: Final = 4

_PARSER_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class FrameOwner(Protocol):
    """Whose frames they are (`websocket.WebSocketProtocol`)."""

    @property
    def closed(self) -> bool:
        """Whether only the client's Close counts."""

    @property
    def takes_binary(self) -> bool:
        """Whether binary messages are welcome."""

    def on_text(self, message: bytes) -> None:
        """A whole text message."""

    def on_binary(self, message: bytes) -> None:
        """A whole binary message."""

    def on_control(self, first: int, payload: bytes, *, more: bool) -> None:
        """A Close, Ping or Pong, by the first byte of its frame. more: bytes have come after it."""

    def on_fragments(self, *, pending: bool) -> None:
        """The rest of a message in fragments is waited for, from now on; or no longer."""

    def on_violation(self, code: int, reason: str) -> None:
        """The connection is to be failed."""


class _Silence:
    """What picows logs, dropped: every end of a connection is our one line. An exception is a bug, and is logged."""

    def isEnabledFor(self, _level: int) -> bool:
        return False

    def info(self, *_args: object) -> None: ...

    debug = warning = error = log = info

    def exception(self, message: str, *_args: object) -> None:
        log.exception("websocket handler failed: %s", message)


class _Nowhere:
    """The transport picows sees: it writes into nothing, and looks at a socket that is not there."""

    def get_extra_info(self, _name: str) -> _Nowhere:
        return self

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, _data: object) -> None: ...

    writelines = write

    def close(self) -> None: ...

    abort = close

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_args: object) -> None: ...

    def getsockopt(self, *_args: object) -> int:
        return 0


class _NoResponse:
    """What picows takes for its 101. One for all: the proof of the key it adds is always the same."""

    status = HTTPStatus.SWITCHING_PROTOCOLS

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def to_bytes(self) -> bytearray:
        return bytearray()


_PARSER_RESPONSE = cast(WSUpgradeResponse, _NoResponse())
_SILENCE = _Silence()
_NOWHERE = _Nowhere()


def _new_parser(listener: WSListener, options: WebSocketOptions) -> Any:
    """A picows protocol past its handshake, which calls `listener.on_ws_frame`."""

    def upgrade(_request: object) -> WSUpgradeResponseWithListener:
        return WSUpgradeResponseWithListener(_PARSER_RESPONSE, listener)

    parser = _WSProtocol(
        host_port=None,
        ws_path=None,
        is_client_side=False,
        ws_listener_factory=upgrade,
        logger=_SILENCE,
        disconnect_on_exception=True,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=1.0,
        auto_ping_reply_timeout=1.0,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=False,
        max_frame_size=options.max_message_bytes,
        extra_headers=None,
        read_buffer_init_size=options.read_buffer_bytes,
    )
    parser.connection_made(_NOWHERE)
    parser.get_buffer(-1)[: len(_PARSER_REQUEST)] = _PARSER_REQUEST
    parser.buffer_updated(len(_PARSER_REQUEST))
    # They would be kept as long as the connection is.
    parser.transport.request.headers = None
    return parser


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


class Reader(Protocol):
    """What reads bytes into a buffer of its own (`asyncio.BufferedProtocol`, as far as that)."""

    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...


def feed(reader: Reader, data: bytes) -> None:
    """Let it read `data` as if that came from the transport."""
    view = memoryview(data)
    while view:
        room = memoryview(reader.get_buffer(-1))
        count = min(len(room), len(view))
        room[:count] = view[:count]
        view = view[count:]
        reader.buffer_updated(count)


class PicowsParser(WSListener):
    """Made for a connection with the first frame that `read_frame` leaves; from then on it reads all of them."""

    __slots__ = ("_fragments", "_heads", "_options", "_owner", "_parser", "_read", "_room", "_tail")

    def __init__(self, owner: FrameOwner, options: WebSocketOptions) -> None:
        self._owner = owner
        self._options = options
        self._parser: Any = _new_parser(self, options)
        self._fragments: Fragments | None = None
        self._heads: FrameHeads | None = None
        self._room = memoryview(b"")
        self._read = b""
        """The bytes of the present read, where fragments are about."""
        self._tail = 0
        """How many bytes of the present read come after the last whole frame."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall read to."""
        room = self._parser.get_buffer(sizehint)
        # picows doubles its buffer whenever a read fills it to 90 %, so a client at line speed would make it as large
        # as the kernel's. A read of at most 3/4 of the room lets it grow for large frames only. It also keeps reads
        # short, which is what shares the loop fairly.
        self._room = shown = cast(memoryview, room[: (len(room) * 3 >> 2) or 1])
        return shown

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read to where `get_buffer` said."""
        parser = self._parser
        if self._fragments is not None or self._tail or not self._room[0] & 0x80:
            # Rare: a message in fragments, or a read that may begin one or continues in the middle of a frame.
            self._read = bytes(self._room[:nbytes])
            if self._heads is not None and self._promises_too_much(self._heads, self._read):
                return
        self._tail = nbytes
        parser.buffer_updated(nbytes)
        self._read = b""
        if self._fragments is not None and not self._fragments.is_timed:
            # Only now: most messages in fragments are whole within one read.
            self._fragments.is_timed = True
            self._owner.on_fragments(pending=True)
        if parser.transport.is_close_frame_sent:
            sent = parser.transport.close_handshake.sent
            self._owner.on_violation(int(sent.code), sent.reason)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """picows has a frame."""
        kind = frame.msg_type
        self._tail = frame.tail_size
        owner = self._owner
        if owner.closed:
            if kind is WSMsgType.CLOSE:
                owner.on_control(CLOSE, frame.get_payload_as_bytes(), more=frame.tail_size > 0)
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._violation(CloseCode.WS_PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed on")
        elif kind in _CONTROL:
            owner.on_control(_CONTROL[kind], frame.get_payload_as_bytes(), more=frame.tail_size > 0)
        else:
            self._on_data(kind, frame.get_payload_as_bytes(), bool(frame.fin))
            if self._fragments is not None and self._heads is None and frame.tail_size <= len(self._read):
                # Here a frame ends: what follows in this read, and from now on, is heads and payloads.
                self._heads = FrameHeads(self._fragments.size)
                self._promises_too_much(self._heads, self._read[len(self._read) - frame.tail_size :])

    def _violation(self, code: CloseCode, reason: str) -> None:
        self._owner.on_violation(code, reason)

    def _on_data(self, kind: WSMsgType, payload: bytes, fin: bool) -> None:
        if fin and kind is _TEXT and self._fragments is None:
            self._owner.on_text(payload)
        elif (kind is _CONTINUATION) != (self._fragments is not None):
            what = (
                "a continuation frame without a first frame"
                if kind is _CONTINUATION
                else "a new message inside a fragmented one"
            )
            self._violation(CloseCode.WS_PROTOCOL_ERROR, what)
        elif kind is _BINARY and not self._owner.takes_binary:
            self._violation(CloseCode.UNSUPPORTED_DATA, "messages must be text")
        elif self._fragments is not None or not fin:
            self._on_fragment(kind, payload, fin)
        else:
            self._owner.on_binary(payload)

    def _on_fragment(self, kind: WSMsgType, payload: bytes, fin: bool) -> None:
        options = self._options
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = Fragments(is_text=kind is _TEXT)
        valid = fragments.add(payload, fin)
        if fragments.size > options.max_message_bytes:
            self._too_big()
        elif fragments.count > options.max_fragments:
            self._violation(CloseCode.POLICY_VIOLATION, f"a message may come in {options.max_fragments} fragments")
        elif not valid:
            self._violation(CloseCode.INVALID_UTF8, "the message is not UTF-8")
        elif fin:
            self.drop_fragments()
            if fragments.is_text:
                self._owner.on_text(fragments.joined())
            else:
                self._owner.on_binary(fragments.joined())

    def _promises_too_much(self, heads: FrameHeads, data: bytes) -> bool:
        """Whether the connection failed because a frame's head says that its message becomes too large."""
        heads.feed(data)
        too_large = heads.size > self._options.max_message_bytes and not self._owner.closed
        if too_large:
            self._too_big()
        return too_large

    def _too_big(self) -> None:
        self._violation(CloseCode.MESSAGE_TOO_BIG, f"a message may have {self._options.max_message_bytes} bytes")

    def drop_fragments(self) -> None:
        """What has come of a message in fragments is no longer wanted."""
        self._heads = None
        fragments, self._fragments = self._fragments, None
        if fragments is not None and fragments.is_timed:
            self._owner.on_fragments(pending=False)

    def close(self) -> None:
        """The connection is over."""
        self.drop_fragments()
        # picows holds its listener: without this a cycle would wait for the garbage collector.
        self._parser = None
