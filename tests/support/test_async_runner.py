"""The runner of async tests must fail what should fail, else all the others prove less than they seem to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.async_runner import WatchedSelector, run_async_test


async def test_an_async_test_runs_in_a_loop_of_its_own(tmp_path: object) -> None:
    await asyncio.sleep(0)
    assert asyncio.get_running_loop().is_running()
    assert tmp_path is not None


@settings(max_examples=5)
@given(number=st.integers())
async def test_hypothesis_and_async_go_together(number: int) -> None:
    await asyncio.sleep(0)
    assert isinstance(number, int)


@pytest.mark.uvloop
async def test_the_mark_uvloop_gives_a_uvloop() -> None:
    import uvloop

    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


def test_a_failure_of_the_test_is_raised() -> None:
    async def failing() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_async_test(failing, {})


def test_a_task_left_running_fails() -> None:
    kept: list[asyncio.Task[Any]] = []

    async def leaking() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(60), name="the leaked one"))

    with pytest.raises(AssertionError, match="still running.*\n.*the leaked one"):
        run_async_test(leaking, {})


def test_a_task_just_cancelled_may_settle() -> None:
    async def tidy() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()

    run_async_test(tidy, {})


def test_an_error_in_a_callback_fails() -> None:
    async def careless() -> None:
        asyncio.get_running_loop().call_soon(lambda: [][1])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="reached only the event loop.*\n.*IndexError"):
        run_async_test(careless, {})


def test_a_blocked_loop_fails() -> None:
    async def blocking() -> None:
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the very thing that must be found out
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="held up for"):
        run_async_test(blocking, {}, blocked_after=0.1)


def test_waiting_is_not_blocking() -> None:
    selector = WatchedSelector()
    with selector:
        for _ in range(2):
            selector.select(0.5)
        assert selector.longest_pass < 0.5


def test_tasks_are_eager_where_that_is_asked_for() -> None:
    async def test() -> None:
        seen.append(asyncio.get_running_loop().get_task_factory())

    seen: list[object] = []
    run_async_test(test, {})
    run_async_test(test, {}, eager=True)
    assert seen == [None, getattr(asyncio, "eager_task_factory", None)]
