"""One WebSocket connection: what waits to be written, control frames, Close, and how a connection ends.

Frames are read by `read_frame`; the first one that it leaves makes a `PicowsParser`, which reads from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, cast

from greenroom.codes import CloseCode
from greenroom.server.wire.frames import (
    BINARY,
    CLOSE,
    CLOSE_CODE,
    MORE,
    OTHER,
    PING,
    PING_FRAME,
    PONG,
    TEXT,
    cut_reason,
    encode,
    is_utf8,
    is_valid_close_code,
    long_header,
    read_frame,
)
from greenroom.server.wire.interface import BinaryHandler, Handler, UpgradeRequest, WebSocketOptions
from greenroom.server.wire.loop_protocol import hand_over
from greenroom.server.wire.picows_parser import PicowsParser, feed
from greenroom.server.wire.timer_wheel import TimerWheel

log = logging.getLogger("greenroom.server")

_HIGH_WATER: Final = 32_768
_LOW_WATER: Final = 8_192
_SCRATCH = memoryview(bytearray(16_384))
"""What all connections read into, one after the other; what is needed is copied at once."""
_ROOM = _SCRATCH[:2_048]
"""For frames: short reads keep short what one client can have done in one turn of the loop."""
_last_sent: tuple[bytes | None, bytes] = (None, b"")
"""A message and its frame: a fan-out sends the same object to thousands, one after the other. None: nothing was sent
yet (an empty message is always the same object)."""
_DISCARD_LIMIT: Final = 1_048_576
"""What a client may still send while its connection is being failed, before reading stops. Reading on lets it see the
Close: closing a socket with unread bytes resets it, and a reset throws the Close away."""


_NEVER: Final = float("inf")
_INTERNAL_ERROR: Final = 1011  # RFC 6455, section 7.4.1: a bug of ours
_NO_STATUS: Final = int(CloseCode.NO_STATUS)
_ABNORMAL: Final = int(CloseCode.ABNORMAL)


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # we sent Close and wait for the client's
    DRAINING = "draining"  # nothing the client sends counts any more; what we wrote is on its way
    LOST = "lost"  # the transport is gone


_OPEN: Final = _State.OPEN
_CLOSING: Final = _State.CLOSING
_DRAINING: Final = _State.DRAINING
_LOST: Final = _State.LOST
"""A name of the module is found in half the time of an enum's member."""


class WebSocketProtocol:
    """One client's WebSocket: the protocol of its transport, and its handler's `WebSocketConnection`.

    Made by the front door with `start`, once the handshake has been read and found in order.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_discarded",
        "_due",
        "_handler",
        "_on_gone",
        "_options",
        "_parser",
        "_partial",
        "_state",
        "_transport",
        "_wanted",
        "_wheel",
        "address",
        "headers",
        "path",
        "paused",
        "tick_at",
    )

    def __init__(
        self,
        handler: Handler,
        request: UpgradeRequest,
        options: WebSocketOptions,
        wheel: TimerWheel,
        on_gone: Callable[[WebSocketProtocol], None],
    ) -> None:
        self.address: str = request.address
        self.headers: Mapping[str, str] = request.headers
        self.path: str = request.path
        self.paused = False
        self._handler: Handler | None = handler
        self._options = options
        self._on_gone = on_gone
        self._wheel = wheel
        self._due = _NEVER
        """When a message in fragments must be whole, or the client gone."""
        self.tick_at = _NEVER
        self._parser: PicowsParser | None = None
        """Made where it is needed."""
        self._partial: bytearray | None = None
        """The frame that has begun."""
        self._wanted = 0
        """How many bytes it must have before it is worth looking again."""
        self._transport: asyncio.Transport | None = None
        self._state = _OPEN
        self._allowance = float(options.control_frames_burst)
        self._allowance_at = 0.0
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the transport over."""
        self._transport = transport
        transport.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        hand_over(transport, self)

    def start(self, answer: bytes, early: bytes) -> None:
        """Write `answer` (the 101), call the handler, read on with `early`, what came after the request's head."""
        assert self._transport is not None
        self._transport.write(answer)
        assert self._handler is not None
        self._handler.opened(self)
        feed(self, early)

    # --- WebSocketConnection ------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._state is not _OPEN

    def send(self, message: bytes) -> None:
        """Send one text message; see `WebSocketConnection.send`."""
        global _last_sent
        transport = self._transport
        if self._state is not _OPEN or transport is None:
            return
        last, frame = _last_sent
        if last is message:
            transport.write(frame)
        elif len(message) < 65_536:
            frame = encode(TEXT, message)
            _last_sent = (message, frame)
            transport.write(frame)
        else:
            # Large: two writes are cheaper than a copy.
            transport.write(long_header(TEXT, len(message)))
            transport.write(message)
        if self.paused:
            self._check_reader(transport)

    def send_binary(self, message: bytes) -> None:
        """Send one binary message; otherwise as `send`."""
        self._write(encode(BINARY, message))

    def ping(self) -> None:
        """Send an empty Ping."""
        self._write(PING_FRAME)

    def close(self, code: int, reason: str) -> None:
        """Send Close and wait for the client's; see `WebSocketConnection.close`."""
        if self._state is not _OPEN:
            return
        self._write_close(code, reason)
        self._state = _CLOSING
        self._drop_partial()
        self._abort_later()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._state is not _LOST and self._transport is not None:
            self._state = _DRAINING
            self._transport.abort()

    def buffered(self) -> int:
        """Bytes waiting to be written."""
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size()

    # --- writing --------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if self._state is _OPEN and transport is not None:
            transport.write(data)
            if self.paused:
                self._check_reader(transport)

    def _check_reader(self, transport: asyncio.Transport) -> None:
        """Fail the connection whose client leaves too much unread."""
        if transport.get_write_buffer_size() > self._options.max_buffered_bytes:
            self._fail(CloseCode.SLOW_READER, "the client does not read what it is sent", later=True)

    def _write_close(self, code: int, reason: str | None) -> None:
        """Write a Close; `reason` None writes one without a code (1005)."""
        assert self._transport is not None
        payload = b"" if reason is None else CLOSE_CODE.pack(code) + cut_reason(reason)
        self._transport.write(encode(CLOSE, payload))

    def pause_writing(self) -> None:
        """The transport's buffer went over its high mark."""
        self.paused = True

    def resume_writing(self) -> None:
        """The transport's buffer fell below its low mark."""
        self.paused = False
        if self._state is _OPEN and self._handler is not None:
            self._handler.drained()

    # --- reading --------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall read to."""
        if self._state is _DRAINING:
            return _SCRATCH
        return _ROOM if self._parser is None else self._parser.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has read `nbytes` to where `get_buffer` said."""
        if self._state is _OPEN and self._parser is None and self._partial is None:
            data = bytes(_ROOM[:nbytes])
        else:
            data = self._read_on(nbytes)
        at, limit = 0, self._options.max_message_bytes
        try:
            while at < len(data) and (self._state is _OPEN or self._state is _CLOSING):
                first, end, payload = read_frame(data, at, limit)
                if first == TEXT and payload.isascii() and self._state is _OPEN:
                    self._handler.text(payload)  # type: ignore[union-attr]
                elif first == MORE:
                    self._partial, self._wanted = bytearray(data[at:]), end - at
                    return
                elif first == OTHER:
                    self._parser = PicowsParser(self, self._options)
                    feed(self._parser, data[at:])
                    return
                elif first == TEXT:
                    self.on_text(payload)
                else:
                    self.on_control(first, payload, more=end < len(data))
                at = end
        except Exception:
            log.exception("websocket handler failed: address=%s", self.address)
            self.on_violation(_INTERNAL_ERROR, "")

    def _read_on(self, nbytes: int) -> bytes:
        """What is there of frames where something was before: a part of one, our Close, or a parser, which reads them
        itself."""
        if self._state is not _OPEN:
            # In CLOSING too: what a flood puts before the Close that is waited for costs no more than after a failure.
            self._discard(nbytes)
            if self._state is not _CLOSING:
                return b""
        if self._parser is not None:
            self._parser.buffer_updated(nbytes)
            return b""
        partial, self._partial = self._partial, None
        if partial is None:
            return bytes(_ROOM[:nbytes])
        partial += _ROOM[:nbytes]
        if len(partial) < self._wanted:
            self._partial = partial
            return b""
        return bytes(partial)

    def _drop_partial(self) -> None:
        self._partial = None
        if self._parser is not None:
            self._parser.drop_fragments()

    def _discard(self, nbytes: int) -> None:
        self._discarded += nbytes
        if self._discarded > _DISCARD_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    # --- FrameOwner ---------------------------------------------------------------------------------------------------

    @property
    def takes_binary(self) -> bool:
        """Whether the handler takes binary messages."""
        return hasattr(self._handler, "binary")

    def on_text(self, message: bytes) -> None:
        """A whole text message has come."""
        if self._state is not _OPEN:
            return
        if not message.isascii() and not is_utf8(message):
            self._fail(CloseCode.INVALID_UTF8, "the message is not UTF-8")
            return
        self._handler.text(message)  # type: ignore[union-attr]

    def on_binary(self, message: bytes) -> None:
        """A whole binary message has come."""
        if self._state is _OPEN:
            cast(BinaryHandler, self._handler).binary(message)

    def on_control(self, first: int, payload: bytes, *, more: bool) -> None:
        """A Close, Ping or Pong has come. more: bytes have come after it."""
        if first == CLOSE:
            if self._state is _OPEN or self._state is _CLOSING:
                self._on_close(payload, more)
        elif self._state is not _OPEN:
            pass
        elif not self._control_frame_allowed():
            self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")
        elif first == PING:
            self._write(encode(PONG, payload))
        elif self._handler is not None:
            self._handler.pong()

    def on_fragments(self, *, pending: bool) -> None:
        """The rest of a message in fragments is waited for, or no longer."""
        self._due = self._wheel.after(self, self._options.fragment_timeout) if pending else _NEVER

    def on_violation(self, code: int, reason: str) -> None:
        """What the client sent breaks the protocol."""
        if self._state is _OPEN or self._state is _CLOSING:
            self._fail(code, reason)

    def _control_frame_allowed(self) -> bool:
        """A token bucket of this connection's own: two floats, no timer."""
        now = self._wheel.clock()
        options = self._options
        earned = (now - self._allowance_at) * options.control_frames_per_second
        self._allowance = min(self._allowance + earned, options.control_frames_burst) - 1
        self._allowance_at = now
        return self._allowance >= 0

    # --- endings --------------------------------------------------------------------------------------------------

    def _on_close(self, payload: bytes, more: bool) -> None:
        """The client's Close (RFC 6455, sections 5.5.1 and 7.1), of a valid length and with a reason in UTF-8."""
        code, reason = _NO_STATUS, ""
        if payload:
            code, reason = CLOSE_CODE.unpack_from(payload)[0], payload[2:].decode()
            if not is_valid_close_code(code):
                self._fail(CloseCode.WS_PROTOCOL_ERROR, f"{code} is not a valid close code")
                return
        answering = self._state is _OPEN
        if answering:
            self._write_close(code, "" if payload else None)
        self._end(code, reason)
        if answering or more:
            # Closing at once would reset the socket if bytes came after the client's Close, and lose our answer.
            self._linger()
        elif self._transport is not None:
            self._transport.close()
            self._abort_later()

    def _fail(self, code: int, reason: str, *, later: bool = False) -> None:
        """Fail the connection (RFC 6455, section 7.1.7): send the code, read nothing more, close.

        With `later` the handler is called from the loop: it is in the middle of its own `send`.
        """
        if self._state is _OPEN:
            self._write_close(code, reason)
        log.info("websocket failed: code=%d reason=%r address=%s", code, reason, self.address)
        self._state = _DRAINING
        self._drop_partial()
        if later:
            asyncio.get_running_loop().call_soon(self._end, code, reason)
        else:
            self._end(code, reason)
        self._linger()

    def _end(self, code: int, reason: str) -> None:
        """Notify the handler, once."""
        if self._state is not _LOST:
            self._state = _DRAINING
        self._drop_partial()
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
            # asyncio's own loop shuts the socket down at once; where the client has reset it meanwhile there is no
            # end to write, and `connection_lost` is on its way.
            pass

    def _abort_later(self) -> None:
        if self._due == _NEVER:
            self._due = self._wheel.after(self, self._options.close_timeout)

    def planned(self, at: float) -> None:
        """See `Ticked.planned`."""
        self.tick_at = at

    def tick(self) -> None:
        """Something may be late."""
        if self._wheel.clock() < self._due:
            self._wheel.schedule(self, self._due)
        elif self._state is _OPEN:
            self._fail(
                CloseCode.POLICY_VIOLATION, f"a message must be complete within {self._options.fragment_timeout:g} s"
            )
        else:
            self.abort()

    def eof_received(self) -> bool:
        """The client will send no more; the transport closes itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if self._handler is not None:
            log.info("websocket lost: address=%s error=%r", self.address, str(exc) if exc else "")
        self._state = _LOST
        self._due = _NEVER
        # Parser and transport hold this; without these a cycle would wait for the garbage collector.
        if self._parser is not None:
            self._parser.close()
            self._parser = None
        self._transport = None
        self._end(_ABNORMAL, str(exc) if exc else "")
        self._on_gone(self)
