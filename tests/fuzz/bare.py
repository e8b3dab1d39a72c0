"""A client that sends any bytes as a text message, and a watch over what the service logs meanwhile."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest
import structlog

from greenroom.bench.dialect import GreenroomDialect
from greenroom.bench.wire import Dialer, WireConnection
from tests.server.harness import RunningService, Tenant, running_service
from tests.support.patience import PATIENCE

HOSTILE = {
    # So that hundreds of connections and messages of one address are not refused for their number alone.
    "trusted_proxies": ("127.0.0.0/8",),
    "messages_per_second": 1_000_000.0,
    "messages_burst": 1_000_000,
    "failed_auth_per_minute": 1_000_000,
    "protocol_violations_per_minute": 1_000_000,
    "opens_per_second": 1_000_000.0,
    "opens_per_participant_per_minute": 1_000_000,
    "ids_per_second": 1_000_000.0,
    "ids_burst": 1_000_000,
}


class Bare:
    """One connection: what came, in order."""

    def __init__(self) -> None:
        self.connection: WireConnection | None = None
        self.everything: asyncio.Queue[dict[str, Any] | int] = asyncio.Queue()
        """What came, in order; the close code last."""

    async def dial(self, url: str) -> None:
        dialect = GreenroomDialect()
        port = int(url.rpartition(":")[2])
        dialer = Dialer("127.0.0.1", (port,), path=dialect.path, subprotocol=dialect.subprotocol, sources=())
        self.connection = await dialer.dial(lambda message: self.everything.put_nowait(msgspec.json.decode(message)))
        self.connection.lost.add_done_callback(lambda lost: self.everything.put_nowait(lost.result()))

    def send(self, message: bytes) -> None:
        """One text message of these bytes, whatever they are."""
        assert self.connection is not None
        self.connection.send(message)

    def call(self, method: str, request_id: Any = 1, /, **params: Any) -> None:
        """A request in order."""
        self.send(request(method, request_id, **params))

    async def received(self) -> dict[str, Any] | int:
        """The next message, or the close code that ended the connection. Changes of participants are left out."""
        while True:
            found = await asyncio.wait_for(self.everything.get(), PATIENCE)
            if isinstance(found, int) or found.get("method") != "participants.changed":
                return found

    async def answer(self) -> dict[str, Any]:
        """The next message. Fails where the connection ended."""
        found = await self.received()
        assert isinstance(found, dict), f"closed with {found}"
        return found

    async def error(self) -> dict[str, Any]:
        """The next message, which is an error as the protocol has it."""
        found = await self.answer()
        assert "error" in found, found
        error: dict[str, Any] = found["error"]
        assert isinstance(error["code"], int), found
        assert error["message"], found
        assert isinstance(error["data"]["reason"], str), found
        assert isinstance(error["data"]["retryable"], bool), found
        assert "Traceback" not in str(found)
        return error

    async def open(self, token: str, **params: Any) -> dict[str, Any]:
        """A session; the result."""
        self.call("session.open", 0, **hello(token, **params))
        found = await self.answer()
        assert "result" in found, found
        result: dict[str, Any] = found["result"]
        return result

    async def is_alive(self) -> None:
        """Fails unless a ping is the next thing that is answered."""
        self.call("ping", "alive")
        assert await self.received() == {"id": "alive", "result": {}, "jsonrpc": "2.0"}

    def drop(self) -> None:
        """Without a word."""
        if self.connection is not None:
            self.connection.abort()


def request(method: str, request_id: Any = 1, /, **params: Any) -> bytes:
    """A request in order."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def hello(token: str, **params: Any) -> dict[str, Any]:
    """The params of an open."""
    return {"token": token, "openId": secrets.token_hex(16), "resumeSecret": secrets.token_urlsafe(32), **params}


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Bare]:
    """A connection, dropped at the end."""
    client = Bare()
    await client.dial(url)
    try:
        yield client
    finally:
        client.drop()


@asynccontextmanager
async def opened(tenant: Tenant, token: str | None = None) -> AsyncIterator[Bare]:
    """A connection with a session."""
    async with bare(tenant.running.url) as client:
        await client.open(token or tenant.token("anna"))
        yield client


@contextmanager
def nothing_alarming(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails for an error, a warning or a traceback in what is logged meanwhile, by any of the loggers."""
    caplog.set_level(logging.INFO)
    with structlog.testing.capture_logs() as entries:
        yield
    notice = [one for one in entries if one["log_level"] in ("warning", "error", "critical") or one.get("exc_info")]
    notice += [vars(one) for one in caplog.records if one.levelno >= logging.WARNING or one.exc_info]
    assert notice == [], notice


@asynccontextmanager
async def fuzzed_service(**settings: Any) -> AsyncIterator[tuple[RunningService, Tenant]]:
    """A service that takes many messages of one client, and an application. Someone else is served at the end."""
    async with running_service(**{**HOSTILE, **settings}) as running:
        tenant = await running.new_application()
        yield running, tenant
        async with opened(tenant, tenant.token("someone else")) as client:
            await client.is_alive()


__all__ = ["HOSTILE", "Bare", "bare", "fuzzed_service", "hello", "nothing_alarming", "opened", "request"]
