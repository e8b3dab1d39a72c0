"""A task of the SDK begins in the next round of the loop, whatever makes the loop's tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from greenroom.sdk.tasks import start_task


async def test_a_task_begins_after_whoever_started_it() -> None:
    begun: list[str] = []

    async def work() -> None:
        begun.append("begun")

    def eager(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """Runs the first part in the call, as `asyncio.eager_task_factory` does (Python 3.12)."""
        coroutine.send(None)
        raise AssertionError("the loop's factory was used")

    asyncio.get_running_loop().set_task_factory(eager)
    try:
        task = start_task(work(), "greenroom test")
    finally:
        asyncio.get_running_loop().set_task_factory(None)
    assert (begun, task.get_name()) == ([], "greenroom test")
    await task
    assert begun == ["begun"]
