"""What an SDK stands on: its clocks, its dice and its way to the service. A simulated world gives its own."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenroom.sdk.transport import Transport

if TYPE_CHECKING:
    import ssl


class Link(Protocol):
    """One WebSocket, as the runner uses it."""

    def send(self, data: bytes) -> None:
        """In order; nobody waits for it."""

    def hang_up(self, code: int) -> None:
        """Close with this code once what was sent before is out."""

    def messages(self) -> AsyncIterator[str]:
        """What comes in, until the connection is over."""

    def end(self) -> int:
        """The close code; 1006 where no Close frame came."""

    def reason(self) -> str:
        """What the Close frame says beside its code."""

    async def aclose(self) -> None:
        """Drop it with 4000 where it is still open."""


class Way(Protocol):
    """How connections are made and tokens fetched."""

    async def connect(self) -> Link:
        """Raises GreenroomError."""

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        """A v1 client access token. Raises GreenroomError."""

    async def aclose(self) -> None:
        """Keep nothing open."""


def _system_way(base: str, ssl_context: ssl.SSLContext | None) -> Way:
    return Transport(base, ssl_context)


@dataclass(frozen=True, slots=True)
class Ground:
    """The machine's own clocks and dice, and the network."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random.SystemRandom().random
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    way: Callable[[str, ssl.SSLContext | None], Way] = _system_way
