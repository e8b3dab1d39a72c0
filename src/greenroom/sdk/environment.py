"""Clocks, randomness and network of the machine that the SDK runs on; simulations give their own."""

from __future__ import annotations

import random
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from greenroom.sdk.connections import Transport
from greenroom.sdk.transport import AiohttpTransport


@dataclass(frozen=True, slots=True)
class Environment:
    """Defaults: the system's clocks, randomness and network."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random.SystemRandom().random
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    transport: Callable[[str, ssl.SSLContext | None], Transport] = AiohttpTransport
