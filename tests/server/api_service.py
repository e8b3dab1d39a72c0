"""A client of the server API for tests: `async with api_service() as running: api = await running.api()`."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from greenroom.tokens import API_SCOPES, mint_api_token
from tests.server.harness import RunningService, Tenant, running_service

NOBODY = "00000000-0000-5000-8000-000000000000"
"""The id of no participant."""


@dataclass
class Reply:
    """status, headers and the decoded body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Api:
    """Calls as one application's backend makes them."""

    running: RunningService
    tenant: Tenant
    token: str

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Reply:
        """Any call; the answer whatever its status."""
        fields = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        options: dict[str, Any] = {"json": body} if body is not None else {}
        params = [(key, str(one)) for key, value in query.items() for one in _each(value)]
        async with self.running.http.request(
            method, self.running.url + path, headers=fields, params=params, **options
        ) as response:
            return Reply(response.status, response.headers, await response.json())

    async def good(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """A call that must succeed; its body."""
        reply = await self.call(method, path, body, **query)
        assert reply.status in (200, 201), reply
        return reply.body

    async def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """A call that must be refused; status and reason."""
        reply = await self.call(method, path, body, **query)
        assert reply.status >= 400, reply
        assert reply.body["type"] == "ErrorResponse"
        return reply.status, reply.body["error_reason"]


def _each(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def api_of(
    running: RunningService, tenant: Tenant, scopes: tuple[str, ...] = API_SCOPES, now: float | None = None
) -> Api:
    """The API with a token for these scopes."""
    service = running.service
    token = mint_api_token(
        service.tenants.keys.ring,
        issuer=service.issuer,
        app=tenant.key,
        scopes=scopes,
        life=3600,
        now=time.time() if now is None else now,
        random_bytes=os.urandom,
    ).token
    return Api(running, tenant, token)


@asynccontextmanager
async def api_service(**settings: Any) -> AsyncIterator[tuple[RunningService, Tenant, Api]]:
    """A service, an application, and its API with all scopes."""
    async with running_service(**settings) as running:
        tenant = await running.new_application()
        yield running, tenant, api_of(running, tenant)
