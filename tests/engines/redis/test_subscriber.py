"""Subscriptions on a real server: lost, renewed, confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from greenroom.model import partition_of
from greenroom.testing.engine_contract import APP
from tests.support.patience import until
from tests.support.redis_server import RedisServer, single, wait_for
from tests.support.redis_world import RedisWorld


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


@pytest.mark.slow
async def test_s13_a_lost_subscription_is_renewed_and_reported(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await asyncio.to_thread(server.execute, "CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: w.listener.losses)
        assert list(w.listener.losses[0]) == [partition_of(APP, a.participant_id)]
        await a.update(name="heard again")
        await until(lambda: w.listener.records(a.participant_id))


@pytest.mark.slow
async def test_s13_a_server_that_was_away_is_subscribed_again(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client(name="kept")
        await w.engine.bus.watch(APP, [a.participant_id])
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_for, server.answers, "redis")
        await until(lambda: w.listener.losses)
        assert (await a.record()).name == "kept"  # AOF always: everything is there
        await a.update(name="heard again")
        await until(lambda: w.listener.records(a.participant_id))
