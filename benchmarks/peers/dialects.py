"""How the generator talks to the peers."""

from __future__ import annotations

import json

from greenroom.bench.dialect import GreenroomDialect, Said


class WsDialect(GreenroomDialect):
    """The peer on ws speaks the same JSON-RPC."""


class SocketIoDialect:
    """Socket.IO 5 over Engine.IO 4, WebSocket only: what its own clients send, without their first HTTP request."""

    path = "/socket.io/?EIO=4&transport=websocket"
    subprotocol: str | None = None
    waits = True

    def hello(self, token: str, number: int) -> bytes:
        return b'40{"token":"%b"}' % token.encode()

    def echo(self) -> bytes:
        return b'421["echo"]'

    def watch(self, ids: list[str]) -> bytes:
        return b"422" + json.dumps(["watch", ids], separators=(",", ":")).encode()

    def rename(self, name: str) -> bytes:
        return b"423" + json.dumps(["rename", name], separators=(",", ":")).encode()

    def kind(self, message: bytes) -> Said:
        for start, said in _KINDS:
            if message.startswith(start):
                return said
        return Said.OTHER


_KINDS = (
    (b"42", Said.NOTICE),
    (b"43", Said.DONE),
    (b"40", Said.DONE),
    (b"44", Said.REFUSED),
    (b"0{", Said.WELCOME),
)


__all__ = ["SocketIoDialect", "WsDialect"]
