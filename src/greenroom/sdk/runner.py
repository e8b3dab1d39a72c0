"""The shell around the client's machine: pumps its effects and owns its timer, connections and tasks."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from greenroom.codes import CloseCode
from greenroom.core.client import ClientSession
from greenroom.core.client.effects import (
    AskToken,
    ClientSettings,
    ClientTools,
    Dial,
    DropAsk,
    Effect,
    Hangup,
    Reject,
    Resolve,
    Send,
    StateChanged,
    Tell,
)
from greenroom.errors import GreenroomError
from greenroom.messages import SdkVersion
from greenroom.sdk.delegate import Callbacks
from greenroom.sdk.ground import Ground, Link, Way
from greenroom.tokens.reader import peek

log = logging.getLogger("greenroom.sdk")

Refresh = Callable[[bool], str | Awaitable[str]]
"""``refresh(is_expired)`` returns a new token. A plain function runs in a thread: it may block."""

DRAIN_LIMIT = 2.0
"""Seconds that `close` waits for the app's callbacks."""


class Runner:
    """One machine in one loop: the loop in which its coroutines are called first, until it is idle again."""

    def __init__(
        self, transport: Way, sdk: SdkVersion, settings: ClientSettings | None = None, ground: Ground | None = None
    ) -> None:
        ground = Ground() if ground is None else ground
        tools = ClientTools(
            random=ground.random, random_bytes=ground.random_bytes, wall=ground.wall, peek=peek, sdk=sdk
        )
        self.now = ground.monotonic
        """The machine's clock."""
        self.machine = ClientSession(tools, settings)
        self.transport = transport
        self.callbacks = Callbacks()
        self.refresh: Refresh | None = None
        self.on_effect: Callable[[StateChanged | Tell], None] = lambda _: None
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._connections: dict[int, Link] = {}
        self._asks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    async def call(self, put: Callable[[int], None], cancel: Callable[[int], None] | None = None) -> Any:
        """Put a question to the machine and wait for its answer; cancel: what to tell it if the caller is cancelled."""
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters[number] = future
        try:
            put(number)
            self.pump()
            return await future
        except asyncio.CancelledError:
            if cancel is not None:
                cancel(number)
                self.pump()
            raise
        finally:
            self._waiters.pop(number, None)

    def pump(self) -> None:
        """Carry out what the machine wants, until it wants nothing more, then wait for its deadline."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while effects := self.machine.effects():
                for effect in effects:
                    self._apply(effect)
        finally:
            self._pumping = False
        self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.machine.deadline()
        if due is not None:
            # At most a minute: after a sleep of the machine the wall clock says what the loop's does not.
            wait = min(max(0.0, due - self.now()), 60.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.machine.tick(self.now())
        self.pump()

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Send(attempt, data):
                if attempt in self._connections:
                    self._connections[attempt].send(data)
            case Dial(attempt):
                self._start(self._tasks, attempt, self._connect(attempt), f"greenroom connection {attempt}")
            case Hangup(attempt, code):
                self._hang_up(attempt, code)
            case AskToken(number, is_expired):
                self._start(self._asks, number, self._ask(number, is_expired), "greenroom token refresh")
            case DropAsk(number):
                task = self._asks.pop(number, None)
                if task is not None:
                    task.cancel()
            case Resolve(waiter, result):
                future = self._waiters.pop(waiter, None)
                if future is not None and not future.done():
                    future.set_result(result)
            case Reject(waiter, error):
                future = self._waiters.pop(waiter, None)
                if future is not None and not future.done():
                    future.set_exception(error)
            case StateChanged() | Tell():
                self.on_effect(effect)

    @staticmethod
    def _start(owner: dict[int, asyncio.Task[None]], number: int, work: Coroutine[Any, Any, None], name: str) -> None:
        """Every task has an owner, and leaves it also where it was cancelled before it began."""
        task = owner[number] = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(lambda _: owner.pop(number, None))

    def _hang_up(self, attempt: int, code: int) -> None:
        connection = self._connections.get(attempt)
        if connection is not None:
            connection.hang_up(code)
        elif attempt in self._tasks:
            self._tasks[attempt].cancel()

    async def _connect(self, attempt: int) -> None:
        try:
            try:
                connection = await self.transport.connect()
            except GreenroomError as error:
                log.debug("attempt %d: %s", attempt, error.message)
                after = getattr(error, "retry_after", None)
                self.machine.dial_failed(self.now(), attempt, error, after)
                return
            await self._serve(attempt, connection)
        finally:
            if self.machine.is_idle() and self._tasks.keys() <= {attempt} and not self._asks:
                await self.transport.aclose()
            self.pump()

    async def _serve(self, attempt: int, connection: Link) -> None:
        self._connections[attempt] = connection
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            self.machine.dialed(self.now(), attempt)
            self.pump()
            async for message in connection.messages():
                self.machine.message(self.now(), attempt, message)
                self.pump()
            code, reason = connection.end(), connection.reason()
        finally:
            del self._connections[attempt]
            await connection.aclose()
            self.machine.lost(self.now(), attempt, code, reason)

    async def _ask(self, number: int, is_expired: bool) -> None:
        answer: object
        try:
            answer = await self._call_refresh(is_expired)
        except Exception as error:
            answer = error
        self.machine.token(self.now(), number, answer)
        self.pump()

    async def _call_refresh(self, is_expired: bool) -> object:
        refresh = self.refresh
        if refresh is None:
            return None
        if inspect.iscoroutinefunction(refresh) or inspect.iscoroutinefunction(type(refresh).__call__):
            answer: object = refresh(is_expired)
        else:
            answer = await asyncio.to_thread(refresh, is_expired)
        return await answer if inspect.isawaitable(answer) else answer

    async def settle(self) -> None:
        """After `close`: wait until nothing of it is left, and the app has heard all."""
        mine = asyncio.current_task()
        if self.machine.is_idle():
            others = {task for task in (*self._tasks.values(), *self._asks.values()) if task is not mine}
            if others:
                await asyncio.wait(others, timeout=DRAIN_LIMIT * 2)
        if self.machine.is_idle() and not self._tasks:
            await self.transport.aclose()
        await self.callbacks.drained(DRAIN_LIMIT)

    async def aclose(self) -> None:
        """Close, and end at once what would go on in the background."""
        self.machine.abandon(self.now())
        self.pump()
        await self.settle()
        for task in [*self._tasks.values(), *self._asks.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._asks.values(), return_exceptions=True)
        await self.transport.aclose()
