"""The engine for many nodes: shared state in Redis, changed by Lua functions, one partition at a time."""

from greenroom.engines.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
