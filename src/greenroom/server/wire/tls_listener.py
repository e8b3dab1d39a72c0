"""Accepts TLS connections: each is counted for its address before its handshake, which is what costs.

The event loops' own servers say who connects only after the handshake; clients that never finish it would not count.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from greenroom.server.wire.interface import WebSocketOptions

log = logging.getLogger("greenroom.server")

_AT_ONCE: Final = 64
"""As many are accepted in one turn of the loop."""
_PAUSE: Final = 1.0
"""Seconds until the next try when no more files can be opened."""
_NO_MORE_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Admitted(asyncio.BaseProtocol):
    """The protocol of a connection that was counted."""

    @abstractmethod
    def release(self) -> None:
        """The handshake failed: it counts no more."""


class TlsListener:
    """Accepts until it is closed. admit: the protocol for a peer's address, or None where it has its share."""

    def __init__(
        self,
        listener: socket.socket,
        admit: Callable[[str], Admitted | None],
        tls: ssl.SSLContext,
        options: WebSocketOptions,
        backlog: int,
    ) -> None:
        self._listener = listener
        self._admit = admit
        self._tls = tls
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(backlog)
        self._loop.add_reader(listener, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket."""
        return (self._listener,)

    def close(self) -> None:
        """Accept no more, and end the handshakes in progress."""
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        self._listener.close()
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no handshake is in progress."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_MORE_FILES:
                    raise
                log.error("no connection can be accepted: %s", error)
                self._loop.remove_reader(self._listener)
                self._retry = self._loop.call_later(_PAUSE, self._loop.add_reader, self._listener, self._accept)
                return
            protocol = self._admit(peer[0])
            if protocol is None:
                connection.close()
                continue
            task = self._loop.create_task(self._shake_hands(connection, protocol))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket, protocol: Admitted) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls,
                ssl_handshake_timeout=self._options.head_timeout, ssl_shutdown_timeout=self._options.close_timeout,
            )  # fmt: skip
        except OSError as error:
            log.info("TLS handshake failed: %s", error)
            protocol.release()
        except asyncio.CancelledError:
            protocol.release()
            raise
