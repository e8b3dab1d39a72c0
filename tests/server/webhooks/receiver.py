"""A receiver of webhooks on loopback, as good or as bad as a test wants it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.support.patience import PATIENCE


@dataclass
class Got:
    """One request: path, headers by lower-case name, body."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body."""
        decoded: dict[str, Any] = msgspec.json.decode(self.raw)
        return decoded


Answer = Callable[[Got, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answers every request so; header names with ``_`` for ``-``."""

    async def answer_it(_got: Got, writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
        head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)

    return answer_it


async def hang(_got: Got, _writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(3600)


async def drip(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Sends its head a byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def flood(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Takes the event, and sends a body without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await writer.drain()


async def garbage(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Is no HTTP server."""
    writer.write(b"\x00\x01\x02 what\r\n\r\n")
    writer.close()


async def hang_up(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Closes without an answer."""
    writer.close()


@dataclass
class Receiver:
    """got: every request, in order. answer: how the next ones are answered; it may be changed at any time.
    connections: that are open."""

    answer: Answer = field(default_factory=lambda: answer(200))
    got: list[Got] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.split(": ", 1) for line in head[1:] if ": " in line)
                headers = {name.lower(): text for name, text in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                got = Got(head[0].split(" ")[1], headers, body)
                self.got.append(got)
                self._came.set()
                await self.answer(got, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def wait_for(self, count: int, seconds: float = PATIENCE) -> None:
        """Until so many requests came."""
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def receiver(behaviour: Answer | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    made = Receiver() if behaviour is None else Receiver(behaviour)
    tasks: set[asyncio.Task[Any]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(made._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
