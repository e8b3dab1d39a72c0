"""What the two sides of a session's connection know of each other: `WebSocketConnection` below, `Handler` above.

Nothing here touches a socket, so the session's shell can be tested with a fake connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """Limits of one connection (guarantees.md, promise 10). Times are seconds, sizes bytes."""

    max_message_bytes: int = 32_768
    """The largest message a client may send, fragments together. Larger: close 1009."""
    max_fragments: int = 64
    """Frames one message may come in. More: close 1008."""
    fragment_timeout: float = 10.0
    """From the first fragment of a message to its last. Longer: close 1008."""
    max_buffered_bytes: int = 262_144
    """What may wait to be written. More: the reader is too slow, close 4002."""
    head_timeout: float = 10.0
    """To send a whole request head. Longer: 408."""
    max_head_bytes: int = 16_384
    """The largest request head. Larger: 431."""
    answer_timeout: float = 30.0
    """What a client may let an HTTP answer wait without reading any of it. Longer: the connection is aborted."""
    close_timeout: float = 2.0
    """What a client gets to answer a Close, or to read a refusal; then the transport is aborted."""
    read_buffer_bytes: int = 1_024
    """The read buffer that picows starts with, where a connection needs it; it grows with the largest message. picows
    takes at least 1,792."""
    control_frames_per_second: float = 20.0
    """Pings and pongs a client may send, in the long run. More: close 1008."""
    control_frames_burst: int = 100
    """Pings and pongs it may send at once."""


class Listener(Protocol):
    """What accepts connections, until it is closed."""

    @property
    def sockets(self) -> Sequence[Any]:
        """The listening sockets."""

    def close(self) -> None:
        """Accept no more."""

    async def wait_closed(self) -> None:
        """Wait until it is closed."""


class UpgradeRequest(Struct):
    """A WebSocket handshake that is in order (RFC 6455, section 4.2.1), not answered yet."""

    path: str
    """The path, without the query."""
    query: str
    """The query, without `?`; empty if there is none."""
    headers: Mapping[str, str]
    """Names in lower case; values of repeated headers are joined with `, `."""
    address: str
    """The client's address, after trusted proxies."""
    subprotocols: tuple[str, ...] = ()
    """What the client offers, in its order."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of an upgrade; the connection is closed after it.

    `headers` need not have Content-Type (JSON by default), Content-Length, Date or Connection.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def error(
        cls,
        status: int,
        *,
        error: str = "invalid_request",
        reason: str = "Bad_request",
        description: str,
        code: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Refusal:
        """The one error body of the service (http.md). `code` is the status if None."""
        body = {
            "type": "ErrorResponse",
            "error": error,
            "error_code": status if code is None else code,
            "error_reason": reason,
            "error_description": description,
        }
        return cls(status, dict(headers or {}), json.dumps(body).encode())


class WebSocketConnection(Protocol):
    """What a handler may do with its connection. Every method may be called at any time, also when all is over."""

    @property
    def address(self) -> str:
        """The client's address, after trusted proxies."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, names in lower case, without credentials and those of the handshake itself."""

    @property
    def path(self) -> str:
        """The request's path, without the query."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more: closed by either side, failed or lost."""

    @property
    def paused(self) -> bool:
        """Whether so much waits to be written that `drained` will be called."""

    def send(self, message: bytes) -> None:
        """Send one text message (UTF-8). Never waits; past `max_buffered_bytes` the connection is cut off with 4002."""

    def ping(self) -> None:
        """Send an empty Ping; `Handler.pong` gets the answer."""

    def close(self, code: int, reason: str) -> None:
        """Send Close; abort if the client's own has not come within `close_timeout`.

        `reason` is cut at 123 bytes of UTF-8. `Handler.lost` is called when the client has answered, or is gone.
        """

    def abort(self) -> None:
        """Drop the connection without a word. `Handler.lost` follows, with 1006."""

    def buffered(self) -> int:
        """Bytes waiting to be written; 0 when the connection is gone."""


class Handler(Protocol):
    """One for each connection. Called from the event loop; nothing may wait, nothing may raise."""

    def opened(self, websocket: WebSocketConnection) -> None:
        """The handshake is done; called once, before anything else."""

    def text(self, message: bytes) -> None:
        """A whole text message, valid UTF-8, at most `max_message_bytes`."""

    def lost(self, code: int, reason: str) -> None:
        """The connection is over; called exactly once, and last.

        `code` is what the client's Close said (1005: it said nothing), 1006 where there was none (reset, aborted, timed
        out), or what *this* side failed the connection with: 1002, 1003, 1007, 1008, 1009, 1011 or 4002. After
        `WebSocketConnection.close` it is the client's answer, which mostly repeats our code and means nothing more.
        """

    def pong(self) -> None:
        """A Pong came, with whatever payload."""

    def drained(self) -> None:
        """`WebSocketConnection.paused` is over: what waits to be written fell below the low mark."""


class BinaryHandler(Handler, Protocol):
    """A handler that also takes binary messages; to any other handler's client they are refused with 1003."""

    def binary(self, message: bytes) -> None:
        """A whole binary message, at most `max_message_bytes`."""
