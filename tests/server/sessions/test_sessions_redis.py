"""Two nodes on one real Redis: nobody can tell that there is more than one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from greenroom.core.rooms.requests import KickMember, RosterQuery
from greenroom.engines.base import KickParticipant
from greenroom.errors import ServiceUnavailableError
from greenroom.model import RegistryState
from tests.server.harness import RunningService, Tenant, new_service, short_config
from tests.support.patience import until
from tests.support.redis_server import RedisServer, free_ports

SECRETS = {"master_key": "ab" * 32, "admin_token": "a" * 32}


@asynccontextmanager
async def two_nodes(**settings: Any) -> AsyncIterator[tuple[RunningService, RunningService, RedisServer]]:
    """Two services on one empty Redis."""
    with tempfile.TemporaryDirectory(prefix="greenroom-test-") as data:
        (port,) = free_ports(1)
        server = RedisServer(Path(data, "redis"), port)
        await asyncio.to_thread(server.start)
        nodes: list[RunningService] = []
        try:
            async with aiohttp.ClientSession() as http:
                for _ in range(2):
                    url = f"redis://127.0.0.1:{port}/0"
                    service = new_service(short_config(data, engine=url, drain_limit=0.5, **SECRETS, **settings))
                    await service.start()
                    nodes.append(RunningService(service, http, data))
                try:
                    yield nodes[0], nodes[1], server
                finally:
                    for running in reversed(nodes):
                        await running.service.stop()
        finally:
            await asyncio.to_thread(server.stop)


async def _application(one: RunningService, other: RunningService) -> tuple[Tenant, Tenant]:
    """The same application, seen from both nodes."""
    tenant = await one.new_application()
    await one.service.control.announce_directory()
    await until(lambda: other.service.tenants.get(tenant.key) is not None)
    return tenant, Tenant(other, tenant.key, tenant.secret)


@pytest.mark.slow
async def test_a_session_moves_between_nodes_and_news_and_kicks_reach_both() -> None:
    async with two_nodes() as (one, other, _):
        app, _there = await _application(one, other)
        async with one.connect() as here, other.connect() as there, other.connect() as watcher:
            await watcher.open(app.token("watcher"))
            await watcher.call("participants.watch", externalIds=["anna"])
            opened = await here.open(app.token("anna"), participant={"name": "Anna"})
            (anna,) = (await watcher.notified("participants.changed"))["participants"]
            assert (anna["name"], anna["presence"]) == ("Anna", "online")
            await there.resume(opened)
            assert await here.closed() == 4503
            assert opened.generation == 2
            await one.service.control.restrict(
                KickParticipant(app=app.key, participant_id=app.participant_id("anna"), reason="out")
            )
            assert (await there.notified("session.ended"))["reason"] == "kicked"
            assert await there.closed() == 4501
            while anna["presence"] != "offline":
                (anna,) = (await watcher.notified("participants.changed"))["participants"]


@pytest.mark.slow
async def test_an_empty_redis_is_restored_from_what_the_nodes_hold() -> None:
    """Everything in Redis is gone: sessions stay, applications and keys come back, nobody gets an end (S15)."""
    async with two_nodes(compare_interval=3.0) as (one, other, server):
        app, _there = await _application(one, other)
        async with one.connect() as here, other.connect() as there:
            first = await here.open(app.token("anna"), participant={"name": "Anna"})
            second = await there.open(app.token("bob"))
            await asyncio.to_thread(_flush, server.port)

            async def is_back(running: RunningService, session_id: str) -> bool:
                try:
                    record = await running.session(session_id)
                except ServiceUnavailableError:
                    return False
                return record is not None and record.state is RegistryState.ATTACHED

            for running in (one, other):
                for session in (first, second):
                    await until(partial(is_back, running, session.id))
            result = await here.call("session.getParticipant")
            assert (result["participant"]["name"], result["participant"]["presence"]) == ("Anna", "online")
            assert not [name for name, _ in here.notifications if name == "session.ended"]
            async with other.connect() as third:
                await third.open(app.token("carol"))


@pytest.mark.slow
async def test_a_room_of_two_nodes_is_one_room() -> None:
    async with two_nodes() as (one, other, _):
        app, _there = await _application(one, other)
        anna_id, bob_id = app.participant_id("anna"), app.participant_id("bob")
        async with one.connect() as anna, other.connect() as bob:
            await anna.open(app.token("anna"))
            opened = await bob.open(app.token("bob"))
            await anna.call("rooms.join", room="standup")
            roster = (await bob.call("rooms.join", room="standup"))["roster"]
            assert sorted(member["id"] for member in roster["members"]) == sorted([anna_id, bob_id])
            change = await anna.notified("rooms.changed")
            assert [member["id"] for member in change["joined"]] == [bob_id]
            await anna.call("rooms.send", room="standup", messageId="m1", message={"hand": "up"})
            assert (await bob.notified("rooms.message"))["from"] == anna_id
            await bob.call("rooms.send", room="standup", messageId="m1", message=2, to=[anna_id])
            assert (await anna.notified("rooms.message"))["message"] == 2
            async with one.connect() as moved:  # to the other node, with what it had
                result = (await moved.resume(opened, watchingRooms=[["standup", roster["version"]]])).result
                assert (result["rooms"], "lostRooms" in result) == (["standup"], False)
                await anna.call("rooms.send", room="standup", messageId="m2", message=3)
                assert (await moved.notified("rooms.message"))["message"] == 3
                await other.service.rooms.moderate(KickMember(app=app.key, room="standup", participant_id=bob_id))
                assert await moved.notified("rooms.left") == {"room": "standup", "reason": "kicked"}
                assert (await anna.notified("rooms.changed"))["left"] == [[bob_id, "kicked"]]
            await anna.call("rooms.invite", room="standup", externalIds=["carol"], text="Come")
            async with other.connect() as carol:
                waiting = (await carol.open(app.token("carol"))).result["invitations"]
                assert [invitation["text"] for invitation in waiting] == ["Come"]
                await carol.call("rooms.answer", invitationId=waiting[0]["id"], accept=True)
                assert (await anna.notified("rooms.answered"))["participantId"] == app.participant_id("carol")


@pytest.mark.slow
async def test_r10_an_empty_redis_gets_its_rooms_back() -> None:
    async with two_nodes(compare_interval=3.0) as (one, other, server):
        app, _there = await _application(one, other)
        async with one.connect() as anna, other.connect() as bob:
            await anna.open(app.token("anna"))
            await bob.open(app.token("bob"))
            for client in (anna, bob):
                await client.call("rooms.join", room="standup")
            await asyncio.to_thread(_flush, server.port)

            async def is_back() -> bool:
                try:
                    roster = await one.service.engine.rooms.roster(RosterQuery(app=app.key, room="standup"))
                except ServiceUnavailableError:
                    return False
                return roster.count == 2

            await until(is_back)
            await anna.call("rooms.send", room="standup", messageId="m1", message=1)
            assert (await bob.notified("rooms.message"))["message"] == 1
            for client in (anna, bob):
                assert not [name for name, _ in client.notifications if name == "rooms.left"]


def _flush(port: int) -> None:
    import redis

    with redis.Redis(port=port) as client:
        client.flushall()
