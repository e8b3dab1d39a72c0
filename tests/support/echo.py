"""An echo server over the service's own connection file, for outside WebSocket conformance suites.

    python -m tests.support.echo --port 9001 --max-message-bytes 16777216 --max-fragments 70000

It takes upgrades on every path, any subprotocol or none, and text and binary messages.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import time

import uvloop
from aiohttp import web

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
from greenroom.server.wire.websocket import WebSocketProtocol


class Echo:
    """Sends back what it gets."""

    __slots__ = ("_websocket",)

    def __init__(self) -> None:
        self._websocket: WebSocketConnection | None = None

    def opened(self, websocket: WebSocketConnection) -> None:
        """Keep the connection."""
        self._websocket = websocket

    def text(self, message: bytes) -> None:
        """Send it back."""
        if self._websocket is not None:
            self._websocket.send(message)

    def binary(self, message: bytes) -> None:
        """Send it back as it came."""
        if isinstance(self._websocket, WebSocketProtocol):
            self._websocket.send_binary(message)

    def lost(self, code: int, reason: str) -> None:
        """Nothing is left to be done."""
        self._websocket = None

    def pong(self) -> None:
        """Not asked for."""

    def drained(self) -> None:
        """Nothing waits."""


def echo_options(max_message_bytes: int, max_fragments: int) -> WebSocketOptions:
    """The sessions' settings, with room for messages of that size: both ways, and for the time they take."""
    return WebSocketOptions(
        max_message_bytes=max_message_bytes,
        max_fragments=max_fragments,
        # Two answers may wait while the client is still sending; a suite reads none before it has sent its message.
        max_buffered_bytes=max(262_144, 4 * max_message_bytes),
        fragment_timeout=60.0,
        read_buffer_bytes=65_536,
    )


class _NoHttp:
    """The HTTP side."""

    async def handle(self, request: web.BaseRequest, address: str) -> web.StreamResponse:
        return self.malformed(404)

    def malformed(self, status: int) -> web.Response:
        return web.Response(status=status, text="only WebSockets are served here\n")

    def failed(self) -> web.Response:
        return self.malformed(500)


def _echo(_request: UpgradeRequest) -> Handler | Refusal:
    return Echo()


async def start_echo(host: str, port: int, options: WebSocketOptions) -> Listener:
    """Serve; the caller closes what it gets."""
    door = FrontDoor(
        http=_NoHttp(), sessions=_echo, limits=Limits(), wheel=TimerWheel(time.monotonic), ws_path=None,
        subprotocol=None, options=options,
    )  # fmt: skip
    listener = socket.create_server((host, port))
    listener.setblocking(False)
    return await door.listen(listener)


async def _serve(host: str, port: int, options: WebSocketOptions) -> None:
    server = await start_echo(host, port, options)
    bound = server.sockets[0].getsockname()
    sys.stdout.write(f"echo on ws://{bound[0]}:{bound[1]}/\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.echo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one and prints it")
    parser.add_argument("--max-message-bytes", type=int, default=32_768, help="largest message (default: 32768)")
    parser.add_argument("--max-fragments", type=int, default=64, help="frames of one message (default: 64)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = echo_options(arguments.max_message_bytes, arguments.max_fragments)
    try:
        uvloop.run(_serve(arguments.host, arguments.port, options))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
