"""A WebSocket client as small as it can be, because what the generator spends the service cannot be given.

RFC 6455 is kept as far as a server can see: frames are masked, with a key of zeros, which costs the server what any key
costs it. Of a server's frames whole text frames, Close, Ping and Pong are understood.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Any, cast

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_NO_KEY = b"\0\0\0\0"
_HEAD_END = b"\r\n\r\n"
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of ip(7); Python has no name for it."""


class ConnectFailedError(Exception):
    """The handshake was refused, or the connection was lost in it. The text says how."""


def frame(message: bytes, first: int = _TEXT) -> bytes:
    """A masked frame of a client."""
    length = len(message)
    if length < 126:
        return bytes((first, 0x80 | length)) + _NO_KEY + message
    if length < 65_536:
        return bytes((first, 0xFE)) + length.to_bytes(2) + _NO_KEY + message
    return bytes((first, 0xFF)) + length.to_bytes(8) + _NO_KEY + message


class WireConnection(asyncio.Protocol):
    """One connection. on_message: every text message."""

    __slots__ = (
        "_buffer",
        "_close_sent",
        "_head",
        "_opened",
        "_transport",
        "_upgraded",
        "close_code",
        "deaf",
        "lost",
        "on_message",
        "pings",
    )

    def __init__(self, head: bytes, loop: asyncio.AbstractEventLoop, on_message: Callable[[bytes], None]) -> None:
        self._head = head
        self._buffer = b""
        self._close_sent = False
        self._opened: asyncio.Future[None] = loop.create_future()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.on_message = on_message
        self.lost: asyncio.Future[int] = loop.create_future()
        """The Close code that came, or 1006."""
        self.close_code = 1006
        self.deaf = False
        """Whether it reads nothing any more, and so answers nothing: a cable pulled, as far as the server can see."""
        self.pings = 0
        """Pings that came, and were answered."""

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self._upgraded:
            end = data.find(_HEAD_END)
            if end < 0:
                self._buffer = data
                return
            self._upgraded = True
            if not data.startswith(b"HTTP/1.1 101"):
                self._fail(data[:12].decode("latin-1"))
                self.abort()
                return
            if not self._opened.done():
                self._opened.set_result(None)
            data = data[end + 4 :]
        if data:
            self._frames(data)

    def _frames(self, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if start + length > size or start > size:
                break
            self._frame(data[at], data[start : start + length])
            at = start + length
        if at < size:
            self._buffer = data[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            self.on_message(payload)
        elif kind == _PING:
            self.pings += 1
            self._write(frame(payload, _PONG))
        elif kind == _CLOSE:
            self.close_code = int.from_bytes(payload[:2]) if payload else 1005
            if not self._close_sent:
                self._write(frame(payload, _CLOSE))
            if self._transport is not None:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("lost in the handshake")
        if not self.lost.done():
            self.lost.set_result(self.close_code)

    # -- what a scenario does -----------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Returns when the handshake is done. Raises ConnectFailedError."""
        await self._opened

    def _fail(self, why: str) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectFailedError(why))
            self._opened.exception()  # whoever dialed may be gone

    def send(self, message: bytes) -> None:
        """One text message."""
        self._write(frame(message))

    def close(self, code: int = 1000) -> None:
        """Send Close; the transport is closed when the answer comes."""
        if not self._close_sent:
            self._close_sent = True
            self._write(frame(code.to_bytes(2), _CLOSE))

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class Dialer:
    """Connects to servers in turn. sources: local addresses used in turn; one has some 28,000 ports at most."""

    def __init__(
        self, host: str, ports: tuple[int, ...], *, path: str, subprotocol: str | None, sources: tuple[str, ...]
    ) -> None:
        self._host = host
        self._ports = cycle(ports)
        self._sources = cycle(sources) if sources else None
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{ports[0]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: Z3JlZW5yb29tIGJlbmNoIQ==",
        ]
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self._head = ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def dial(self, on_message: Callable[[bytes], None], *, ssl: Any = None) -> WireConnection:
        """A connection past its handshake. Raises ConnectFailedError or OSError."""
        loop = asyncio.get_running_loop()
        host, port = self._host, next(self._ports)
        if self._sources is None:
            _, connection = await loop.create_connection(self._made(loop, on_message), host, port, ssl=ssl)
        else:
            bound = await _connected_from(next(self._sources), (_address_of(host), port), loop)
            try:
                _, connection = await loop.create_connection(
                    self._made(loop, on_message), sock=bound, ssl=ssl, server_hostname=host if ssl else None
                )
            except BaseException:
                bound.close()
                raise
        await connection.opened()
        return connection

    def _made(
        self, loop: asyncio.AbstractEventLoop, on_message: Callable[[bytes], None]
    ) -> Callable[[], WireConnection]:
        return lambda: WireConnection(self._head, loop, on_message)


async def _connected_from(source: str, target: tuple[str, int], loop: asyncio.AbstractEventLoop) -> socket.socket:
    """A connection of loopback that comes from an address of ours. The kernel chooses the port as it connects: a port
    chosen by bind() must be free of all connections that lately ended, and to look for one takes it ever longer."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if sys.platform == "linux":
            made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        made.bind((source, 0))
        await loop.sock_connect(made, target)
    except BaseException:
        made.close()
        raise
    return made


def _address_of(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def loopback_sources(host: str, count: int = 8) -> tuple[str, ...]:
    """Several addresses to come from, where the target is on loopback; else none, the kernel's choice."""
    try:
        packed = socket.inet_pton(socket.AF_INET, _address_of(host))
    except OSError:
        return ()
    return tuple(f"127.0.0.{number}" for number in range(2, 2 + count)) if packed[0] == 127 else ()
