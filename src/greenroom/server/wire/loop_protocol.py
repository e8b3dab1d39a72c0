"""The service's protocols inherit nothing, so that they can be compiled. Where a transport is the event loop's own
(with TLS), `LoopProtocol` stands between."""

from __future__ import annotations

import asyncio
from typing import cast

from greenroom.server.wire.plain_transport import PlainTransport, TransportProtocol


class LoopProtocol(asyncio.BufferedProtocol):
    """As asyncio wants them: of one transport of the event loop, for `target`."""

    __slots__ = ("_target",)

    def __init__(self, target: TransportProtocol) -> None:
        self._target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            self._target.connection_made(cast(asyncio.Transport, transport))
        except BaseException:
            cast(asyncio.Transport, transport).abort()  # asyncio would keep it, read by nobody
            raise

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._target.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._target.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        return self._target.eof_received()

    def pause_writing(self) -> None:
        self._target.pause_writing()

    def resume_writing(self) -> None:
        self._target.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._target.connection_lost(exc)


def hand_over(transport: asyncio.Transport, target: TransportProtocol) -> None:
    """From now on the transport is the target's."""
    found: object = transport
    if isinstance(found, PlainTransport):
        found.set_protocol(target)
    else:
        transport.set_protocol(LoopProtocol(target))
