"""Clocks, randomness and network of the machine that the SDK runs on; simulations give their own."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenroom.sdk.transport import AiohttpTransport

if TYPE_CHECKING:
    import ssl


class ClientWebSocket(Protocol):
    """One WebSocket, as the runner uses it."""

    def send(self, data: bytes) -> None:
        """Queue a message. Messages leave in order."""

    def disconnect(self, code: int) -> None:
        """Close with this code after everything that was queued before."""

    def messages(self) -> AsyncIterator[str]:
        """Received messages, until the connection is over."""

    def close_code(self) -> int:
        """1006 where no Close frame came."""

    def close_reason(self) -> str:
        """The reason in the Close frame; "" where it has none, or none came."""

    async def aclose(self) -> None:
        """Close with 4000 where it is still open."""


class Transport(Protocol):
    """How connections are made and tokens fetched."""

    async def connect(self) -> ClientWebSocket:
        """Raises GreenroomError."""

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        """A v1 client access token. Raises GreenroomError."""

    async def aclose(self) -> None:
        """Release everything. `connect` works again afterwards."""


def _aiohttp_transport(base: str, ssl_context: ssl.SSLContext | None) -> Transport:
    return AiohttpTransport(base, ssl_context)


@dataclass(frozen=True, slots=True)
class Environment:
    """Defaults: the system's clocks, randomness and network."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random.SystemRandom().random
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    transport: Callable[[str, ssl.SSLContext | None], Transport] = _aiohttp_transport
