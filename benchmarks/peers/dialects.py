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
    pong = b"3"

    def hello(self, token: str, number: int) -> bytes:
        return b'40{"token":"%b"}' % token.encode()

    def echo(self) -> bytes:
        return b'421["echo"]'

    def watch(self, ids: list[str]) -> bytes:
        return b"422" + json.dumps(["watch", ids], separators=(",", ":")).encode()

    def rename(self, name: str) -> bytes:
        return b"423" + json.dumps(["rename", name], separators=(",", ":")).encode()

    def join(self, room: str) -> bytes:
        return b'424["join","%b"]' % room.encode()

    def leave(self, room: str) -> bytes:
        return b'425["leave","%b"]' % room.encode()

    def say(self, room: str, text: str) -> bytes:
        return b'426["say","%b","%b"]' % (room.encode(), text.encode())

    def kind(self, message: bytes) -> Said:
        for start, said in _KINDS:
            if message.startswith(start):
                return said
        return Said.OTHER


class CentrifugoDialect:
    """Centrifugo's JSON protocol, version 2. Connecting subscribes to the participant's own channel, which is a setting
    of the server; changes of a name are publications to a channel of their own."""

    path = "/connection/websocket"
    subprotocol: str | None = None
    waits = False
    pong = b"{}"

    def __init__(self) -> None:
        self._channel = "changes:nobody"

    def hello(self, token: str, number: int) -> bytes:
        return b'{"id":1,"connect":{"token":"%b"}}' % token.encode()

    def echo(self) -> bytes:
        raise NotImplementedError("Centrifugo's protocol has no request that does nothing")

    def watch(self, ids: list[str]) -> bytes:
        """One subscription; the last is the one that `rename` publishes to."""
        self._channel = f"changes:{ids[0]}"
        return b'{"id":3,"subscribe":{"channel":"%b"}}' % self._channel.encode()

    def rename(self, name: str) -> bytes:
        return b'{"id":4,"publish":{"channel":"%b","data":{"name":"%b"}}}' % (self._channel.encode(), name.encode())

    def join(self, room: str) -> bytes:
        return b'{"id":5,"subscribe":{"channel":"rooms:%b"}}' % room.encode()

    def leave(self, room: str) -> bytes:
        return b'{"id":6,"unsubscribe":{"channel":"rooms:%b"}}' % room.encode()

    def say(self, room: str, text: str) -> bytes:
        return b'{"id":7,"publish":{"channel":"rooms:%b","data":{"text":"%b"}}}' % (room.encode(), text.encode())

    def kind(self, message: bytes) -> Said:
        """Several messages may come in one frame, a line for each."""
        at = 0 if message.startswith(b'{"id":') else message.find(b'\n{"id":')
        if at >= 0:
            return Said.REFUSED if b'"error":{' in message[at : at + 40] else Said.DONE
        if message == self.pong:
            return Said.PING
        return Said.NOTICE if message.startswith(b'{"push":') else Said.OTHER


_KINDS = (
    (b"42", Said.NOTICE),
    (b"43", Said.DONE),
    (b"40", Said.DONE),
    (b"44", Said.REFUSED),
    (b"0{", Said.WELCOME),
    (b"2", Said.PING),
)


__all__ = ["CentrifugoDialect", "SocketIoDialect", "WsDialect"]
