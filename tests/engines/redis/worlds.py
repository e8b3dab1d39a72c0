"""Worlds of the Redis engine's own tests."""

from __future__ import annotations

from greenroom.engines.redis import RedisEngine
from tests.support.lua_redis import LuaServer, LuaStore
from tests.support.redis_world import RedisWorld


class LuaWorld(RedisWorld):
    """In process; `server` is the Redis, which can be away, lose data and messages."""

    def __init__(self) -> None:
        self.server = LuaServer(lambda: self.now_ms() * 1000)
        super().__init__("redis://in-process", self.server.lose_everything, store=self.make_store)

    def make_store(self) -> LuaStore:
        self.node_store = LuaStore(self.server)
        return self.node_store

    async def another_node(self) -> RedisEngine:
        """A second engine on the same Redis; the test stops it."""
        engine = RedisEngine("redis://in-process", store=LuaStore(self.server))
        await engine.start()
        return engine
