"""One WebSocket connection. The only file that touches picows, whose protocol class is not documented: pinned to 2.3.

picows is the parser and nothing else. Its `WSProtocol` finds and unmasks frames, and refuses what breaks RFC 6455 in
their headers; it is given a transport that swallows whatever it writes. All that is policy is here: reserved bits,
order and assembly of fragments, UTF-8, Close, control frames, what waits to be written, and how a connection ends.

How picows is driven (2.3.1): it wants a request first, so each parser is fed one constant request and its answer is
dropped. Then bytes go in with `get_buffer` and `buffer_updated`, frames come out of `on_ws_frame`, and a violation
shows as `transport.is_close_frame_sent`, *after* the frames before it were delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, cast

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
from greenroom.server.wire.frames import (
    CLOSE_CODE,
    PING_FRAME,
    SEND_BINARY,
    SEND_CLOSE,
    SEND_PONG,
    SEND_TEXT,
    Fragments,
    FrameHeads,
    cut_reason,
    encode,
    is_utf8,
    is_valid_close_code,
    long_header,
)
from greenroom.server.wire.interface import BinaryHandler, Handler, UpgradeRequest, WebSocketOptions

log = logging.getLogger("greenroom.server")

_WSProtocol: Any = _picows.WSProtocol  # type: ignore[attr-defined]

_CONTINUATION: Final = WSMsgType.CONTINUATION
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_PING: Final = WSMsgType.PING
_CLOSE: Final = WSMsgType.CLOSE

_HIGH_WATER: Final = 32_768
_LOW_WATER: Final = 8_192
_SCRATCH = memoryview(bytearray(16_384))
"""Where bytes that nobody will look at are read into; one for all connections, since nothing is ever read out."""
_last_sent: tuple[bytes | None, bytes] = (None, b"")
"""A message and its frame: a fan-out sends the same object to thousands, one after the other. None: nothing was sent
yet (an empty message is always the same object)."""
_DISCARD_LIMIT: Final = 1_048_576
"""What a client may still send while its connection is being failed, before reading stops. Reading on lets it see the
Close: closing a socket with unread bytes resets it, and a reset throws the Close away."""
_PARSER_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # we sent Close and wait for the client's
    DRAINING = "draining"  # nothing the client sends counts any more; what we wrote is on its way
    LOST = "lost"  # the transport is gone


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


class PicowsConnection(WSListener, asyncio.BufferedProtocol):
    """One client's WebSocket: the protocol of its transport, picows' listener, and its handler's `WebSocketConnection`.

    Made by the front door with `start`, once the handshake has been read and found in order.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_discarded",
        "_fragments",
        "_handler",
        "_heads",
        "_loop",
        "_on_gone",
        "_options",
        "_parser",
        "_read",
        "_room",
        "_state",
        "_tail",
        "_timer",
        "_transport",
        "address",
        "headers",
        "path",
        "paused",
    )

    def __init__(
        self,
        handler: Handler,
        request: UpgradeRequest,
        options: WebSocketOptions,
        on_gone: Callable[[PicowsConnection], None],
    ) -> None:
        self.address: str = request.address
        self.headers: Mapping[str, str] = request.headers
        self.path: str = request.path
        self.paused = False
        self._handler: Handler | None = handler
        self._options = options
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._state = _State.OPEN
        self._fragments: Fragments | None = None
        self._heads: FrameHeads | None = None
        self._room: memoryview = _SCRATCH
        self._read = b""
        """The bytes of the present read, where fragments are about."""
        self._tail = 0
        """How many bytes of the present read come after the last whole frame."""
        self._timer: asyncio.TimerHandle | None = None
        self._allowance = float(options.control_frames_burst)
        self._allowance_at = 0.0
        self._discarded = 0

    def start(self, transport: asyncio.Transport, answer: bytes, early: bytes) -> None:
        """Take the transport over: write `answer` (the 101), tell the handler, read on with `early`, what came after
        the request's head."""
        self._transport = transport
        self._parser = _new_parser(self, self._options)
        transport.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        transport.set_protocol(self)
        transport.write(answer)
        assert self._handler is not None
        self._handler.opened(self)
        view = memoryview(early)
        while view and self._state is not _State.LOST:
            room = self.get_buffer(-1)
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            self.buffer_updated(count)

    # --- WebSocketConnection ------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._state is not _State.OPEN

    def send(self, message: bytes) -> None:
        """Send one text message; see `WebSocketConnection.send`."""
        global _last_sent
        if len(message) >= 65_536:
            self._send(SEND_TEXT, message)
            return
        if _last_sent[0] is not message:
            _last_sent = (message, encode(SEND_TEXT, message))
        self._write(_last_sent[1])

    def send_binary(self, message: bytes) -> None:
        """Send one binary message; otherwise as `send`."""
        self._send(SEND_BINARY, message)

    def ping(self) -> None:
        """Send an empty Ping."""
        self._write(PING_FRAME)

    def close(self, code: int, reason: str) -> None:
        """Send Close and wait for the client's; see `WebSocketConnection.close`."""
        if self._state is not _State.OPEN:
            return
        self._write_close(code, reason)
        self._state = _State.CLOSING
        self._drop_fragments()
        self._abort_later()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._state is not _State.LOST and self._transport is not None:
            self._state = _State.DRAINING
            self._transport.abort()

    def buffered(self) -> int:
        """Bytes waiting to be written."""
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size()

    # --- writing --------------------------------------------------------------------------------------------------

    def _send(self, first: int, message: bytes) -> None:
        if len(message) < 65_536:
            self._write(encode(first, message))
        elif self._state is _State.OPEN and self._transport is not None:
            # Large: two writes are cheaper than a copy.
            self._transport.write(long_header(first, len(message)))
            self._write(message)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if self._state is not _State.OPEN or transport is None:
            return
        transport.write(data)
        if self.paused and transport.get_write_buffer_size() > self._options.max_buffered_bytes:
            self._fail(CloseCode.SLOW_READER, "what was sent is not being read", later=True)

    def _write_close(self, code: int, reason: str | None) -> None:
        """Write a Close; `reason` None writes one without a code (1005)."""
        assert self._transport is not None
        payload = b"" if reason is None else CLOSE_CODE.pack(code) + cut_reason(reason)
        self._transport.write(encode(SEND_CLOSE, payload))

    def pause_writing(self) -> None:
        """The transport's buffer went over its high mark."""
        self.paused = True

    def resume_writing(self) -> None:
        """The transport's buffer fell below its low mark."""
        self.paused = False
        if self._state is _State.OPEN and self._handler is not None:
            self._handler.drained()

    # --- reading --------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall read to."""
        if self._parser is None or self._state is _State.DRAINING:
            return _SCRATCH
        room = self._parser.get_buffer(sizehint)
        # picows doubles its buffer whenever a read fills it to 90 %, so a client at line speed would make it as large
        # as the kernel's. A read of at most 3/4 of the room lets it grow for large frames only. It also keeps reads
        # short, which is what shares the loop fairly.
        self._room = shown = cast(memoryview, room[: (len(room) * 3 >> 2) or 1])
        return shown

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has read `nbytes` to where `get_buffer` said."""
        parser = self._parser
        if parser is None or self._state is _State.DRAINING:
            self._discard(nbytes)
            return
        if self._fragments is not None or self._tail or not self._room[0] & 0x80:
            # Rare: a message in fragments, or a read that may begin one or goes on in the middle of a frame.
            self._read = bytes(self._room[:nbytes])
            if self._heads is not None and self._promises_too_much(self._heads, self._read):
                return
        if self._state is _State.CLOSING:
            # Its Close is waited for, and what a flood puts before it costs no more than after a failure.
            self._discard(nbytes)
        self._tail = nbytes
        parser.buffer_updated(nbytes)
        self._read = b""
        if self._fragments is not None and self._fragments.timer is None:
            # Only now: most messages in fragments are whole within one read, and timers are dear.
            self._fragments.timer = self._loop.call_later(self._options.fragment_timeout, self._fragments_late)
        if parser.transport.is_close_frame_sent and self._state in (_State.OPEN, _State.CLOSING):
            sent = parser.transport.close_handshake.sent
            self._fail(int(sent.code), sent.reason)

    def _discard(self, nbytes: int) -> None:
        self._discarded += nbytes
        if self._discarded > _DISCARD_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """picows has a frame."""
        kind = frame.msg_type
        self._tail = frame.tail_size
        if self._state is not _State.OPEN:
            if self._state is _State.CLOSING and kind is _CLOSE:
                self._on_close(frame)
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(CloseCode.WS_PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed on")
        elif kind is _TEXT or kind is _CONTINUATION or kind is _BINARY:
            self._on_data(kind, frame.get_payload_as_bytes(), bool(frame.fin))
            if self._fragments is not None and self._heads is None and frame.tail_size <= len(self._read):
                # Here a frame ends: what follows in this read, and from now on, is heads and payloads.
                self._heads = FrameHeads(self._fragments.size)
                self._promises_too_much(self._heads, self._read[len(self._read) - frame.tail_size :])
        elif kind is _CLOSE:
            self._on_close(frame)
        elif not self._control_frame_allowed():
            self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")
        elif kind is _PING:
            self._write(encode(SEND_PONG, frame.get_payload_as_bytes()))
        elif self._handler is not None:
            self._handler.pong()

    def _on_data(self, kind: WSMsgType, payload: bytes, fin: bool) -> None:
        if fin and kind is _TEXT and self._fragments is None:
            if payload.isascii() or is_utf8(payload):
                self._handler.text(payload)  # type: ignore[union-attr]
            else:
                self._fail(CloseCode.INVALID_UTF8, "the message is not UTF-8")
        elif (kind is _CONTINUATION) != (self._fragments is not None):
            what = "a continuation of nothing" if kind is _CONTINUATION else "a new message inside a fragmented one"
            self._fail(CloseCode.WS_PROTOCOL_ERROR, what)
        elif kind is _BINARY and not hasattr(self._handler, "binary"):
            self._fail(CloseCode.UNSUPPORTED_DATA, "messages must be text")
        elif self._fragments is not None or not fin:
            self._on_fragment(kind, payload, fin)
        else:
            cast(BinaryHandler, self._handler).binary(payload)

    def _on_fragment(self, kind: WSMsgType, payload: bytes, fin: bool) -> None:
        options = self._options
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = Fragments(is_text=kind is _TEXT)
        valid = fragments.add(payload, fin)
        if fragments.size > options.max_message_bytes:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message may have {options.max_message_bytes} bytes")
        elif fragments.count > options.max_fragments:
            self._fail(CloseCode.POLICY_VIOLATION, f"a message may come in {options.max_fragments} fragments")
        elif not valid:
            self._fail(CloseCode.INVALID_UTF8, "the message is not UTF-8")
        elif fin:
            self._drop_fragments()
            if fragments.is_text:
                cast(Handler, self._handler).text(fragments.joined())
            else:
                cast(BinaryHandler, self._handler).binary(fragments.joined())

    def _promises_too_much(self, heads: FrameHeads, data: bytes) -> bool:
        """Whether the connection failed because a frame's head says that its message becomes too large."""
        heads.feed(data)
        too_large = heads.size > self._options.max_message_bytes and self._state is _State.OPEN
        if too_large:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message may have {self._options.max_message_bytes} bytes")
        return too_large

    def _drop_fragments(self) -> None:
        self._heads = None
        fragments, self._fragments = self._fragments, None
        if fragments is not None and fragments.timer is not None:
            fragments.timer.cancel()

    def _fragments_late(self) -> None:
        if self._state is _State.OPEN:
            self._fail(CloseCode.POLICY_VIOLATION, f"a message must be whole in {self._options.fragment_timeout:g} s")

    def _control_frame_allowed(self) -> bool:
        """A token bucket of this connection's own: two floats, no timer."""
        now = self._loop.time()
        options = self._options
        earned = (now - self._allowance_at) * options.control_frames_per_second
        self._allowance = min(self._allowance + earned, options.control_frames_burst) - 1
        self._allowance_at = now
        return self._allowance >= 0

    # --- endings --------------------------------------------------------------------------------------------------

    def _on_close(self, frame: WSFrame) -> None:
        """The client's Close (RFC 6455, sections 5.5.1 and 7.1). picows has refused bad lengths and bad UTF-8."""
        payload = frame.get_payload_as_bytes()
        code, reason = CloseCode.NO_STATUS.value, ""
        if payload:
            code, reason = CLOSE_CODE.unpack_from(payload)[0], payload[2:].decode("utf-8", "replace")
            if not is_valid_close_code(code):
                self._fail(CloseCode.WS_PROTOCOL_ERROR, f"{code} is not a valid close code")
                return
        answering = self._state is _State.OPEN
        if answering:
            self._write_close(code, "" if payload else None)
        self._end(code, reason)
        if answering or frame.tail_size:
            # Closing at once would reset the socket if bytes came after the client's Close, and lose our answer.
            self._linger()
        elif self._transport is not None:
            self._transport.close()
            self._abort_later()

    def _fail(self, code: int, reason: str, *, later: bool = False) -> None:
        """Fail the connection (RFC 6455, section 7.1.7): say why, hear nothing more, go.

        With `later` the handler hears of it from the loop: it is in the middle of its own `send`.
        """
        if self._state is _State.OPEN:
            self._write_close(code, reason)
        log.info("websocket failed: code=%d reason=%r address=%s", code, reason, self.address)
        self._state = _State.DRAINING
        if later:
            self._loop.call_soon(self._end, code, reason)
        else:
            self._end(code, reason)
        self._linger()

    def _end(self, code: int, reason: str) -> None:
        """Tell the handler, once."""
        if self._state is not _State.LOST:
            self._state = _State.DRAINING
        self._drop_fragments()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.lost(code, reason)

    def _linger(self) -> None:
        """Send what is buffered and a FIN, read on until the client's FIN, but not for long."""
        if self._transport is None or self._transport.is_closing():
            return
        self._abort_later()
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:
            # asyncio's own loop shuts the socket down at once; where the client has reset it meanwhile there is no end
            # to write, and `connection_lost` is on its way.
            pass

    def _abort_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._options.close_timeout, self.abort)

    def eof_received(self) -> bool:
        """The client will send no more; the transport closes itself."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone."""
        if self._handler is not None:
            log.info("websocket lost: address=%s error=%r", self.address, str(exc) if exc else "")
        self._state = _State.LOST
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The parser holds this listener; without these two a cycle would wait for the garbage collector.
        self._parser = None
        self._transport = None
        self._end(CloseCode.ABNORMAL.value, str(exc) if exc else "")
        self._on_gone(self)
