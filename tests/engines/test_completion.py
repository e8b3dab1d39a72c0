"""Results to come: awaited, or handed to a callback."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.engines.completion import READY, Completion, completed
from greenroom.errors import ConflictError


async def test_it_is_awaited_before_and_after_it_is_complete() -> None:
    call: Completion[int] = Completion()
    waiting = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    assert not waiting.done()
    call.complete(7)
    assert (await waiting, await call, await completed(8)) == (7, 7, 8)


async def test_what_failed_raises_where_it_is_awaited() -> None:
    call: Completion[int] = Completion()
    waiting = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    call.complete(ConflictError())
    with pytest.raises(ConflictError):
        await waiting
    with pytest.raises(ConflictError):
        await completed(ConflictError())


async def test_a_callback_gets_the_result_or_the_error_and_never_at_once() -> None:
    seen: list[object] = []
    late: Completion[int] = Completion()
    late.then(seen.append)
    error = ConflictError()
    completed(error).then(seen.append)
    assert seen == []
    late.complete(1)
    await asyncio.sleep(0)
    assert seen == [1, error]


async def test_who_measures_comes_after_who_waits() -> None:
    seen: list[str] = []
    call: Completion[int] = Completion()
    call.afterwards(lambda _: seen.append("measured"))
    call.then(lambda _: seen.append("answered"))
    call.complete(1)
    assert seen == ["answered", "measured"]
    completed(1).afterwards(lambda _: seen.append("measured"))
    assert seen == ["answered", "measured", "measured"]


async def test_whoever_gave_up_is_not_waited_for() -> None:
    call: Completion[int] = Completion()
    waiting = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    call.complete(1)
    assert waiting.cancelled()
    assert await call == 1


async def test_ready_is_not_waited_for() -> None:
    with pytest.raises(StopIteration):
        next(READY.__await__())
