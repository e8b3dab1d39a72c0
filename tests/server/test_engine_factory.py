"""Which engine the settings name."""

from __future__ import annotations

import pytest

from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.redis import RedisEngine
from greenroom.errors import IllegalArgumentError
from greenroom.server.config import ServerConfig
from greenroom.server.engine_factory import make_engine


def test_the_engine_is_the_one_that_is_named() -> None:
    assert isinstance(make_engine(ServerConfig()), EmbeddedEngine)
    assert isinstance(make_engine(ServerConfig(engine="redis://127.0.0.1:1/0")), RedisEngine)


def test_an_engine_nobody_knows_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="engine"):
        make_engine(ServerConfig(engine="oracle://somewhere"))
