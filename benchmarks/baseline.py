"""The floor: picows and aiohttp on one port, and nothing of ours.

For each connection one check of a signature (Ed25519 or HMAC-SHA256) and a canned reply; Close is answered. What a
session service costs that takes its sockets from picows and uvloop is more than this.
`python -m benchmarks.baseline ALG KEYFILE` prints its address as JSON. KEYFILE: the public key or the secret, in hex.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import logging
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows import picows as _picows

_WSProtocol: Any = _picows.WSProtocol  # type: ignore[attr-defined]
_logger = logging.getLogger("floor")
CANNED = (
    b'{"id":1,"result":{"session":{"id":"p17.0123456789abcdef0123456789abcdef","generation":1,"grace":40.0,'
    b'"expiresAt":1790000000000},"participant":{"id":"00000000-0000-4000-8000-000000000000","revision":1,'
    b'"version":3,"presence":"online","sessions":1,"lastSeen":null,"externalId":"bench-12345"},'
    b'"scopes":["session:update","notifications:set"],"capabilities":["resume","watch"],"changed":[]},"jsonrpc":"2.0"}'
)
_PONG = b'{"id":2,"result":{},"jsonrpc":"2.0"}'
_UPDATED = b'{"id":4,"result":{},"jsonrpc":"2.0"}'
_WATCHED = b'{"id":3,"result":{},"jsonrpc":"2.0"}'
_CHANGED = (
    b'{"method":"participants.changed","params":{"participants":[{"id":"00000000-0000-4000-8000-000000000000",'
    b'"revision":%d,"version":%d,"presence":"online","sessions":1,"lastSeen":null,"externalId":"bench-0",'
    b'"name":"%b"}]},"jsonrpc":"2.0"}'
)


Check = Callable[[bytes, bytes], object]
"""Looks at (signature, what was signed)."""


def check_of(alg: str, key: bytes) -> Check:
    """What checks a signature. A wrong HMAC is noticed as a wrong Ed25519 signature is: by an exception."""
    if alg == "EdDSA":
        return Ed25519PublicKey.from_public_bytes(key).verify

    def check(signature: bytes, signed: bytes) -> None:
        if not hmac.compare_digest(hmac.digest(key, signed, "sha256"), signature):
            raise ValueError("a signature is wrong")

    return check


def check_token(message: bytes, check: Check) -> None:
    """Checks the signature of the token in a `session.open`."""
    start = message.index(b'"token":"') + 9
    signed, _, signature = message[start : message.index(b'"', start)].rpartition(b".")
    check(urlsafe_b64decode(signature + b"=="), signed)


class Floor(WSListener):
    """One connection. check: which signatures are good."""

    watching: dict[Floor, WSTransport] = {}  # noqa: RUF012
    count = 0

    def __init__(self, check: Check) -> None:
        self._check = check

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, self._answer(frame.get_payload_as_bytes(), transport))
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode(frame.get_close_code()))
            transport.disconnect()
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())

    def _answer(self, message: bytes, transport: WSTransport) -> bytes:
        if b'"ping"' in message:
            return _PONG
        if b'"session.open"' in message:
            check_token(message, self._check)
            return CANNED
        if b'"participants.watch"' in message:
            Floor.watching[self] = transport
            return _WATCHED
        Floor.count += 1
        start = message.rindex(b'"name":"') + 8
        change = _CHANGED % (Floor.count, Floor.count, message[start : message.index(b'"', start)])
        for one in Floor.watching.values():
            one.send(WSMsgType.TEXT, change)
        return _UPDATED

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        Floor.watching.pop(self, None)


class Door(asyncio.Protocol):
    """Reads the head, and hands the transport to picows or to aiohttp."""

    def __init__(self, check: Check, http: web.Server) -> None:
        self._check, self._http, self._head = check, http, b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        transport = self._transport
        if b"upgrade: websocket" not in self._head.lower():
            protocol: Any = self._http()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            protocol.data_received(self._head)
            return
        protocol = _WSProtocol(
            host_port=None, ws_path=None, is_client_side=False, ws_listener_factory=lambda _request: Floor(self._check),
            logger=_logger, disconnect_on_exception=True, websocket_handshake_timeout=None, enable_auto_ping=False,
            auto_ping_idle_timeout=1.0, auto_ping_reply_timeout=1.0,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE, enable_auto_pong=False, max_frame_size=1 << 20,
            extra_headers=None, read_buffer_init_size=1024,
        )  # fmt: skip
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        room = protocol.get_buffer(-1)
        room[: len(self._head)] = self._head
        protocol.buffer_updated(len(self._head))


async def _nothing(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="floor\n")


async def _serve(check: Check) -> None:
    http = web.Server(_nothing)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Door(check, http), "127.0.0.1", 0, backlog=4096)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


def main() -> None:
    """The arguments are the algorithm and a file with its key."""
    logging.basicConfig(level=logging.ERROR)
    alg, path = sys.argv[1:]
    uvloop.run(_serve(check_of(alg, bytes.fromhex(Path(path).read_text().strip()))))


if __name__ == "__main__":
    main()
