"""The lower floor: sockets, one epoll and one check of a signature, in plain Python without a library for any of it.

It shows what of `benchmarks.baseline` is the check, the kernel and a few lines of Python, and what picows, uvloop and
aiohttp add. It takes only what the load generator sends: heads in one piece, whole masked frames, `session.open`.
`python -m benchmarks.raw_baseline ALG KEYFILE` prints its address as JSON.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
from base64 import b64encode
from hashlib import sha1
from pathlib import Path

from benchmarks.baseline import CANNED, Check, check_of, check_token

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: greenroom.v1\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
_KEY = b"sec-websocket-key: "
_REPLY = b"\x81\x7e" + len(CANNED).to_bytes(2) + CANNED
_TEXT, _CLOSE = 0x81, 0x88
_PORTION = 64
"""Connections taken, and events looked at, before the others have their turn."""


def _unmasked(data: bytes, start: int, length: int) -> bytes:
    """The payload of a frame whose key begins at `start`."""
    key, body = data[start : start + 4], data[start + 4 : start + 4 + length]
    pad = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(body, "little") ^ int.from_bytes(pad, "little")).to_bytes(length, "little")


class _Connection:
    """One socket that is ready to be read."""

    __slots__ = ("_socket", "_upgraded")

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._upgraded = False

    def ready(self, check: Check) -> bool:
        """Read and answer; False where it is over."""
        try:
            data = self._socket.recv(16_384)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self._socket.close()
            return False
        if self._upgraded:
            self._frame(data, check)
        else:
            at = data.lower().index(_KEY) + len(_KEY)
            accept = b64encode(sha1(data[at : data.index(b"\r", at)] + _GUID).digest())
            self._socket.send(_SWITCH % accept)
            self._upgraded = True
        return True

    def _frame(self, data: bytes, check: Check) -> None:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4]), 4
        payload = _unmasked(data, start, length)
        if data[0] == _TEXT:
            check_token(payload, check)
            self._socket.send(_REPLY)
        elif data[0] == _CLOSE:
            self._socket.send(bytes((_CLOSE, length)) + payload)
            self._socket.shutdown(socket.SHUT_WR)


def _serve(check: Check) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    events = select.epoll()
    events.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, _Connection] = {}
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    while True:
        for number, _ in events.poll(-1, _PORTION):
            if number in connections:
                if not connections[number].ready(check):
                    del connections[number]
                continue
            for _ in range(_PORTION):
                try:
                    one, _address = listener.accept()
                except BlockingIOError:
                    break
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[one.fileno()] = _Connection(one)
                events.register(one.fileno(), select.EPOLLIN)


def main() -> None:
    """The arguments are the algorithm and a file with its key."""
    alg, path = sys.argv[1:]
    _serve(check_of(alg, bytes.fromhex(Path(path).read_text().strip())))


if __name__ == "__main__":
    main()
