"""A cable between a browser and the service that can be cut: nobody is notified, bytes just stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Cable:
    """Carries bytes both ways while it is whole. What was sent into a cut cable comes out when it is mended."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._whole = asyncio.Event()
        self._whole.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.url = ""

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """Connections of before are gone, as after a walk through a tunnel; new ones work."""
        for task in self._carrying:
            task.cancel()
        self._whole.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            await self._whole.wait()
            other_reader, other_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, other_writer))
                    group.create_task(self._pump(other_reader, writer))
            finally:
                other_writer.close()
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass
        finally:
            self._carrying.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def cable_to(url: str) -> AsyncIterator[Cable]:
    """A cable to the service at this URL; its own address is `url`."""
    cable = Cable(url)
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    cable.url = f"http://{host}:{port}"
    try:
        yield cable
    finally:
        cable.mend()
        server.close()
        await server.wait_closed()
