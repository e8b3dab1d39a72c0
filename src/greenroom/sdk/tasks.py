"""Starting the SDK's own tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def start_task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task that begins in the next round of the loop.

    Not `create_task`: under `asyncio.eager_task_factory` that would run the task's first part inside the call that
    starts it, in the middle of the machine's effects and before the caller holds the task.
    """
    return asyncio.Task(work, loop=asyncio.get_running_loop(), name=name)
