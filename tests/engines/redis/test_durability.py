"""What Redis is refused for, and what is said of the rest (S16)."""

from __future__ import annotations

import pytest

from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.durability import check, describe
from greenroom.engines.redis.store import ServerFacts
from greenroom.errors import IllegalArgumentError
from tests.support.patience import PATIENCE
from tests.support.redis_server import DURABLE, single

DURABLE_FACTS = ServerFacts(
    address="a:1", version="7.2.4", append_only=True, append_fsync="always", min_replicas_to_write=1,
    min_replicas_max_lag=1, maxmemory_policy="noeviction", replicas=1,
)  # fmt: skip


def test_redis_before_7_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match=r"version 6\.2\.14"):
        check([ServerFacts(address="a:1", version="6.2.14")])
    check([DURABLE_FACTS])


def test_one_that_evicts_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="allkeys-lru"):
        check([ServerFacts(address="a:1", version="7.0.0", maxmemory_policy="allkeys-lru")])


def test_the_durable_profile_is_said_to_lose_nothing() -> None:
    _, restart, failover = describe([DURABLE_FACTS], 1)
    assert "nothing that was acknowledged is lost" in restart
    assert "nothing that was acknowledged is lost" in failover


def test_what_is_missing_is_named() -> None:
    _, restart, failover = describe([ServerFacts(address="a:1", version="7.0.0")], 0)
    assert "may be lost" in restart
    for missing in ("wait_replicas=1", "min-replicas-to-write 1", "min-replicas-max-lag 1"):
        assert missing in failover


@pytest.mark.slow
async def test_a_real_server_is_read() -> None:
    with single(*DURABLE) as server:
        engine = RedisEngine(server.url, timeout=PATIENCE)
        try:
            await engine.store.start()
            (facts,) = await engine.store.facts()
            assert (facts.append_only, facts.append_fsync, facts.min_replicas_to_write) == (True, "always", 1)
        finally:
            await engine.stop()


@pytest.mark.slow
async def test_a_real_server_that_evicts_is_refused_at_start() -> None:
    with single("--maxmemory-policy", "allkeys-lru") as server:
        engine = RedisEngine(server.url, timeout=PATIENCE)
        try:
            with pytest.raises(IllegalArgumentError, match="noeviction"):
                await engine.start()
        finally:
            await engine.stop()
