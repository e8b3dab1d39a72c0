"""How long a test waits for what a working program does by itself.

One number for all: a limit of its own, close to what a quiet machine needs, makes a test fail on a busy one.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds after which a test gives up. Only a broken program needs them: a busy machine is several times slower than a
quiet one, and may stand still for seconds."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Let the loop run until ``condition()``, or what that makes when it is awaited, is true.

    Raises AssertionError after so many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        assert time.monotonic() < end, f"did not come true in {seconds:.0f} s"
        await asyncio.sleep(0.001)


__all__ = ["PATIENCE", "until"]
