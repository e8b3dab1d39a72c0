"""The Redis engine passes the suite that every engine passes, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("greenroom.testing.engine_contract", "greenroom.testing.engine_world")

from greenroom.engines.base import SessionQuery  # noqa: E402
from greenroom.testing.engine_contract import EngineContract, World  # noqa: E402
from greenroom.testing.engine_contract.directory import DirectoryContract  # noqa: E402
from greenroom.testing.engine_contract.opening import OpeningContract  # noqa: E402
from tests.support.lua_redis import LuaServer, LuaStore  # noqa: E402
from tests.support.redis_server import Cluster, RedisServer, cluster, single  # noqa: E402
from tests.support.redis_world import RedisWorld  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@pytest.fixture(scope="module")
def trio() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


class RedisContract(EngineContract):
    async def test_s10_after_a_restart_every_session_has_its_grace(self) -> None:
        """S10 is the embedded engine's. Here other nodes go on while one is restarted, so graces do too (S8)."""
        async with self.make_world() as w:
            attached, _ = await self.attached_and_detached_at_a_restart(w)
            await w.advance(8)
            page = await w.engine.registry.sessions(SessionQuery())
            assert {session.id for session in page.items} == {attached.id}
            await w.advance(33)
            page = await w.engine.registry.sessions(SessionQuery())
            assert page.items == ()


@pytest.mark.slow
class TestOnASingleRedis(RedisContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        self.server = server

    def make_world(self) -> World:
        return RedisWorld(self.server.url, lambda: self.server.execute("FLUSHALL"))


class OnACluster:
    @pytest.fixture(autouse=True)
    def _cluster(self, trio: Cluster) -> None:
        self.trio = trio

    def make_world(self) -> World:
        return RedisWorld(self.trio.url, self.trio.flush)


@pytest.mark.slow
class TestPartOfItOnACluster(OnACluster, OpeningContract, DirectoryContract):
    """Calls of one partition and calls of all. In process (below) keys of another partition than the call's fail."""


@pytest.mark.soak
class TestOnACluster(OnACluster, RedisContract):
    """All of it."""


@pytest.mark.slow
class TestInProcess(RedisContract):
    """The shipped Lua files under lupa, as the simulated world runs them."""

    def make_world(self) -> World:
        server = LuaServer(lambda: world.now_ms() * 1000)
        world = RedisWorld("redis://in-process", server.lose_everything, store=lambda: LuaStore(server))
        return world
