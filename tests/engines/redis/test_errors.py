"""What Redis says when it refuses, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenroom.codes import ErrorCode
from greenroom.errors import ServiceUnavailableError
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@pytest.mark.slow
async def test_when_redis_is_full_opens_are_refused_retryably_and_ends_still_go_through(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a, b = await w.client("alice"), await w.client("bob")
        server.execute("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(ServiceUnavailableError) as caught:
            await w.open("carol")
        assert caught.value.code is ErrorCode.STORAGE_FULL
        assert caught.value.retryable
        with pytest.raises(ServiceUnavailableError):
            await w.engine.healthy()
        await a.close()
        await b.detach(2)
        assert [session.id for session in (await w.advance(4)).ended] == [b.id]
        server.execute("CONFIG", "SET", "maxmemory", "0")
        await w.open("carol")
