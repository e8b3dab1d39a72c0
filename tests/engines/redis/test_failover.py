"""Sentinel fails a paused master over: under the durable profile nothing that was acknowledged is lost (S16).

Killed, a master has lost nothing. Paused and woken it keeps acknowledging what is then discarded, until
min-replicas-to-write stops it: so it is paused here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from greenroom.core.requests import Attached, OpenRequest, ParticipantQuery, TokenFacts, UpdateRequest
from greenroom.engines.base import NodeBeat, RestoreRequest, SessionQuery
from greenroom.engines.redis import RedisEngine
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.model import make_session_id, participant_id_of, partition_of
from greenroom.testing.engine_world import APP, NAMESPACE, owner_of, secret
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import RedisServer, SentinelTrio, sentinel_trio, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

WORKERS = 8
SOME = 50
"""Opens that are answered before the failover, and after it."""


class Load:
    """Opens and updates without pause, and keeps what was acknowledged."""

    def __init__(self, engine: RedisEngine, seed: int) -> None:
        self.engine = engine
        self.chance = random.Random(seed)
        self.opened: dict[str, str] = {}
        """session id -> participant id"""
        self.revisions: dict[str, tuple[int, str]] = {}
        """participant id -> the last acknowledged (revision, name)"""
        self.refused = 0
        self.is_over = False
        """Whether no more is begun."""
        self._number = 0

    def request(self) -> OpenRequest:
        self._number += 1
        participant_id = participant_id_of(NAMESPACE, f"user-{self._number}")
        now = int(time.time())
        return OpenRequest(
            app=APP,
            participant_id=participant_id,
            external_id=f"user-{self._number}",
            open_id=f"open-{self._number}",
            secret_hash=secret(str(self._number)),
            session_id=make_session_id(partition_of(APP, participant_id), self.chance.randbytes(16)),
            node="n1",
            lease="lease",
            token=TokenFacts(jti="j", issued_at=now, expires_at=now + 3600),
        )

    async def some(self) -> None:
        """Returns when some more opens were answered."""
        wanted = len(self.opened) + SOME
        await until(lambda: len(self.opened) >= wanted)

    async def work(self) -> None:
        while not self.is_over:
            request = self.request()
            attached = await self._persist(partial(self.engine.registry.open, request))
            if attached is None:
                continue
            self.opened[attached.session.id] = request.participant_id
            for n in range(self.chance.randint(1, 3)):
                update = UpdateRequest(
                    app=APP,
                    participant_id=request.participant_id,
                    name=f"name-{n}",
                    owner=owner_of(attached.session),
                    update_id=f"u{n}",
                )
                try:
                    record = await self.engine.registry.update_participant(update)
                except (ServiceUnavailableError, SessionEndedError):
                    self.refused += 1
                    await asyncio.sleep(0.05)
                    break
                self.revisions[request.participant_id] = (record.revision, record.name)

    async def _persist(self, attempt: Callable[[], Awaitable[Attached]]) -> Attached | None:
        """As an SDK does: the same open again until it is answered."""
        while not self.is_over:
            try:
                return await attempt()
            except ServiceUnavailableError:
                self.refused += 1
                await asyncio.sleep(0.05)
        return None


async def keep_alive(engine: RedisEngine) -> None:
    while True:
        try:
            await engine.registry.beat(NodeBeat(node="n1", boot="b", lease="lease"))
            await engine.registry.reap()
        except ServiceUnavailableError:
            pass
        await asyncio.sleep(0.5)


async def pause_and_wake(trio: SentinelTrio, load: Load) -> None:
    """The master stops; when another has been made master it wakes up, still believing, until it is told."""
    old = await asyncio.to_thread(trio.master)
    await load.some()
    old.pause()
    await asyncio.to_thread(wait_for, lambda: trio.master() is not old, "the failover")
    old.resume()
    await asyncio.to_thread(wait_for, lambda: is_demoted(old), "the old master's end")
    await load.some()


def is_demoted(server: RedisServer) -> bool:
    role = server.execute("ROLE")
    return isinstance(role, list | tuple) and role[0] in (b"slave", "slave")


async def check(engine: RedisEngine, load: Load) -> None:
    """Everything that was acknowledged is there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await engine.healthy()
                break
            except ServiceUnavailableError:
                await asyncio.sleep(0.2)
    for session_id, participant_id in load.opened.items():
        page = await engine.registry.sessions(SessionQuery(session_id=session_id))
        assert page.items, f"the acknowledged session {session_id} is lost"
        assert page.items[0].participant_id == participant_id
    ids = list(load.revisions)
    stored_page = await engine.registry.participants(ParticipantQuery(app=APP, ids=ids))
    for stored in stored_page.items:
        revision, name = load.revisions[stored.id]
        assert stored.revision >= revision, f"the acknowledged update of {stored.id} is lost"
        assert stored.revision > revision or stored.name == name


async def fail_over(trio: SentinelTrio, url: str, seed: int) -> Load:
    """Load while a paused master is failed over and wakes up, seen through a connection that outlives the pause (as of
    a node that was paused with it), until the old master knows that it is none."""
    print("seed", seed)
    engine = RedisEngine(url, timeout=30)
    await engine.start()
    load = Load(engine, seed)
    alive = asyncio.create_task(keep_alive(engine))
    try:
        nothing = RestoreRequest(node="n1", lease="lease", sessions=(), finish=True)
        await engine.registry.restore(nothing)
        await engine.registry.beat(NodeBeat(node="n1", boot="b", lease="lease"))
        workers = [asyncio.create_task(load.work()) for _ in range(WORKERS)]
        try:
            await pause_and_wake(trio, load)
        finally:
            load.is_over = True
            await asyncio.gather(*workers)
        print(len(load.opened), "opens,", len(load.revisions), "updates acknowledged,", load.refused, "refused")
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)
        await engine.stop()
    return load


async def what_is_left(url: str, load: Load) -> None:
    """Raises AssertionError where something that was acknowledged is not there."""
    engine = RedisEngine(url, timeout=PATIENCE)
    try:
        await check(engine, load)
    finally:
        await engine.stop()


@pytest.fixture
def durable() -> Iterator[SentinelTrio]:
    with sentinel_trio() as running:
        yield running


@pytest.fixture
def careless() -> Iterator[SentinelTrio]:
    with sentinel_trio("--appendonly", "yes") as running:
        yield running


async def test_s16_nothing_acknowledged_is_lost_when_a_paused_master_is_failed_over(durable: SentinelTrio) -> None:
    load = await fail_over(durable, durable.url, seed=1)
    assert load.opened
    assert load.refused, "the failover was not noticed: the test has tested nothing"
    await what_is_left(durable.url, load)


async def test_without_the_durable_profile_the_same_loses_what_was_acknowledged(careless: SentinelTrio) -> None:
    """That the test above can fail; and what `durability` warns of."""
    url = careless.url.replace("&wait_replicas=1", "")
    load = await fail_over(careless, url, seed=2)
    with pytest.raises(AssertionError, match="is lost"):
        await what_is_left(url, load)
