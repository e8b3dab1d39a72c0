"""Runs one async test in an event loop of its own, and fails it for what a loop hides.

A test fails if, when it returns, a task it started is still running, if an exception ended in the loop's exception
handler instead of in the test, or if the loop was held up: between two looks at its sockets a loop runs callbacks,
and while they run nobody else is served.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

BLOCKED_AFTER = 5.0
"""Seconds the loop may go without looking at its sockets: what blocks until a timeout takes longer, and good code on a
machine whose processors are lent to others takes less. What the code waited for a processor is not counted, where the
system says."""

_PASSES_TO_SETTLE = 10
"""Rounds of the loop given to tasks that were cancelled, and need only to notice it."""

_EAGER_TASKS: Any = getattr(asyncio, "eager_task_factory", None)  # Python 3.12 and later

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_LOOK_EVERY = 0.1
"""Seconds between two readings of it: one at each pass of the loop took a third of what some tests take."""


def _waited_for_cpu() -> float:
    """Seconds this thread was ready to run while others ran; 0.0 where the system does not say."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class WatchedSelector(selectors.DefaultSelector):
    """Notes how long the loop was away between two calls of `select`.

    This is what "blocked" means, seen with the public interface of the loop alone, and costs two clock readings a pass.
    Of what was waited for a processor up to `_LOOK_EVERY` seconds too many are taken off.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest_pass = 0.0
        self._resumed_at: float | None = None
        self._waited_before = 0.0
        self._looked_at = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._resumed_at is not None:
            self.note_pass(time.monotonic() - self._resumed_at)
        events = super().select(timeout)
        self._resumed_at = time.monotonic()
        if self._resumed_at - self._looked_at > _LOOK_EVERY:
            self._looked_at = self._resumed_at
            self._waited_before = _waited_for_cpu()
        return events

    def note_pass(self, took: float) -> None:
        """Keep `took` seconds if they are the longest so far, less what was spent waiting for a processor."""
        if took > self.longest_pass:
            waited = _waited_for_cpu() - self._waited_before
            self.longest_pass = max(self.longest_pass, took - waited)


class _Complaints:
    """What the loop's exception handler was called with."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        self.texts.append(f"{context['message']}: {error!r}" if error is not None else str(context["message"]))


async def _leaked_tasks() -> list[str]:
    """The tasks beside this one that are still running, after those about to end were let to."""
    others: set[asyncio.Task[Any]] = set()
    for _ in range(_PASSES_TO_SETTLE):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            break
        await asyncio.sleep(0)
    return sorted(repr(task) for task in others)


async def _run_and_look_around(test: Callable[[], Coroutine[Any, Any, None]], complaints: _Complaints) -> None:
    asyncio.get_running_loop().set_exception_handler(complaints)
    await test()
    leaked = await _leaked_tasks()
    if leaked:
        raise AssertionError("tasks were still running when the test returned:\n  " + "\n  ".join(leaked))


def _new_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def run_async_test(
    function: Callable[..., Coroutine[Any, Any, None]],
    arguments: Mapping[str, Any],
    *,
    uvloop: bool = False,
    eager: bool = False,
    blocked_after: float = BLOCKED_AFTER,
) -> None:
    """Run `function(**arguments)` to its end in a fresh loop.

    With `uvloop` the loop is uvloop's; being held up is then not seen, because uvloop has no selector to watch. With
    `eager`, tasks of asyncio's own loop begin to run where they are created, as apps of Python 3.12 and later may
    choose.

    Raises what the test raises, else AssertionError for leaked tasks, for errors that reached only the loop, and for a
    loop that was held up for more than `blocked_after` seconds.
    """
    selector = WatchedSelector()
    complaints = _Complaints()

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = _new_uvloop() if uvloop else asyncio.SelectorEventLoop(selector)
        if eager and not uvloop:  # which does not fit the factories of Python 3.12 and of the first 3.13
            loop.set_task_factory(_EAGER_TASKS)
        return loop

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_run_and_look_around(lambda: function(**arguments), complaints))
    finally:
        if uvloop:
            selector.close()
    if complaints.texts:
        raise AssertionError("errors that reached only the event loop:\n  " + "\n  ".join(complaints.texts))
    if selector.longest_pass > blocked_after:
        raise AssertionError(
            f"the event loop was held up for {selector.longest_pass:.2f} s (limit {blocked_after} s): "
            "something blocks in a coroutine or callback; asyncio.to_thread is one way out"
        )


def is_async_test(function: object) -> bool:
    """Whether `function` is an `async def`, to be run by `run_async_test`."""
    return inspect.iscoroutinefunction(function)


__all__ = ["WatchedSelector", "is_async_test", "run_async_test"]
