"""One walk through the server API and webhooks, on each engine: the same answers from both."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest

from greenroom.engines.base import Engine
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.redis import RedisEngine
from greenroom.server.cluster.sampling import Sampler
from greenroom.server.service import Service
from tests.server.api_service import Api, api_of
from tests.server.harness import RunningService, Tenant, short_config
from tests.server.webhooks.receiver import receiver
from tests.support.patience import PATIENCE
from tests.support.redis_server import single

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}


@asynccontextmanager
async def service_on(kind: str) -> AsyncIterator[tuple[RunningService, Tenant, Api]]:
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="greenroom-test-"))
        config = short_config(data, **SETTINGS)
        engine: Engine = EmbeddedEngine(data, commit_window=0.0)
        if kind == "redis":
            server = stack.enter_context(single("--appendonly", "yes", "--appendfsync", "always"))
            engine = RedisEngine(server.url, timeout=PATIENCE)
        service = Service(config, engine=engine)
        await service.start()
        async with aiohttp.ClientSession() as http:
            running = RunningService(service, http, data)
            try:
                tenant = await running.new_application()
                yield running, tenant, api_of(running, tenant)
            finally:
                await service.stop()


@pytest.mark.parametrize("kind", ["embedded", "redis"])
async def test_the_service_keeps_the_counts_of_the_last_hour(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.server.service.Sampler", partial(Sampler, period=0.2))
    async with service_on(kind) as (running, tenant, api):
        assert (await api.good("GET", "/v1/counts/history"))["items"] == []
        clients = [await running.dial() for _ in range(3)]
        for number, client in enumerate(clients):
            await client.open(tenant.token(f"user-{number // 2}"))
        kept: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while not kept or kept[-1]["participants"]["online"] < 2:
                await asyncio.sleep(0.05)
                kept = (await api.good("GET", "/v1/counts/history"))["items"]
        assert (await api.good("GET", "/v1/counts/history"))["period"] == 30.0
        assert kept[-1] == {
            "participants": {"online": 2, "unreachable": 0},
            "sessions": {"attached": 3, "detached": 0},
            "at": kept[-1]["at"],
        }
        assert abs(kept[-1]["at"] / 1000 - time.time()) < 30
        assert [one["at"] for one in kept] == sorted(one["at"] for one in kept)


async def test_another_node_answers_with_what_one_has_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.server.service.Sampler", partial(Sampler, period=0.2))
    with tempfile.TemporaryDirectory(prefix="greenroom-test-") as data, single() as server:
        nodes = [Service(short_config(data), engine=RedisEngine(server.url, timeout=PATIENCE)) for _ in range(2)]
        async with aiohttp.ClientSession() as http:
            for node in nodes:
                await node.start()
            try:
                running = RunningService(nodes[0], http, data)
                tenant = await running.new_application()
                clients = [await running.dial() for _ in range(2)]
                for number, client in enumerate(clients):
                    await client.open(tenant.token(f"user-{number}"))
                kept: list[int] = []
                async with asyncio.timeout(PATIENCE):
                    while len(kept) < 4 or kept[-1] < 2:
                        await asyncio.sleep(0.05)
                        kept = [one.participants.online for one in await nodes[0].counter.history(tenant.key)]
                before = await nodes[0].counter.history(tenant.key)
                assert (await nodes[1].counter.history(tenant.key))[: len(before)] == before
            finally:
                for node in nodes:
                    await node.stop()


@pytest.mark.parametrize("kind", ["embedded", "redis"])
async def test_a_walk_through_the_api(kind: str) -> None:
    async with service_on(kind) as (running, tenant, api), receiver() as there:
        endpoint = (await api.good("POST", "/v1/webhooks", {"url": there.url}))["endpoint"]["id"]
        client = await running.dial()
        opened = await client.open(tenant.token("anna"), participant={"name": "Anna"}, device={"id": "d", "name": "D"})
        (anna,) = (await api.good("GET", "/v1/participants", presence="online"))["items"]
        assert (anna["externalId"], anna["name"], anna["sessions"]) == ("anna", "Anna", 1)
        path = f"/v1/participants/{anna['id']}"
        changed = await api.call("PATCH", path, {"name": "Anne"}, headers={"If-Match": f'"{anna["revision"]}"'})
        assert (changed.status, changed.body["revision"]) == (200, anna["revision"] + 1)
        stale = await api.call("PATCH", path, {"name": "x"}, headers={"If-Match": f'"{anna["revision"]}"'})
        assert (stale.status, stale.body["details"]["participant"]) == (409, changed.body)
        (session,) = (await api.good("GET", "/v1/sessions", externalId="anna"))["items"]
        assert (session["id"], session["state"], session["device"]) == (opened.id, "attached", {"id": "d", "name": "D"})
        counts = await api.good("GET", "/v1/counts")
        assert (counts["participants"], counts["sessions"]["attached"]) == ({"online": 1, "unreachable": 0}, 1)
        kicked = await api.good("POST", f"{path}/kick", {"reason": "bye", "block": {"seconds": 60}})
        assert kicked["ended"] == [opened.id]
        assert (await client.notified("session.ended"))["message"] == "bye"
        await client.closed()
        assert len((await api.good("GET", "/v1/blocks"))["items"]) == 1
        timeline = await api.good("GET", f"/v1/sessions/{opened.id}/timeline")
        assert [timeline["items"][0]["what"], timeline["items"][-1]["what"]] == ["opened", "ended"]
        assert timeline["session"]["endReason"] == "blocked"
        whole = (await api.good("GET", "/v1/events", limit=1000))["items"]
        assert "session.ended" in [event["type"] for event in whole]
        began = time.monotonic()
        cursor = (await api.good("GET", "/v1/events", limit=1000))["cursor"]
        assert (await api.good("GET", "/v1/events", after=cursor, wait=0.3))["items"] == []
        assert time.monotonic() - began < 20
        await there.wait_for(len(whole))
        assert [got.event["id"] for got in there.got] == [event["id"] for event in whole]
        replayed = await api.good("POST", f"/v1/webhooks/{endpoint}/replay", {"from": 0})
        assert replayed["queued"] == len(whole)
        await there.wait_for(2 * len(whole))
        await api.good("DELETE", f"/v1/blocks/{anna['id']}")
        await api.good("DELETE", path)
        assert await api.refused("GET", path) == (404, "Not_found")
        assert "Anne" not in str((await api.good("GET", "/v1/events", limit=1000))["items"])
        assert (await api.good("POST", "/v1/tokens/revoke", {"externalId": "bob"}))["ended"] == 0
