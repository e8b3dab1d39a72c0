"""Accepts connections, no more at a time than can be answered soon: all others wait in the kernel.

When thousands of clients come at once, a service that accepts all of them works on all of them, and answers none for
seconds. Behind the gate each is answered within milliseconds of being let in, and those who are connected already do
not notice. What counts is who waits for the answer to its handshake, and the engine's queue: not
clients that are far away and take their time between the two. Who connects and says nothing counts for a quarter of a
second.

With TLS a connection is counted for its address before its handshake, which is what costs: the event loops' own servers
say who connects only after it, so that clients that never finish it would not count.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from greenroom.server.wire.interface import WebSocketOptions
from greenroom.server.wire.loop_protocol import LoopProtocol
from greenroom.server.wire.plain_transport import Poller, TransportProtocol

log = logging.getLogger("greenroom.server")

AT_MOST: Final = 96
"""Connections that are not answered yet, and calls that the engine has not answered, when the gate closes."""
YOUNG: Final = 0.25
"""Seconds for which a connection counts. The gate is never closed for longer because of the engine alone."""
_AT_ONCE: Final = 16
"""As many are accepted in one turn of the loop."""
_LOOK_AGAIN: Final = 0.002
"""Seconds until a closed gate is looked at again."""
_PAUSE: Final = 1.0
"""Seconds until the next try when no more files can be opened."""
_NO_MORE_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Arrival:
    """A connection that was accepted, until it is answered."""

    __slots__ = ("_gate", "at", "waits")

    def __init__(self, gate: AcceptGate, at: float) -> None:
        self._gate = gate
        self.at = at
        self.waits = True
        """Whether it counts."""

    def answered(self) -> None:
        """It is answered, or gone, or old: it no longer counts. Harmless when repeated."""
        if self.waits:
            self.waits = False
            self._gate.unanswered -= 1


class AcceptGate:
    """One for all listeners of a service. clock: monotonic seconds. queued: how many calls the engine has not answered;
    None: nobody asks the engine."""

    def __init__(self, clock: Callable[[], float], queued: Callable[[], int] | None = None) -> None:
        self.unanswered = 0
        """Arrivals that count."""
        self._clock = clock
        self._queued = queued or (lambda: 0)
        self._arrivals: deque[Arrival] = deque()
        self._last = clock()

    def enter(self) -> Arrival:
        """One more was accepted."""
        self.unanswered += 1
        self._last = self._clock()
        arrival = Arrival(self, self._last)
        self._arrivals.append(arrival)
        return arrival

    def is_full(self) -> bool:
        """Whether nobody should be accepted now."""
        self._forget()
        return self.unanswered >= AT_MOST or (self._queued() >= AT_MOST and self._clock() < self._last + YOUNG)

    def _forget(self) -> None:
        arrivals, before = self._arrivals, self._clock() - YOUNG
        while arrivals and (not arrivals[0].waits or arrivals[0].at < before):
            arrivals.popleft().answered()


class _Listener(socket.socket):
    """Accepts connections as objects of the `socket` module's class in C: what its class in Python adds to each, enums
    and a dictionary, costs as much as the call of the operating system."""

    def accept_plain(self, family: int) -> tuple[socket.SocketType, Any]:
        """The connection, and its peer's address. family: the listener's. Raises OSError."""
        number, peer = self._accept()  # type: ignore[attr-defined]  # what `accept` calls; typeshed does not list it
        return socket.SocketType(family, socket.SOCK_STREAM, 0, number), peer


class GatedListener:
    """Accepts until it is closed.

    listener: bound; it is this object's from now on. accept: the protocol for a peer's address, or None where the
    connection is to be closed at once. tls: None: plain text.
    """

    def __init__(
        self,
        listener: socket.socket,
        gate: AcceptGate,
        accept: Callable[[str], TransportProtocol | None],
        *,
        tls: ssl.SSLContext | None,
        options: WebSocketOptions,
        backlog: int,
    ) -> None:
        self._family = int(listener.family)
        self._listener = _Listener(listener.family, listener.type, listener.proto, listener.detach())
        self._gate = gate
        self._protocol_for = accept
        self._tls: dict[str, Any] = {}
        self._poller: Poller | None = None
        """Of connections without TLS, where the system has epoll. All others are the event loop's."""
        if tls is not None:
            self._tls["ssl"] = tls
            self._tls["ssl_handshake_timeout"] = options.head_timeout
            self._tls["ssl_shutdown_timeout"] = options.close_timeout
        elif hasattr(select, "epoll"):
            self._poller = Poller()
            if self._family != socket.AF_UNIX:
                self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket."""
        return (self._listener,)

    def close(self) -> None:
        """Accept no more, and end the handshakes in progress. Harmless when repeated."""
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        self._listener.close()
        if self._poller is not None:
            self._poller.close()
        for task in self._starting:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no handshake is in progress."""
        await asyncio.gather(*self._starting, return_exceptions=True)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._gate.is_full():
            self._retry = self._loop.call_later(_LOOK_AGAIN, self._resume)
        else:
            self._retry = None
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        if self._gate.is_full():
            self._pause(_LOOK_AGAIN)
            return
        listener, poller = self._listener, self._poller
        for _ in range(_AT_ONCE):
            try:
                connection, peer = listener.accept() if poller is None else listener.accept_plain(self._family)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_MORE_FILES:
                    raise
                log.error("no connection can be accepted: %s", error)
                self._pause(_PAUSE)
                return
            protocol = self._protocol_for(peer[0] if peer else "")
            if protocol is None:
                connection.close()
            elif poller is not None:
                try:
                    transport = poller.start(connection, protocol)
                except OSError as error:
                    log.error("a connection that was accepted is closed: %s", error)
                    connection.close()
                    protocol.connection_lost(None)
                    self._pause(_PAUSE)
                    return
                try:
                    protocol.connection_made(transport)
                except Exception as error:
                    context = {"message": "a protocol failed", "exception": error, "transport": transport}
                    self._loop.call_exception_handler(context)
                    transport.abort()
            elif isinstance(connection, socket.socket):
                task = self._loop.create_task(self._start_on_loop(connection, protocol))
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)

    async def _start_on_loop(self, connection: socket.socket, protocol: TransportProtocol) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: LoopProtocol(protocol), connection, **self._tls)
        except OSError as error:
            log.info("%s: %s", "TLS handshake failed" if self._tls else "not connected", error)
            protocol.connection_lost(None)
        except BaseException:
            protocol.connection_lost(None)
            raise
