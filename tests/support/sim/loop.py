"""Event loops in virtual time: one for each simulated process, all driven by one world.

Each simulated process (a service's node, an app with an SDK) has an event loop of its own, so that it can be paused,
crashed or given a clock that jumps, while the code in it is the code that ships: tasks, timers and futures are
asyncio's own. The world looks for the earliest thing due in any loop, sets the time to it and runs that loop once.
Nothing waits, nothing is random but by the seed, and the order of what is due at the same instant is fixed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from asyncio import events
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, TypeVar

Result = TypeVar("Result")

START_MONOTONIC = 1_000.0
START_WALL = 1_700_000_000.0
"""Where a world's clocks begin: Unix seconds."""

MANY = 100
"""Timers of a loop above which asyncio may throw out those that were cancelled."""
CLOSING_TURNS = 500
"""Turns in which a cancelled task may still clean up when the world ends."""


class StuckError(AssertionError):
    """The simulated world has nothing left to do, or does not come to an end."""


class _NoSelector:
    """A selector that waits for nothing: the world knows what is due."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing to close."""


class SimLoop(asyncio.BaseEventLoop):
    """The event loop of one simulated process."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        super().__init__()
        self.name = name
        self._timeline = timeline
        self._selector = _NoSelector()
        self._clock_resolution = 1e-9
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        """Virtual seconds."""
        return self._timeline.now

    def due(self) -> float | None:
        """When this loop next has something to do, or None."""
        if self._ready:  # type: ignore[attr-defined]
            return self._timeline.now
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        return max(scheduled[0]._when, self._timeline.now) if scheduled else None

    def turn(self) -> None:
        """Run what is due now."""
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        try:
            if len(self._scheduled) > MANY:  # type: ignore[attr-defined]
                self._run_once()  # type: ignore[attr-defined]  # which also throws out what was cancelled
            else:
                self._run_due()
        finally:
            events._set_running_loop(None)
            self._thread_id = None  # type: ignore[assignment]

    def _run_due(self) -> None:
        """`_run_once` without the selector, which is half of the time of a turn that has one thing to do."""
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        end = self._timeline.now + self._clock_resolution
        while scheduled and scheduled[0]._when < end:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector that would have to be woken."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Threads would bring real time back: the call is made at the next turn."""
        future: asyncio.Future[Any] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(call)
        return future


class Timeline:
    """The virtual time of one world, its processes' loops, and what happens between them."""

    def __init__(self) -> None:
        self.now = START_MONOTONIC
        self.loops: list[SimLoop] = []
        self._paused: set[SimLoop] = set()
        self._dead: list[tuple[SimLoop, set[asyncio.Task[Any]]]] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def make_loop(self, name: str) -> SimLoop:
        """A loop for a new process."""
        loop = SimLoop(self, name)
        self.loops.append(loop)
        return loop

    def pause(self, loop: SimLoop) -> None:
        """SIGSTOP: nothing of it runs; its clocks continue."""
        self._paused.add(loop)

    def wake(self, loop: SimLoop) -> None:
        """SIGCONT."""
        self._paused.discard(loop)

    def forget(self, loop: SimLoop) -> None:
        """SIGKILL: what it would have done is never done.

        Its tasks are kept until `close`: a coroutine that Python throws away runs its ``finally`` clauses, which a
        killed process does not.
        """
        self.loops.remove(loop)
        self._paused.discard(loop)
        self._dead.append((loop, asyncio.all_tasks(loop)))
        loop._ready.clear()  # type: ignore[attr-defined]
        loop._scheduled.clear()  # type: ignore[attr-defined]

    def close(self) -> None:
        """The end of the world: every task is cancelled, every loop closed. Nothing can be seen of it any more."""
        for loop in [*self.loops, *(loop for loop, _ in self._dead)]:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            for _ in range(CLOSING_TURNS):
                if not asyncio.all_tasks(loop):
                    break
                # A task that cleans up may wait for something with a limit: the limit passes.
                self.now = max(self.now, loop.due() or self.now)
                loop.turn()
            loop.close()
        self.loops.clear()
        self._dead.clear()

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """``action`` happens between the processes, ``delay`` seconds from now: the network, or the script."""
        heapq.heappush(self._later, (self.now + max(0.0, delay), next(self._numbers), action))

    def _next(self) -> tuple[float, SimLoop | None] | None:
        now, earliest, chosen = self.now, inf, None
        for loop in self.loops:
            if loop in self._paused:
                continue
            due = loop.due()
            if due is not None and due < earliest:
                if due <= now:
                    return due, loop  # nothing is due before now
                earliest, chosen = due, loop
        if self._later and self._later[0][0] < earliest:
            return self._later[0][0], None
        return None if chosen is None else (earliest, chosen)

    def step(self, until: float) -> bool:
        """Do the one next thing, if it is due by ``until``; else the time becomes ``until``. Whether there was one."""
        following = self._next()
        if following is None or following[0] > until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, following[0])
        if following[1] is None:
            heapq.heappop(self._later)[2]()
        else:
            following[1].turn()
        return True

    def run(self, seconds: float, limit: int = 5_000_000) -> None:
        """Let ``seconds`` pass. Raises StuckError after ``limit`` steps."""
        until = self.now + seconds
        for _ in range(limit):
            if not self.step(until):
                return
        raise StuckError(f"more than {limit} steps in {seconds} s of virtual time")

    def call(self, loop: SimLoop, work: Any, within: float = 600.0) -> Any:
        """Run a coroutine in a process and let the world go on until it is done. Raises what it raises."""
        task = start(loop, work)
        until = self.now + within
        while not task.done():
            if not self.step(until) and self.now >= until:
                raise StuckError(f"{work!r} was not done within {within} s of virtual time")
        return task.result()


def in_virtual_time(work: Coroutine[Any, Any, Result], within: float = 600.0) -> Result:
    """What the coroutine returns, in a loop of its own."""
    timeline = Timeline()
    try:
        result: Result = timeline.call(timeline.make_loop("test"), work, within)
        return result
    finally:
        timeline.close()


def start(loop: SimLoop, work: Any) -> asyncio.Task[Any]:
    """A task in a process, from outside of it."""
    events._set_running_loop(loop)
    try:
        return loop.create_task(work)
    finally:
        events._set_running_loop(None)


class ProcessClock:
    """The clocks of one process, as engines and services take them. offset: how far its wall clock is off, seconds."""

    def __init__(self, timeline: Timeline, offset: float = 0.0) -> None:
        self._timeline = timeline
        self.offset = offset

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        return round(self.wall() * 1000)

    def wall(self) -> float:
        """Wall-clock time, Unix seconds."""
        return START_WALL + (self._timeline.now - START_MONOTONIC) + self.offset

    def monotonic(self) -> float:
        """Seconds, never back."""
        return self._timeline.now
