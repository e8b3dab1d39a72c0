"""What the SDK needs of a network: a real one, or that of a simulation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


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
    """How connections are made and tokens fetched. It keeps nothing open itself."""

    async def connect(self) -> ClientWebSocket:
        """Raises GreenroomError."""

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        """A v1 client access token. Raises GreenroomError."""
