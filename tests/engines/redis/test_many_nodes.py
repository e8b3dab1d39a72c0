"""Several nodes on one real Redis: simultaneous opens of one identity, replacement across nodes, an empty restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import BeatResult, NodeBeat, RestoreRequest, SessionQuery
from greenroom.engines.redis import RedisEngine
from greenroom.errors import ServiceUnavailableError, TooManySessionsError
from greenroom.model import Event, SessionPolicy
from greenroom.testing.engine_contract import APP, RecordingListener
from tests.support.patience import PATIENCE
from tests.support.redis_server import RedisServer, single, wait_for
from tests.support.redis_world import RedisWorld

pytestmark = pytest.mark.slow

NODES = ("node-1", "node-2", "node-3")
OPENS = 200


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@asynccontextmanager
async def three_nodes(server: RedisServer) -> AsyncIterator[tuple[RedisWorld, list[RedisEngine]]]:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        assert isinstance(w.engine, RedisEngine)
        engines = [w.engine]
        for name in NODES[1:]:
            engine = RedisEngine(server.url, clock_us=lambda: w.now_ms() * 1000, timeout=PATIENCE)
            await engine.start()
            engines.append(engine)
            await w.join(name, f"lease-of-{name}")
        try:
            yield w, engines
        finally:
            for engine in engines[1:]:
                await engine.stop()


async def open_all(
    w: RedisWorld, engines: list[RedisEngine], user: str, policy: SessionPolicy, seed: int
) -> list[object]:
    """OPENS at once, each at one of the nodes, from few devices."""
    chance = random.Random(seed)
    calls = []
    for _ in range(OPENS):
        number = chance.randrange(3)
        lease = w.lease if number == 0 else f"lease-of-{NODES[number]}"
        request = w.open_request(user, policy=policy, device_id=f"device-{chance.randrange(4)}")
        request = msgspec.structs.replace(request, node=NODES[number], lease=lease)
        calls.append(engines[number].registry.open(request))
    return await asyncio.gather(*calls, return_exceptions=True)


async def read_on(w: RedisWorld, cursor: str | None) -> tuple[list[Event], str | None]:
    """What has happened since."""
    events: list[Event] = []
    while True:
        page = await w.engine.outbox.read(APP, cursor, 1000)
        if not page.items:
            return events, page.cursor
        events += page.items
        cursor = page.cursor


async def latest(listener: RecordingListener, participant_id: str, version: int) -> list[int]:
    """The versions that were received, once this one was."""
    async with asyncio.timeout(PATIENCE):
        while True:
            versions = [record.version for record in listener.records(participant_id)]
            if versions and versions[-1] >= version:
                return versions
            await asyncio.sleep(0.01)  # a message is on its way


async def beat_until_it_answers(w: RedisWorld) -> BeatResult:
    beat = NodeBeat(node=w.node, boot="boot-of-" + w.node, lease=w.lease)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await w.engine.registry.beat(beat)
            except ServiceUnavailableError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("policy", "survivors"),
    [
        (SessionPolicy(max_sessions=3, when_full="reject", same_device="allow"), 3),
        (SessionPolicy(max_sessions=3, when_full="replace_oldest", same_device="allow"), 3),
        (SessionPolicy(max_sessions=10, when_full="reject", same_device="replace"), 4),
    ],
)
async def test_simultaneous_opens_over_three_nodes_leave_the_promised_survivors(
    server: RedisServer, policy: SessionPolicy, survivors: int, rounds: int
) -> None:
    async with three_nodes(server) as (w, engines):
        listener = RecordingListener()
        engines[1].bus.listen(listener)
        cursor = None
        for number in range(rounds):
            seed, user = number, f"user-{number}"
            print("seed", seed)
            participant_id = w.open_request(user).participant_id
            await engines[1].bus.watch(APP, [participant_id])
            results = await open_all(w, engines, user, policy, seed)
            refused = [result for result in results if isinstance(result, BaseException)]
            assert all(isinstance(error, TooManySessionsError) for error in refused)
            page = await engines[2].registry.sessions(SessionQuery(app=APP, participant_id=participant_id))
            assert len(page.items) == survivors
            (record,) = (await w.engine.registry.participants(ParticipantQuery(app=APP, ids=[participant_id]))).items
            assert record.sessions == survivors
            events, cursor = await read_on(w, cursor)
            opened = [event.session_id for event in events if event.type == "session.opened"]
            ended = [event.session_id for event in events if event.type == "session.ended"]
            assert len(opened) == len(set(opened)) == OPENS - len(refused)
            assert set(opened) - set(ended) == {session.id for session in page.items}
            assert len(ended) == len(set(ended))
            versions = await latest(listener, participant_id, record.version)
            assert versions == sorted(set(versions)), "one ordered change for each step"
            assert len(versions) == len(opened)


async def test_a_session_is_replaced_and_resumed_across_nodes(server: RedisServer) -> None:
    async with three_nodes(server) as (w, engines):
        a = await w.client(device_id="phone")
        request = a.attach_request(node="node-2", lease="lease-of-node-2")
        attached = await engines[1].registry.attach(request)
        assert attached.displaced is not None
        assert (attached.displaced.node, attached.displaced.generation) == ("node-1", 1)
        again = msgspec.structs.replace(w.open_request(device_id="phone"), node="node-3", lease="lease-of-node-3")
        opened = await engines[2].registry.open(again)
        assert [(session.node, session.generation) for session in opened.replaced] == [("node-2", 2)]


async def test_a_caller_that_gives_up_at_any_moment_harms_nobody(server: RedisServer) -> None:
    async with three_nodes(server) as (w, engines):
        for steps in range(20):
            given_up = asyncio.ensure_future(engines[0].registry.open(w.open_request(f"gone-{steps}")))
            others = [
                asyncio.ensure_future(engines[0].registry.open(w.open_request(f"u-{steps}-{n}"))) for n in range(5)
            ]
            if steps % 5 == 4:
                server.execute("FUNCTION", "FLUSH")  # and on the way through loading the library
            for _ in range(steps):
                await asyncio.sleep(0)
            given_up.cancel()
            for number, attached in enumerate(await asyncio.gather(*others)):
                assert attached.session.external_id == f"u-{steps}-{number}"
            await asyncio.gather(given_up, return_exceptions=True)


async def test_s15_redis_that_comes_back_empty_is_filled_by_its_nodes(server: RedisServer) -> None:
    async with three_nodes(server) as (w, engines):
        a = await w.client("alice", name="Alice")
        await asyncio.to_thread(server.kill)
        with pytest.raises(ServiceUnavailableError):
            await a.update(name="lost")
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_for, server.answers, "redis")
        result = await beat_until_it_answers(w)
        assert result.recovering
        with pytest.raises(ServiceUnavailableError) as caught:
            await a.update(name="too early")
        assert caught.value.code is ErrorCode.ENGINE_RECOVERING
        held = ((a.session, a.attached.participant, a.secret, 0),)
        request = RestoreRequest(node=w.node, lease=w.lease, sessions=held, finish=True)
        assert await w.engine.registry.restore(request) == 1
        assert (await a.update(name="Alicia")).name == "Alicia"
        assert (await engines[1].registry.sessions(SessionQuery(app=APP))).items[0].id == a.id
