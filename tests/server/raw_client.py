"""A WebSocket client that can do everything wrong, and a front door to do it to: bytes on asyncio streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aiohttp import web

from greenroom.engines.clock import ManualClock
from greenroom.server.wire.addresses import Limits
from greenroom.server.wire.front_door import FrontDoor
from greenroom.server.wire.interface import (
    Handler,
    Listener,
    Refusal,
    UpgradeRequest,
    WebSocketConnection,
    WebSocketOptions,
)
from greenroom.server.wire.timer_wheel import TimerWheel
from tests.support.patience import PATIENCE, until

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A plain request."""
HALVES = {"nothing": b"", "a letter": b"G", "a line": b"GET / HTTP/1.1\r\n", "all but the end": GET[:-1]}

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455, section 1.3
KINDS = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
SLOT = 0.01
"""Seconds from one look at what is due to the next."""
LARGE = 20_000_000
"""More than the kernel and the connection hold of what is not read."""


def mask(payload: bytes, key: bytes = MASK) -> bytes:
    """`payload` XOR `key`, as big integers: 16 MiB in a few milliseconds."""
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(size)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: bytes | None = None,
) -> bytes:
    """One frame. `length` overrides the length field: the first byte without the mask bit, and what follows it."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        elif size < 65_536:
            length = struct.pack(">BH", 126, size)
        else:
            length = struct.pack(">BQ", 127, size)
    head = bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:]
    return head + (MASK + mask(payload) if masked else payload)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A Close as a client sends it."""
    return frame(CLOSE, struct.pack(">H", code) + reason)


def fragments(opcode: int, parts: Iterable[bytes]) -> bytes:
    """One message in a frame for each part."""
    listed = list(parts)
    last = len(listed) - 1
    return b"".join(frame(CONTINUATION if i else opcode, part, fin=i == last) for i, part in enumerate(listed))


def split(payload: bytes, size: int) -> list[bytes]:
    """`payload` in pieces of `size`."""
    return [payload[i : i + size] for i in range(0, len(payload), size)]


def handshake(
    path: str = "/v1/session",
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
    drop: Iterable[str] = (),
    subprotocol: str | None = "greenroom.v1",
    extra: Iterable[str] = (),
    **replace: str,
) -> bytes:
    """A handshake in order, but for what is dropped, replaced (`sec_websocket_key=…`) or added."""
    headers = {
        "host": "localhost",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    }
    if subprotocol is not None:
        headers["sec-websocket-protocol"] = subprotocol
    headers.update({name.replace("_", "-"): value for name, value in replace.items()})
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name not in drop]
    return "\r\n".join([*lines, *extra, "", ""]).encode("latin-1")


@dataclass
class Response:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


Event = tuple[str, object]


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *data: bytes, chop: int | None = None) -> None:
        """Send every piece in a packet of its own, or in pieces of `chop` bytes."""
        for piece in data:
            for part in split(piece, chop) if chop else [piece]:
                if self.writer.is_closing():
                    return
                self.writer.write(part)
                if chop or len(data) > 1:
                    await asyncio.sleep(0)
        # A connection that was refused in the middle of what we send is what many tests are about.
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def response(self) -> Response:
        """Read a response head, and its body by Content-Length."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Response(int(lines[0].split(" ")[1]), headers, body)

    async def event(self) -> Event:
        """The next frame: ("text", bytes), ("pong", bytes), ("close", (code, reason)); or how the connection ended,
        ("eof", None) or ("reset", None).

        Fails the test if the server masks, fragments or sets reserved bits.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                first, second = await self.reader.readexactly(2)
                size = second
                if second >= 126:
                    size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
                payload = await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            return ("cut short", error.partial) if error.partial else ("eof", None)
        except ConnectionError:
            return ("reset", None)
        assert first & 0xF0 == 0x80, f"FIN and no reserved bits expected: {first:#x}"
        kind = KINDS[first & 15]
        if kind == "close":
            code = int.from_bytes(payload[:2]) if payload else None
            return (kind, (code, payload[2:].decode()))
        return (kind, payload)

    async def events(self) -> list[Event]:
        """All frames until the server ends the connection; the end is the last."""
        got: list[Event] = []
        while not got or got[-1][0] not in ("eof", "reset", "cut short"):
            got.append(await self.event())
        return got

    async def closed_with(self) -> tuple[list[Event], int | None]:
        """What came before Close, and its code; the connection must end right after it, with FIN and no reset."""
        got = await self.events()
        assert got[-1] == ("eof", None), got
        assert len(got) > 1, "the connection ended without a Close"
        kind, detail = got[-2]
        assert kind == "close", got
        assert isinstance(detail, tuple)
        return got[:-2], detail[0]

    async def flood(self, data: bytes) -> None:
        """Send `data` again and again until the server resets the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while not self.writer.is_closing():
                    self.writer.write(data)
                    await self.writer.drain()
                    await asyncio.sleep(0)

    async def half_close(self) -> None:
        """Send FIN."""
        self.writer.write_eof()

    def abort(self) -> None:
        """Reset the connection."""
        transport = self.writer.transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(*_LINGER_ZERO)
        transport.abort()


_LINGER_ZERO = (1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: close sends RST


@dataclass
class Recorder:
    """A handler that keeps what it receives, and sends text back."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    websocket: WebSocketConnection | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket
        self.calls.append(("opened",))

    def text(self, message: bytes) -> None:
        self.calls.append(("text", message))
        assert self.websocket is not None
        self.websocket.send(message)

    def lost(self, code: int, reason: str) -> None:
        self.calls.append(("lost", code, reason))
        self.over.set()

    def pong(self) -> None:
        self.calls.append(("pong",))

    def drained(self) -> None:
        self.calls.append(("drained",))

    async def ended(self) -> tuple[object, ...]:
        """Wait for `lost`; its code and reason."""
        async with asyncio.timeout(PATIENCE):
            await self.over.wait()
        return self.calls[-1]


@dataclass
class RunningDoor:
    """A front door on a port of its own, and the handlers it made."""

    door: FrontDoor
    server: Listener
    port: int
    handlers: list[Recorder]
    requests: list[UpgradeRequest]
    answer: Callable[[UpgradeRequest], Handler | Refusal] | None = None

    def take(self, request: UpgradeRequest) -> Handler | Refusal:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer(request)
        self.handlers.append(Recorder())
        return self.handlers[-1]

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[RawClient]:
        """A TCP connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=32 * 1024 * 1024)
        try:
            yield RawClient(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def session(self, **how: str) -> AsyncIterator[RawClient]:
        """A WebSocket."""
        async with self.client() as client:
            await client.send(handshake(**how))
            response = await client.response()
            assert response.status == 101, response
            yield client


async def idle(clock: ManualClock) -> None:
    """Nothing happens for a minute of the service's clock, and it has looked at what is due."""
    clock.advance(60.0)
    await asyncio.sleep(3 * SLOT)


def loopback() -> socket.socket:
    """A bound socket on a free port of the loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


class PlainHttp:
    """The HTTP side: says what it saw. It answers /unread without having read the body, /large with `LARGE` bytes."""

    async def handle(self, request: web.BaseRequest, address: str) -> web.StreamResponse:
        if request.path == "/unread":
            return web.json_response({"path": request.path})
        if request.path == "/large":
            return web.Response(body=bytes(LARGE))
        body = await request.read()
        return web.json_response({"path": request.path, "address": address, "body": len(body)})

    def malformed(self, status: int) -> web.Response:
        return _closing(web.json_response({"malformed": True}, status=status))

    def failed(self) -> web.Response:
        return _closing(web.json_response({"failed": True}, status=500))


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response


@contextlib.contextmanager
def turning_wheel(clock: Callable[[], float] = time.monotonic) -> Iterator[TimerWheel]:
    """With short slots, so that short timeouts are short."""
    wheel = TimerWheel(clock, SLOT)
    try:
        yield wheel
    finally:
        wheel.stop()


@contextlib.asynccontextmanager
async def serving(
    options: WebSocketOptions | None = None,
    *,
    limits: Limits | None = None,
    answer: Callable[[UpgradeRequest], Handler | Refusal] | None = None,
    ws_path: str | None = "/v1/session",
    subprotocol: str | None = "greenroom.v1",
    tls: ssl.SSLContext | None = None,
    backlog: int = 100,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[RunningDoor]:
    """Serve on a free port of the loopback; at the end nobody may be left inside. clock: of all timeouts."""
    with turning_wheel(clock) as wheel:
        handlers: list[Recorder] = []
        doors: list[RunningDoor] = []
        door = FrontDoor(
            http=PlainHttp(),
            sessions=lambda request: doors[0].take(request),
            limits=limits or Limits(),
            wheel=wheel,
            ws_path=ws_path,
            subprotocol=subprotocol,
            options=options,
            tls=tls,
        )
        server = await door.listen(loopback(), backlog=backlog)
        doors.append(RunningDoor(door, server, server.sockets[0].getsockname()[1], handlers, [], answer))
        try:
            yield doors[0]
        finally:
            server.close()
            await door.finish_requests(1.0)
            door.abort_all()
            await until(lambda: not door.visitors and not door.connections)


def seen(response: Response) -> dict[str, object]:
    """What the HTTP side saw."""
    assert response.status == 200
    return dict(json.loads(response.body))


async def hello(client: RawClient) -> None:
    """The connection is a session's: text comes back."""
    await client.send(frame(TEXT, b"hello"))
    assert await client.event() == ("text", b"hello")
