"""Many calls at once, given up; calls with a callback."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.redis_store import RedisStore
from greenroom.engines.redis.store import FunctionCall
from greenroom.errors import ServiceUnavailableError
from tests.support.patience import PATIENCE
from tests.support.redis_server import RedisServer, single


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


async def test_calls_that_are_given_up_together_leave_no_failure_that_nobody_looks_at(server: RedisServer) -> None:
    """The first is given up with who waits for it; the others fail later, when the connection ends."""
    store = RedisStore(parse_address(server.url), timeout=PATIENCE)
    await store.start()
    await store.facts()  # connected
    server.pause()
    try:
        asking = asyncio.create_task(store.call_many([FunctionCall("beat", f"p{n}", b"{}") for n in range(5)]))
        await asyncio.sleep(0.05)  # they are sent
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await store.stop()
    finally:
        server.resume()
    gc.collect()  # the runner of tests finds a failure that was never looked at


async def test_a_call_with_a_callback_is_repeated_with_the_library_where_that_is_missing(server: RedisServer) -> None:
    server.execute("FUNCTION", "FLUSH")
    store = RedisStore(parse_address(server.url), timeout=PATIENCE)
    await store.start()
    answers: list[Any] = []
    all_there = asyncio.Event()

    def answered(reply: Any) -> None:
        answers.append(reply)
        if len(answers) == 3:
            all_there.set()

    for _ in range(3):
        store.begin(FunctionCall("directory_version", "directory", b"{}"), answered)
    async with asyncio.timeout(PATIENCE):
        await all_there.wait()
    assert [reply[0] for reply in answers] == [b"ok"] * 3
    await store.stop()


async def test_a_call_with_a_callback_fails_when_the_store_stops(server: RedisServer) -> None:
    store = RedisStore(parse_address(server.url), timeout=PATIENCE)
    await store.start()
    await store.facts()  # connected
    answers: list[Any] = []
    server.pause()
    try:
        store.begin(FunctionCall("directory_version", "directory", b"{}"), answers.append)
        await asyncio.sleep(0.05)  # it is sent
        assert not answers
        await store.stop()
    finally:
        server.resume()
    (failure,) = answers
    assert isinstance(failure, ServiceUnavailableError)


async def test_a_callback_that_fails_takes_nothing_from_others(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(parse_address(server.url), timeout=PATIENCE)
    await store.start()
    call = FunctionCall("directory_version", "directory", b"{}")
    await store.call(call)  # the library is there

    def fail(reply: Any) -> None:
        raise RuntimeError("broken")

    store.begin(call, fail)
    assert (await store.call(call))[0] == b"ok"
    assert "what waited for a call failed" in caplog.text
    await store.stop()
