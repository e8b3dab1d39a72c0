"""The tutorial's backend and participant, as processes, against a real service."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.server.harness import RunningService, Tenant, running_service
from tests.support.patience import PATIENCE, until
from tests.support.processes import started
from tests.support.redis_server import free_ports

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "fastapi"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

pytestmark = pytest.mark.slow


def process(*arguments: str, **environment: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    variables = {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return started(*arguments, cwd=EXAMPLE, stdin=PIPE, stderr=DEVNULL, environment=variables)


@asynccontextmanager
async def backend(running: RunningService, tenant: Tenant) -> AsyncIterator[str]:
    (port,) = free_ports(1)
    settings: Mapping[str, str] = {
        "GREENROOM_URL": running.url,
        "GREENROOM_APP_KEY": tenant.key,
        "GREENROOM_APP_SECRET": tenant.secret,
        "GREENROOM_WEBHOOK_SECRET": SECRET,
    }
    async with process("-m", "uvicorn", "backend:app", "--port", str(port), **settings):
        url = f"http://127.0.0.1:{port}"
        await until(lambda: _answers(running.http, url))
        yield url


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url + "/who") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


async def who(running: RunningService, url: str) -> list[tuple[Any, Any]]:
    async with running.http.get(url + "/who") as reply:
        return [(one["name"], one["presence"]) for one in await reply.json()]


async def test_who_is_online() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with backend(running, tenant) as url:
            assert await who(running, url) == []
            async with running.http.get(url + "/who/live") as live:
                assert await live.content.readline() == b"data: []\n"
                async with process("participant.py", "anna", "Anna", BACKEND_URL=url) as anna:
                    assert anna.stdout is not None
                    assert anna.stdin is not None
                    assert (await asyncio.wait_for(anna.stdout.readline(), PATIENCE)).startswith(b"Anna is online as ")
                    await until(lambda: _is(running, url, [("Anna", "online")]))
                    anna.stdin.write(b"\n")
                    await until(lambda: _is(running, url, []))
                text = b""
                while b'"Anna"' not in text:
                    text += await asyncio.wait_for(live.content.readline(), PATIENCE)
            async with running.http.post(url + "/token", json={"externalId": ""}) as reply:
                assert reply.status == 422
            async with running.http.post(url + "/token", json={"externalId": "bob", "name": "Bob"}) as reply:
                assert set(await reply.json()) == {"token", "url"}


async def _is(running: RunningService, url: str, expected: list[tuple[Any, Any]]) -> bool:
    return await who(running, url) == expected


async def test_its_webhook_takes_only_what_is_signed() -> None:
    settings: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}
    async with running_service(**settings) as running:
        tenant = await running.new_application()
        async with backend(running, tenant) as url, running.http.post(url + "/hooks/greenroom", json={}) as reply:
            assert reply.status == 400
