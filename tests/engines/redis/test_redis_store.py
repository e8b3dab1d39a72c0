"""Many calls at once, given up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.redis_store import RedisStore
from greenroom.engines.redis.store import Call
from tests.support.redis_server import RedisServer, single


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


async def test_calls_that_are_given_up_together_leave_no_failure_that_nobody_looks_at(server: RedisServer) -> None:
    """The first is given up with who waits for it; the others fail later, when the connection ends."""
    store = RedisStore(parse_address(server.url), timeout=20)
    await store.start()
    await store.facts()  # connected
    server.pause()
    try:
        asking = asyncio.create_task(store.call_many([Call("beat", f"p{n}", b"{}") for n in range(5)]))
        await asyncio.sleep(0.05)  # they are sent
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await store.stop()
    finally:
        server.resume()
    gc.collect()  # the runner of tests hears of a failure that was never looked at
