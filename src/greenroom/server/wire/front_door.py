"""One port for sessions and HTTP: reads the request head, and hands the transport to one or the other.

The first head of a connection is read here, within `head_timeout` and `max_head_bytes`. An upgrade goes straight to
its `WebSocketProtocol`; everything else to aiohttp, which from then on is fed through this protocol. Upgrades that come
later on the same connection (proxies pool them) are found by aiohttp's own parser, in front of the HTTP handler: one
parser alone decides where a request begins, so that nobody can smuggle one inside a body. With TLS a
connection is counted for its address before its handshake. `accept_gate` decides when to accept.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Final

from aiohttp import web

from greenroom.server.wire.accept_gate import AcceptGate, Arrival, GatedListener
from greenroom.server.wire.addresses import Limits, normalise
from greenroom.server.wire.handshake import (
    MAX_FIELDS,
    Accepted,
    Head,
    MalformedHeadError,
    TooManyFieldsError,
    is_host,
    judge,
    parse_head,
    switching_protocols,
)
from greenroom.server.wire.handshake_cache import HandshakeCache, accept, take_key_out
from greenroom.server.wire.http_protocol import HandedOver, HttpHandler, HttpProtocol, HttpServer
from greenroom.server.wire.interface import Handler, Listener, Refusal, UpgradeRequest, WebSocketOptions
from greenroom.server.wire.proxy_protocol import MalformedProxyHeaderError, read_proxy_header
from greenroom.server.wire.timer_wheel import TimerWheel
from greenroom.server.wire.websocket import WebSocketProtocol

log = logging.getLogger("greenroom.server")

Sessions = Callable[[UpgradeRequest], Handler | Refusal]

_END: Final = b"\r\n\r\n"
_UPGRADE_HEADER: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_SCRATCH: Final = memoryview(bytearray(16_384))
"""What all visitors read into; each takes a copy at once. Short reads keep short what one client can have done in one
turn of the loop: an ordinary protocol is given up to 256 KiB, and behind a handshake those are frames."""
_DISCARD_LIMIT: Final = 1_048_576
_NEVER: Final = float("inf")
_SEND_BUFFER_BYTES: Final = 131_072
"""What the kernel may hold of what a client does not read (it takes twice that); without a bound, 4 MB."""
_TOO_MANY: Final = Refusal.error(
    429,
    error="temporarily_unavailable",
    reason="Too_many_connections",
    description="Too many connections are open from your address. Close some, or try again later.",
    headers={"Retry-After": "10"},
)


class _State(Enum):
    PROXY = "proxy"  # a trusted proxy's, which may begin with a PROXY protocol header
    HEAD = "head"  # reading the first request head
    BUSY = "busy"  # HTTP: a request is being read or answered
    IDLE = "idle"  # HTTP: between two requests
    LATER_HEAD = "later head"  # HTTP: a later head has begun
    LINGERING = "lingering"  # refused; what still comes is thrown away
    GONE = "gone"  # handed over to a WebSocketProtocol, or lost


_PROXY: Final = _State.PROXY
_HEAD: Final = _State.HEAD
_BUSY: Final = _State.BUSY
_IDLE: Final = _State.IDLE
_LATER_HEAD: Final = _State.LATER_HEAD
_LINGERING: Final = _State.LINGERING
_GONE: Final = _State.GONE
"""Names of the module are found in half the time of an enum's members."""


def _response(refusal: Refusal, method: str) -> bytes:
    headers = {
        "Content-Type": "application/json",
        **refusal.headers,
        "Content-Length": str(len(refusal.body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1") + _END
    return head if method == "HEAD" else head + refusal.body


class _Visitor:
    """One connection, until it is a session's; for as long as it lives if it is HTTP."""

    __slots__ = (
        "_answer_due", "_arrival", "_buffer", "_count", "_door", "_due", "_inner", "_is_counted", "_state",
        "_transport", "_unsent", "address", "tick_at",
    )  # fmt: skip

    def __init__(self, door: FrontDoor, arrival: Arrival) -> None:
        self.address = ""
        self._arrival = arrival
        self._door = door
        self._state = _HEAD
        self._buffer = bytearray()
        self._count = 0
        self._inner: HttpProtocol | None = None
        self._is_counted = False
        self._transport: asyncio.Transport | None = None
        self._unsent = 0
        self._due = _NEVER
        """When a head must be whole, or what lingers must be gone."""
        self._answer_due = _NEVER
        """When more of an answer must have been read."""
        self.tick_at = _NEVER

    @property
    def transport(self) -> asyncio.Transport | None:
        """Where bytes go; None when it is handed over or gone."""
        return self._transport

    # --- what the transport calls -----------------------------------------------------------------------------------

    def count_for(self, address: str) -> bool:
        """Count this connection for `address`; False: it has its share already."""
        self.address = address
        self._is_counted = self._door.limits.admit(address)
        return self._is_counted

    def release(self) -> None:
        """It no longer counts."""
        self._arrival.answered()
        if self._is_counted:
            self._is_counted = False
            self._door.limits.release(self.address)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """It was accepted, and its TLS handshake is done."""
        self._transport = transport
        # Any byte that the kernel does not take pauses writing: see `pause_writing`.
        transport.set_write_buffer_limits(high=1, low=0)
        self._door.visitors.add(self)
        if self._door.limits.is_trusted(self.address):
            self._state = _PROXY
        self._due = self._door.wheel.after(self, self._door.options.head_timeout)
        if not self._is_counted:
            self._refuse(_TOO_MANY)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_SCRATCH[:nbytes])
        if self._state is _BUSY:
            assert self._inner is not None
            self._inner.data_received(data)
        elif self._state is _HEAD or self._state is _PROXY:
            self._buffer += data
            self._read_head()
        elif self._state is _IDLE or self._state is _LATER_HEAD:
            self._watch_later_head(data)
        elif self._state is _LINGERING:
            self._count += len(data)
            if self._count > _DISCARD_LIMIT and self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> bool | None:
        if self._inner is not None:
            self._inner.eof_received()
        return None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()
            self._watch_progress()

    def resume_writing(self) -> None:
        # TLS may have paused before aiohttp was here.
        if self._inner is not None and self._answer_due != _NEVER:
            self._answer_due = _NEVER
            self._inner.resume_writing()

    def _watch_progress(self) -> None:
        """Abort a connection whose client reads nothing of an answer for `answer_timeout`."""
        transport = self._transport
        if transport is None:
            return
        self._unsent = transport.get_write_buffer_size()
        self._answer_due = self._door.wheel.after(self, self._door.options.answer_timeout)

    def _answer_late(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if transport.get_write_buffer_size() < self._unsent:
            self._watch_progress()
        else:
            log.info("an answer is not being read: address=%s", self.address)
            transport.abort()

    def planned(self, at: float) -> None:
        """See `Ticked.planned`."""
        self.tick_at = at

    def tick(self) -> None:
        """Something may be late."""
        wheel = self._door.wheel
        now = wheel.clock()
        if now >= self._answer_due:
            self._answer_due = _NEVER
            self._answer_late()
        if now >= self._due:
            self._due = _NEVER
            if self._state is not _LINGERING:
                self._head_late()
            elif self._transport is not None:
                self._transport.abort()
        wheel.schedule(self, min(self._due, self._answer_due))

    def connection_lost(self, exc: Exception | None) -> None:
        self._due = self._answer_due = _NEVER
        self._door.visitors.discard(self)
        self.release()
        self._state = _GONE
        self._transport = None
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connection_lost(exc)

    # --- the first head ---------------------------------------------------------------------------------------------

    def _read_head(self) -> None:
        if self._state is _PROXY and not self._read_proxy_header():
            return
        buffer = self._buffer
        if buffer and buffer[0] in b"\r\n":
            # An empty line or two before the request line is to be ignored (RFC 9112, section 2.2).
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
        if buffer and not buffer[:1].isalpha():
            self._refuse(Refusal.error(400, description="This is not HTTP. Does the client speak TLS to a plain port?"))
            return
        end = buffer.find(_END, self._count)
        if end > self._door.options.max_head_bytes or (end < 0 and self._head_is_too_large()):
            self._refuse(_too_large(self._door.options.max_head_bytes))
        elif end < 0:
            self._count = max(0, len(buffer) - 3)
        else:
            self._route(bytes(buffer[:end]), bytes(buffer[end + 4 :]))

    def _head_is_too_large(self) -> bool:
        return len(self._buffer) > self._door.options.max_head_bytes

    def _read_proxy_header(self) -> bool:
        """Whether the PROXY protocol header, if there is one, has been read."""
        try:
            header = read_proxy_header(bytes(self._buffer))
        except MalformedProxyHeaderError as error:
            self._refuse(Refusal.error(400, description=f"The PROXY protocol header is malformed: {error}."))
            return False
        if header is None:
            if self._head_is_too_large():
                self._refuse(_too_large(self._door.options.max_head_bytes))
            return False
        del self._buffer[: header.size]
        self._state = _HEAD
        # The proxy itself was not counted.
        if header.address is not None and not self.count_for(header.address):
            self._refuse(_TOO_MANY)
        return self._state is _HEAD

    def _route(self, head: bytes, rest: bytes) -> None:
        self._due = _NEVER
        door = self._door
        if not door.asks_for_sessions(head) and not _UPGRADE_HEADER.search(head):
            self._to_http(head, rest)
            return
        try:
            verdict = door.read(head, self.address)
        except TooManyFieldsError:
            self._refuse(_too_large(door.options.max_head_bytes))
            return
        except MalformedHeadError as error:
            self._refuse(Refusal.error(400, description=f"The request is malformed: {error}."))
            return
        if verdict is None:
            self._to_http(head, rest)
            return
        handler = self.choose_handler(verdict.request) if isinstance(verdict, Accepted) else verdict
        if isinstance(handler, Refusal):
            self._refuse(handler, "HEAD" if head.startswith(b"HEAD ") else "GET")
        else:
            assert isinstance(verdict, Accepted)
            self.hand_over(verdict, handler, rest)

    def _to_http(self, head: bytes, rest: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._state = _BUSY
        self._buffer = bytearray()
        self._inner = inner = self._door.http_server.protocol_for(self)
        inner.connection_made(transport)
        inner.data_received(head + _END + rest)

    # --- the upgrade ------------------------------------------------------------------------------------------------

    def choose_handler(self, request: UpgradeRequest) -> Handler | Refusal:
        """Who takes the session, or why nobody does. A handler must be followed by `hand_over`."""
        limits = self._door.limits
        forwarded = request.address != self.address
        if forwarded and not limits.admit(request.address):
            return _TOO_MANY
        handler = self._door.make_handler(request)
        if forwarded and isinstance(handler, Refusal):
            limits.release(request.address)
        return handler

    def hand_over(self, accepted: Accepted, handler: Handler, early: bytes) -> None:
        """Make the transport a session's, which from here on releases what counts for its address."""
        door = self._door
        transport = self._transport
        assert transport is not None
        self._state = _GONE
        self._transport = self._inner = None
        self._buffer = bytearray()
        self._due = self._answer_due = _NEVER
        # What follows is up to the client, however far away it is; what it asks of the engine is in the engine's queue.
        self._arrival.answered()
        door.visitors.discard(self)
        connection = WebSocketProtocol(handler, accepted.request, door.options, door.wheel, door.connection_gone)
        door.connections.add(connection)
        connection.connection_made(transport)
        connection.start(switching_protocols(accepted), early)

    # --- later heads ------------------------------------------------------------------------------------------------

    def request_begins(self) -> None:
        """aiohttp has read a head."""
        self._due = _NEVER
        if self._state is not _GONE:
            self._state = _BUSY

    def request_ends(self, *, body_read: bool) -> None:
        """The request is answered; if its body was read, the next bytes are a head."""
        self._arrival.answered()
        if self._state is _BUSY and body_read:
            self._state = _IDLE

    def _watch_later_head(self, data: bytes) -> None:
        """Bound the time and size of a later head. aiohttp parses it; here is only looked for its end."""
        if self._state is _IDLE:
            self._state = _LATER_HEAD
            self._count = 0
            self._buffer.clear()
            self._due = self._door.wheel.after(self, self._door.options.head_timeout)
        window = bytes(self._buffer) + data
        self._count += len(data)
        if _END in window:
            # How large the head is, which may have ended before the last of these bytes, is looked at by the door.
            self._due = _NEVER
            self._buffer.clear()
            self._state = _BUSY
        elif self._count > self._door.options.max_head_bytes:
            self._refuse(_too_large(self._door.options.max_head_bytes))
            return
        else:
            self._buffer[:] = window[-3:]
        assert self._inner is not None
        self._inner.data_received(data)

    # --- refusals ---------------------------------------------------------------------------------------------------

    def _head_late(self) -> None:
        seconds = self._door.options.head_timeout
        self._refuse(
            Refusal.error(408, reason="Request_timeout", description=f"Send the request's head within {seconds:g} s.")
        )

    def refuse_later(self, request: web.BaseRequest, protocol: HttpProtocol, refusal: Refusal) -> web.StreamResponse:
        """Refuse a later request as a first one is refused."""
        self._inner = None
        protocol.detach()
        self._refuse(refusal, request.method)
        return HandedOver()

    def _refuse(self, refusal: Refusal, method: str = "GET") -> None:
        """Answer, and close so that the answer arrives: a socket closed with bytes unread is reset."""
        transport = self._transport
        if transport is None or self._state is _LINGERING:
            return
        self._arrival.answered()
        self._door.note_refused(refusal.status)
        log.info("refused: status=%d address=%s", refusal.status, self.address)
        self._state = _LINGERING
        self._buffer = bytearray()
        self._count = 0
        transport.write(_response(refusal, method))
        self._due = self._door.wheel.after(self, self._door.options.close_timeout)
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def close(self) -> None:
        """Drop the connection unless aiohttp has it."""
        if self._inner is None and self._transport is not None:
            self._transport.abort()


class FrontDoor:
    """Accepts the connections of the one port, and has a list of who is there.

    http: answers every request that is not a handshake. An upgrade may also be a later request of a connection; later
    heads are bounded as the first one is.
    sessions: is asked for each handshake in order, and gives its handler or a refusal (draining, over capacity).
    ws_path: None takes upgrades on every path. subprotocol: None takes any or none, and chooses the first offered.
    wheel: all that times out. queued: see `AcceptGate`. tls: None: plain text.
    """

    def __init__(
        self,
        *,
        http: HttpHandler,
        sessions: Sessions,
        limits: Limits,
        wheel: TimerWheel,
        ws_path: str | None = "/v1/session",
        subprotocol: str | None = "greenroom.v1",
        options: WebSocketOptions | None = None,
        queued: Callable[[], int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits
        self.wheel = wheel
        self.options = options or WebSocketOptions()
        self.tls = tls
        self.http_server = HttpServer(self._serve, http, self.options.max_head_bytes)
        self.visitors: set[_Visitor] = set()
        """Connections that are not sessions': reading their head, or HTTP."""
        self.connections: set[WebSocketProtocol] = set()
        """Sessions' connections."""
        self.refused: dict[int, int] = {}
        """How many were refused here, by status."""
        self._http = http
        self._sessions = sessions
        self._ws_path = ws_path
        self._path_bytes = None if ws_path is None else ws_path.encode()
        self._subprotocol = subprotocol
        self._cache = HandshakeCache()
        self.gate = AcceptGate(wheel.clock, queued)
        """Of all listeners."""

    async def listen(self, listener: socket.socket, *, backlog: int = 100) -> Listener:
        """Accept connections of a bound socket. The caller closes what it gets, then calls `finish_requests` and
        `abort_all`."""
        # Accepted sockets inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        return GatedListener(listener, self.gate, self._accept, tls=self.tls, options=self.options, backlog=backlog)

    def _accept(self, peer: str) -> _Visitor | None:
        visitor = _Visitor(self, self.gate.enter())
        if visitor.count_for(normalise(peer) if peer else "") or self.tls is None:
            return visitor
        # Nothing can be said before the handshake, which is what this saves.
        visitor.release()
        self.note_refused(_TOO_MANY.status)
        return None

    async def finish_requests(self, timeout: float) -> None:
        """Close HTTP connections: idle ones at once, those in the middle of a request after `timeout` seconds at
        most."""
        self.http_server.pre_shutdown()
        await self.http_server.shutdown(timeout)

    def note_refused(self, status: int) -> None:
        """One more was refused."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def abort_all(self) -> None:
        """Drop every connection that aiohttp does not have, without a word."""
        for connection in tuple(self.connections):
            connection.abort()
        for visitor in tuple(self.visitors):
            visitor.close()

    def asks_for_sessions(self, head: bytes) -> bool:
        """Whether the request line names the sessions' path; a quick look, `judge` looks closely."""
        return self._path_bytes is not None and head.find(self._path_bytes, 0, head.find(b"\r\n")) >= 0

    def read(self, head: bytes, peer: str) -> Accepted | Refusal | None:
        """`parse_head` and `judge`, or what they found the last time. Raises MalformedHeadError."""
        keyless = take_key_out(head)
        if keyless is not None:
            shape = self._cache.find(keyless)
            if shape is not None:
                return accept(shape, keyless.key, self.limits.resolve(peer, shape.forwarded_for))
        parsed = parse_head(head)
        verdict = self.judge(parsed, peer)
        if keyless is not None and isinstance(verdict, Accepted):
            self._cache.remember(keyless, verdict, parsed.get("x-forwarded-for"))
        return verdict

    def judge(self, head: Head, peer: str) -> Accepted | Refusal | None:
        """See `handshake.judge`; `peer` is who is at the other end of the transport."""
        address = self.limits.resolve(peer, head.get("x-forwarded-for"))
        return judge(head, ws_path=self._ws_path, subprotocol=self._subprotocol, address=address)

    def make_handler(self, request: UpgradeRequest) -> Handler | Refusal:
        """Ask the service whether it takes the session."""
        try:
            return self._sessions(request)
        except Exception:
            log.exception("sessions factory failed: address=%s", request.address)
            return Refusal.error(500, error="server_error", reason="Internal_error", description="Try again later.")

    def connection_gone(self, connection: WebSocketProtocol) -> None:
        """A session's connection is over."""
        self.connections.discard(connection)
        self.limits.release(connection.address)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """What aiohttp calls for each request: an upgrade may be any request of a connection."""
        protocol = request.protocol
        assert isinstance(protocol, HttpProtocol)
        visitor = protocol.visitor
        assert isinstance(visitor, _Visitor)
        visitor.request_begins()
        try:
            if self._head_is_too_large(request):
                return visitor.refuse_later(request, protocol, _too_large(self.options.max_head_bytes))
            if request.version < (1, 0):
                return self._http.malformed(400)
            response = self._upgrade(request, protocol, visitor)
            if response is not None:
                return response
            hosts = request.headers.getall("Host", ())
            if (len(hosts) != 1 and request.version >= (1, 1)) or not all(map(is_host, hosts)):
                return self._http.malformed(400)
            forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", []))
            return await self._http.handle(request, self.limits.resolve(visitor.address, forwarded_for))
        finally:
            visitor.request_ends(body_read=request.content.is_eof())

    def _head_is_too_large(self, request: web.BaseRequest) -> bool:
        """aiohttp bounds each line; pipelined heads come to it unseen."""
        fields = request.raw_headers
        size = (
            len(request.method) + len(request.raw_path) + 12 + sum(len(name) + len(value) + 4 for name, value in fields)
        )
        return size > self.options.max_head_bytes or len(fields) > MAX_FIELDS

    def _upgrade(
        self, request: web.BaseRequest, protocol: HttpProtocol, visitor: _Visitor
    ) -> web.StreamResponse | None:
        """Hand the transport over if the request is a handshake in order; None if it is plain HTTP."""
        if "Upgrade" not in request.headers and request.path != self._ws_path:
            return None
        version = (request.version.major, request.version.minor)
        head = Head.of(request.method, request.raw_path, version, request.headers.items())
        verdict = self.judge(head, visitor.address)
        if verdict is None:
            return None
        handler = visitor.choose_handler(verdict.request) if isinstance(verdict, Accepted) else verdict
        if isinstance(handler, Refusal):
            return visitor.refuse_later(request, protocol, handler)
        assert isinstance(verdict, Accepted)
        visitor.hand_over(verdict, handler, protocol.detach())
        return HandedOver()


def _too_large(max_bytes: int) -> Refusal:
    text = f"A request's head may have {max_bytes} bytes and {MAX_FIELDS} fields."
    return Refusal.error(431, reason="Head_too_large", description=text)
