"""The engine that the settings name. What an engine needs is imported only where it is wanted."""

from __future__ import annotations

from typing import cast

from greenroom.engines.base import Engine
from greenroom.errors import IllegalArgumentError
from greenroom.server.config import ServerConfig


def make_engine(config: ServerConfig) -> Engine:
    """Not started yet. Raises IllegalArgumentError."""
    if config.engine == "embedded":
        from greenroom.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(config.data_dir, lease=config.lease)
    if config.engine.startswith("redis"):
        from greenroom.engines.redis import RedisEngine

        # A Protocol's attributes are invariant, and this engine names its parts by their own classes.
        return cast(Engine, RedisEngine(config.engine, lease=config.lease))
    raise IllegalArgumentError(
        f"There is no engine for {config.engine.partition(':')[0]!r}.", hint="Use embedded, or the URL of a Redis."
    )
