"""The shell around the machine: carries out its effects, and owns its timer, connections and tasks."""

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
    CancelTokenRequest,
    ClientSettings,
    ClientTools,
    Dial,
    Disconnect,
    Effect,
    Notify,
    Reject,
    RequestToken,
    Resolve,
    SendText,
    StateChanged,
)
from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError
from greenroom.messages import SdkVersion
from greenroom.sdk.environment import ClientWebSocket, Environment, Transport
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.tasks import start_task
from greenroom.tokens.reader import peek

log = logging.getLogger("greenroom.sdk")

Refresh = Callable[[bool], str | Awaitable[str]]
"""``refresh(is_expired)`` returns a new token. A plain function runs in a thread: it may block."""

DRAIN_TIMEOUT = 2.0
"""Seconds that `close` waits for the app's callbacks."""


class Runner:
    """One machine, and the event loop in which its session was opened."""

    def __init__(
        self,
        transport: Transport,
        notifier: Notifier,
        environment: Environment,
        sdk: SdkVersion,
        settings: ClientSettings | None,
    ) -> None:
        tools = ClientTools(
            random=environment.random,
            random_bytes=environment.random_bytes,
            wall=environment.wall,
            peek=peek,
            sdk=sdk,
        )
        self.now = environment.monotonic
        """The machine's clock."""
        self.machine = ClientSession(tools, settings)
        self.transport = transport
        self._notifier = notifier
        self._refresh: Refresh | None = None
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._connections: dict[int, ClientWebSocket] = {}
        self._token_requests: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    def set_token(self, token: str | None, refresh: Refresh | None) -> None:
        """token: None where the first is requested from `refresh`. Raises a GreenroomError."""
        error = self.machine.set_token(self.now(), token, refreshable=refresh is not None)
        if error is not None:
            raise error
        self._refresh = refresh
        if self.machine.state is not SessionState.DISCONNECTED:
            self.pump()

    async def call(self, put: Callable[[int], None], cancel: Callable[[int], None] | None = None) -> Any:
        """Give the machine a request and wait for its result. cancel: the input for a caller that was cancelled."""
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
        """Carry out all effects, then set the timer to the machine's deadline."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while effects := self.machine.effects():
                for effect in effects:
                    self._apply(effect)
        finally:
            self._pumping = False
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.machine.deadline()
        if due is not None:
            # At most a minute: after a sleep of the device only the wall clock has moved on.
            wait = min(max(0.0, due - self.now()), 60.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.machine.tick(self.now())
        self.pump()

    def _apply(self, effect: Effect) -> None:
        match effect:
            case SendText(attempt, data):
                if attempt in self._connections:
                    self._connections[attempt].send(data)
            case Dial(attempt):
                self._start(self._tasks, attempt, self._connect(attempt), f"greenroom connection {attempt}")
            case Disconnect(attempt, code):
                self._disconnect(attempt, code)
            case RequestToken(number, is_expired):
                self._start(
                    self._token_requests, number, self._request_token(number, is_expired), "greenroom token refresh"
                )
            case CancelTokenRequest(number):
                task = self._token_requests.pop(number, None)
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
            case StateChanged() | Notify():
                self._notifier.report(effect, self.machine.session_id)

    @staticmethod
    def _start(owner: dict[int, asyncio.Task[None]], number: int, work: Coroutine[Any, Any, None], name: str) -> None:
        """owner: the table that holds the task until it is done, also where it was cancelled before it began."""
        task = owner[number] = start_task(work, name)
        task.add_done_callback(lambda _: owner.pop(number, None))

    def _disconnect(self, attempt: int, code: int) -> None:
        connection = self._connections.get(attempt)
        if connection is not None:
            connection.disconnect(code)
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
            if self.machine.is_idle() and self._tasks.keys() <= {attempt} and not self._token_requests:
                await self.transport.aclose()
            self.pump()

    async def _serve(self, attempt: int, connection: ClientWebSocket) -> None:
        self._connections[attempt] = connection
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            self.machine.dialed(self.now(), attempt)
            self.pump()
            async for message in connection.messages():
                self.machine.message(self.now(), attempt, message)
                self.pump()
            code, reason = connection.close_code(), connection.close_reason()
        finally:
            del self._connections[attempt]
            await connection.aclose()
            self.machine.lost(self.now(), attempt, code, reason)

    async def _request_token(self, number: int, is_expired: bool) -> None:
        answer: object
        try:
            answer = await self._call_refresh(is_expired)
        except Exception as error:
            answer = error
        self.machine.token(self.now(), number, answer)
        self.pump()

    async def _call_refresh(self, is_expired: bool) -> object:
        refresh = self._refresh
        if refresh is None:
            return None
        if inspect.iscoroutinefunction(refresh) or inspect.iscoroutinefunction(type(refresh).__call__):
            answer: object = refresh(is_expired)
        else:
            answer = await asyncio.to_thread(refresh, is_expired)
        return await answer if inspect.isawaitable(answer) else answer

    async def finish_close(self) -> None:
        """After `close`: wait until nothing of it is left, and all callbacks have run."""
        mine = asyncio.current_task()
        if self.machine.is_idle():
            others = {task for task in (*self._tasks.values(), *self._token_requests.values()) if task is not mine}
            if others:
                await asyncio.wait(others, timeout=DRAIN_TIMEOUT * 2)
        if self.machine.is_idle() and not self._tasks:
            await self.transport.aclose()
        await self._notifier.callbacks.drained(DRAIN_TIMEOUT)

    async def aclose(self) -> None:
        """Close, and end at once what would go on in the background."""
        self.machine.abandon(self.now())
        self.pump()
        await self.finish_close()
        for task in [*self._tasks.values(), *self._token_requests.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._token_requests.values(), return_exceptions=True)
        await self.transport.aclose()
