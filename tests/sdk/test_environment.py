"""Whoever gives the SDK an environment gives it all that it takes from outside."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import fields

import pytest

from greenroom import Greenroom, ServiceUnavailableError
from greenroom.sdk.connections import ClientWebSocket
from greenroom.sdk.environment import Environment
from greenroom.testing.fake_service import make_token


class NoNetwork:
    """A transport that reaches nobody, and notes how often it was tried."""

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None) -> None:
        self.base = base
        self.ssl_context = ssl_context
        self.dials = 0

    async def connect(self) -> ClientWebSocket:
        self.dials += 1
        raise ServiceUnavailableError("no network")

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        raise AssertionError("not asked for")


async def test_an_sdk_uses_the_clocks_the_randomness_and_the_network_that_it_is_given() -> None:
    used: set[str] = set()
    transports: list[NoNetwork] = []

    def using(name: str, of: Callable[[], float]) -> Callable[[], float]:
        def call() -> float:
            used.add(name)
            return of()

        return call

    def random_bytes(count: int) -> bytes:
        used.add("random_bytes")
        return bytes(count)

    def transport(base: str, ssl_context: ssl.SSLContext | None) -> NoNetwork:
        used.add("transport")
        transports.append(NoNetwork(base, ssl_context))
        return transports[0]

    context = ssl.create_default_context()
    environment = Environment(
        monotonic=using("monotonic", time.monotonic), wall=using("wall", time.time),
        random=using("random", lambda: 0.5), random_bytes=random_bytes, transport=transport,
    )  # fmt: skip
    sdk = Greenroom("https://h/x/", ssl_context=context, environment=environment)
    assert [(one.base, one.ssl_context) for one in transports] == [("https://h/x", context)]
    sdk.initialize_token(make_token())
    with pytest.raises(Exception, match="no network"):
        await sdk.session.open(timeout=0.05)
    await sdk.aclose()
    assert transports[0].dials == 1
    assert used == {field.name for field in fields(Environment)}


def test_randomness_of_the_system_is_not_that_of_a_seed() -> None:
    """What a forked process inherits would be the same in each of them."""
    one, other = Environment(), Environment()
    assert len({one.random_bytes(16), other.random_bytes(16), one.random_bytes(16)}) == 3
    assert all(0.0 <= one.random() < 1.0 for _ in range(100))
    assert type(getattr(one.random, "__self__", None)).__name__ == "SystemRandom"
