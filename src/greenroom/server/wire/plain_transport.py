"""Connections without TLS, on an epoll of our own that lies inside the event loop's.

What uvloop makes for each connection (a task that starts it, a stream's handle, a request for each write, contexts and
callbacks) costs a short one more than all that is done with it; here it is a socket, and a row in a dict. With TLS,
and where the system has no epoll (macOS), connections are the event loop's own.

What can go wrong, and which rule prevents it
---------------------------------------------

*A client sends without end.* Each connection is read once in a turn of the loop, into the buffer that its protocol
gives, and `AT_ONCE` of them at most; what is left is found ready in the next turn.

*Thousands of clients are gone in one instant.* To close a socket costs more than to read a ping: `ENDED_AT_ONCE` of
them are closed in a turn, and all others are served meanwhile.

*A client reads slowly.* What the kernel does not accept is kept, and the protocol is paused, as asyncio does it.

*A number is used again in the same turn.* A socket that was closed may leave an event behind for the one that has its
number now: that one looks, and finds nothing to read or write.

*Nobody wants to read, and the client is gone.* epoll says so all the same, again and again: then the connection is
over.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterable
from contextlib import suppress
from errno import ECONNRESET
from socket import MSG_DONTWAIT, SHUT_WR, SocketType
from typing import Any, Final, Protocol, cast

AT_ONCE: Final = 256
"""Connections that are read or written in one turn of the loop: some 5 ms."""
ENDED_AT_ONCE: Final = 64
"""Connections among them that their clients have ended."""
_MOST_EVENTS: Final = 1_024
_IN: Final = 1 | 0x2000
_OUT: Final = 4
_GONE: Final = 8 | 16
"""EPOLLIN with EPOLLRDHUP, EPOLLOUT, and EPOLLERR or EPOLLHUP of epoll_ctl(2), as numbers that are known when this is
compiled."""
_ENDED: Final = 0x2000 | _GONE
_HIGH_WATER: Final = 65_536


class TransportProtocol(Protocol):
    """What is called of a connection's protocol, as `asyncio.BufferedProtocol` has it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The first call."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""

    def eof_received(self) -> bool | None:
        """The client sends no more; the transport closes itself."""

    def pause_writing(self) -> None:
        """More is kept than the high mark."""

    def resume_writing(self) -> None:
        """It is at the low mark again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The last call. exc: None where either side closed it."""


class PlainTransport:
    """One connection: as much of `asyncio.Transport` as the front door, sessions and aiohttp ask for. Made by a
    `Poller`."""

    __slots__ = (
        "_has_eof", "_high", "_is_closing", "_is_paused", "_low", "_number", "_poller", "_protocol", "_socket",
        "_unsent", "_wanted",
    )  # fmt: skip

    def __init__(self, poller: Poller, connection: SocketType, protocol: TransportProtocol) -> None:
        self._poller = poller
        self._socket: SocketType | None = connection
        self._number = connection.fileno()
        self._protocol = protocol
        self._unsent: bytearray | None = None
        """What the kernel has not taken; None: nothing."""
        self._wanted = _IN
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._is_paused = False
        """Whether the protocol is."""
        self._is_closing = False
        self._has_eof = False
        """Whether nothing is written any more."""

    # -- the poller's -------------------------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """Something may be read or written. Raises what the protocol does."""
        if events & _OUT:
            self._flush()
        connection = self._socket
        if connection is None or events == _OUT:
            return
        if not self._wanted & _IN:
            if events & _GONE:
                self.fail(ConnectionResetError(ECONNRESET, "Connection reset by peer"))
            return
        protocol = self._protocol
        try:
            count = connection.recv_into(protocol.get_buffer(-1), 0, MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.fail(error)
            return
        if count:
            protocol.buffer_updated(count)
        else:
            self._end(protocol)

    def fail(self, error: Exception | None) -> None:
        """Close at once: what is not sent is lost. error: for the protocol."""
        self._unsent = None
        self._is_closing = True
        if self._release():
            self._poller.loop.call_soon(self._protocol.connection_lost, error)

    def _end(self, protocol: TransportProtocol) -> None:
        """The client sends no more."""
        protocol.eof_received()
        if self._unsent is not None:
            self.close()
        elif self._release():
            self._is_closing = True
            self._protocol.connection_lost(None)

    def _flush(self) -> None:
        connection, unsent = self._socket, self._unsent
        if connection is None or unsent is None:
            return
        try:
            del unsent[: connection.send(unsent, MSG_DONTWAIT)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.fail(error)
            return
        if not unsent:
            self._unsent = None
            self._want(self._wanted & ~_OUT)
        if self._is_paused and len(unsent) <= self._low:
            self._is_paused = False
            self._protocol.resume_writing()
        if self._unsent is None:
            if self._is_closing:
                self.fail(None)
            elif self._has_eof:
                self._shut_down()

    def _want(self, wanted: int) -> None:
        if wanted != self._wanted and self._socket is not None:
            self._wanted = wanted
            self._poller.watch(self._number, wanted)

    def _release(self) -> bool:
        """The socket is closed; False: it was before."""
        connection, self._socket = self._socket, None
        if connection is None:
            return False
        self._poller.forget(self._number)
        connection.close()
        return True

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """At once, as much as the kernel takes; the rest is kept."""
        connection, unsent = self._socket, self._unsent
        if connection is None or self._is_closing or self._has_eof:
            return
        if unsent is not None:
            unsent += data
        else:
            sent = 0
            try:
                sent = connection.send(data, MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self.fail(error)
                return
            if sent == len(data):
                return
            unsent = self._unsent = bytearray(memoryview(data)[sent:])
            self._want(self._wanted | _OUT)
        self._pause_if_full(unsent)

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        """All of them, in their order."""
        self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Nothing more is written after what was: the client sees the end, and may keep sending."""
        if self._has_eof or self._is_closing:
            return
        self._has_eof = True
        if self._unsent is None:
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the client has reset it, which is found when it is read
                self._socket.shutdown(SHUT_WR)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes above which the protocol is paused, and at which it is resumed."""
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
        if self._unsent is not None:
            self._pause_if_full(self._unsent)

    def _pause_if_full(self, unsent: bytearray) -> None:
        if len(unsent) > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return 0 if self._unsent is None else len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """As they were set: low, high."""
        return self._low, self._high

    # -- reading ------------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        self._want(self._wanted & ~_IN)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_closing:
            self._want(self._wanted | _IN)

    def is_reading(self) -> bool:
        """Whether it is not paused."""
        return bool(self._wanted & _IN)

    # -- the end ------------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether it is closed, or is about to be."""
        return self._is_closing

    def close(self) -> None:
        """Send what is written, then close."""
        if self._is_closing:
            return
        if self._unsent is None:
            self.fail(None)
        else:
            self._is_closing = True
            self._want(_OUT)

    def abort(self) -> None:
        """Close at once."""
        self.fail(None)

    # -- who ----------------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`socket`, `peername` and `sockname`, while it is open."""
        connection = self._socket
        if connection is None:
            return default
        with suppress(OSError):
            if name == "socket":
                return connection
            if name == "peername":
                return connection.getpeername()
            if name == "sockname":
                return connection.getsockname()
        return default

    def set_protocol(self, protocol: TransportProtocol) -> None:
        """Who reads and is notified from now on."""
        self._protocol = protocol

    def get_protocol(self) -> TransportProtocol:
        """Who does now."""
        return self._protocol


class Poller:
    """Of one listening socket. Made in a running loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._there: dict[int, PlainTransport] = {}
        """By the number of the socket."""
        self._is_open = True
        self.loop.add_reader(self._epoll.fileno(), self._ready)

    def start(self, connection: SocketType, protocol: TransportProtocol) -> asyncio.Transport:
        """A connection that was accepted is the protocol's, which is not called yet. Whether the socket blocks does not
        matter: no call here waits. Raises OSError where the kernel watches no more (``fs.epoll.max_user_watches``,
        memory): the connection is the caller's then."""
        number = connection.fileno()
        self._epoll.register(number, _IN)
        transport = self._there[number] = PlainTransport(self, connection, protocol)
        return cast(asyncio.Transport, transport)

    def close(self) -> None:
        """No more connections come; those that are open continue. Called once."""
        self._is_open = False
        self._end_if_empty()

    def watch(self, number: int, events: int) -> None:
        """What is to be known of a connection."""
        self._epoll.modify(number, events)

    def forget(self, number: int) -> None:
        """Its connection is about to be closed."""
        del self._there[number]
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if not self._is_open and not self._there:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        there, left, ended_left = self._there, AT_ONCE, ENDED_AT_ONCE
        for number, events in self._epoll.poll(0, _MOST_EVENTS):
            if events & _ENDED:
                ended_left -= 1
                if ended_left < 0:
                    continue  # the kernel says it again
            else:
                left -= 1
                if left < 0:
                    continue
            transport = there.get(number)
            if transport is None:
                continue
            try:
                transport.ready(events)
            except Exception as error:
                context = {"message": "a protocol failed", "exception": error, "transport": transport}
                self.loop.call_exception_handler(context)
                transport.fail(error)
