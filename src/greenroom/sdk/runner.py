"""The shell around the machine: carries out its effects, and owns its timer, connections and tasks."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
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
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import SdkVersion
from greenroom.sdk.connections import ClientWebSocket, Transport
from greenroom.sdk.environment import Environment
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.resume_file import ResumeFile
from greenroom.sdk.tasks import start_task
from greenroom.tokens.reader import peek

log = logging.getLogger("greenroom.sdk")

Refresh = Callable[[bool], str | Awaitable[str]]
"""``refresh(is_expired)`` returns a new token. A plain function runs in a thread: it may block."""

DRAIN_TIMEOUT = 2.0
"""Seconds that `close` waits for the app's callbacks."""


class Runner:
    """One machine, and the event loop in which its session was opened.

    resume_file: where the session is kept for the next process; None for nowhere.
    """

    def __init__(
        self,
        transport: Transport,
        notifier: Notifier,
        environment: Environment,
        sdk: SdkVersion,
        settings: ClientSettings | None,
        resume_file: ResumeFile | None = None,
    ) -> None:
        tools = ClientTools(
            random=environment.random, random_bytes=environment.random_bytes, wall=environment.wall, peek=peek, sdk=sdk
        )
        self.now = environment.monotonic
        """The machine's clock."""
        self.transport = transport
        self._machine = ClientSession(tools, settings)
        self._notifier = notifier
        self._resume_file = resume_file
        self._refresh: Refresh | None = None
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._connections: dict[int, ClientWebSocket] = {}
        self._token_requests: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._is_failing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        saved = None if resume_file is None else resume_file.load()
        if saved is not None:
            self._machine.restore(saved)

    # -- process and event loop ----------------------------------------------------------------------------------

    @property
    def machine(self) -> ClientSession:
        """The machine, which knows when the event loop of its session has ended."""
        if self._loop is not None and self._loop.is_closed():
            self._leave_loop()
        return self._machine

    def _enter_loop(self) -> None:
        """Every call begins here: the session belongs to one process and one event loop."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._check_fork()
        if self._loop is not loop:
            if self._loop is not None:
                self._change_loop()
            self._loop = loop

    def _check_fork(self) -> None:
        if not self._machine.is_idle():
            raise IllegalArgumentError(
                f"This Greenroom object has a session of process {self._pid}, from which this one was forked.",
                hint="Make a new Greenroom object in each process, after the fork.",
            )
        self._pid = os.getpid()
        self._loop = None  # not ours: it lives on in the other process

    def _change_loop(self) -> None:
        assert self._loop is not None
        if self._loop.is_running():
            if not self._machine.is_idle():
                raise IllegalArgumentError(
                    "This Greenroom object has a session in another event loop.",
                    hint="Make one Greenroom object for each event loop, or use greenroom.blocking.",
                )
            return
        self._leave_loop()

    def _leave_loop(self) -> None:
        """The loop has ended, and with it all connections. The next `open` resumes the session where it can."""
        self._loop = self._timer = None
        self._waiters.clear()
        self._tasks.clear()
        self._connections.clear()
        self._token_requests.clear()
        self._machine.loop_ended(self.now(), "The event loop in which it was opened has ended.")
        self._notifier.callbacks.loop_ended()

    # -- inputs --------------------------------------------------------------------------------------------------

    def set_token(self, token: str | None, refresh: Refresh | None) -> None:
        """token: None where the first is requested from `refresh`. Raises a GreenroomError."""
        error = self.machine.set_token(self.now(), token, refreshable=refresh is not None)
        if error is not None:
            raise error
        self._refresh = refresh
        if self._machine.state is not SessionState.DISCONNECTED:
            self.pump()

    async def call(self, put: Callable[[int], None], cancel: Callable[[int], None] | None = None) -> Any:
        """Give the machine a request and wait for its result. cancel: the input for a caller that was cancelled."""
        self._enter_loop()
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
            while effects := self._machine.effects():
                if self._resume_file is not None:
                    self._resume_file.save(self._machine.snapshot())  # before a new secret leaves
                for effect in effects:
                    self._apply(effect)
        finally:
            self._pumping = False
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._machine.deadline()
        if due is not None:
            # At most a minute: after a sleep of the device only the wall clock has moved on.
            wait = min(max(0.0, due - self.now()), 60.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._machine.tick(self.now())
        self.pump()

    # -- effects -------------------------------------------------------------------------------------------------

    def _apply(self, effect: Effect) -> None:
        match effect:
            case SendText(attempt, data):
                connection = self._connections.get(attempt)
                if connection is not None:
                    connection.send(data)
            case Dial(attempt):
                self._start(self._tasks, attempt, self._connect(attempt), f"greenroom connection {attempt}")
            case Disconnect(attempt, code):
                self._disconnect(attempt, code)
            case RequestToken(number, is_expired):
                work = self._request_token(number, is_expired)
                self._start(self._token_requests, number, work, "greenroom token refresh")
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
                self._notifier.report(effect, self._machine.session_id)

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
                self._log_failure(error)
                after = getattr(error, "retry_after", None)
                self._machine.dial_failed(self.now(), attempt, error, after)
                return
            self._is_failing = False
            await self._serve(attempt, connection)
        finally:
            self.pump()

    def _log_failure(self, error: GreenroomError) -> None:
        """The first failure in a row is a warning: whoever waits for a retry wants to know why."""
        first, self._is_failing = not self._is_failing, True
        if error.retryable:
            log.log(logging.WARNING if first else logging.DEBUG, "%s It is tried again.", error)

    async def _serve(self, attempt: int, connection: ClientWebSocket) -> None:
        self._connections[attempt] = connection
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            self._machine.dialed(self.now(), attempt)
            self.pump()
            async for message in connection.messages():
                self._machine.message(self.now(), attempt, message)
                self.pump()
            code, reason = connection.close_code(), connection.close_reason()
        finally:
            self._connections.pop(attempt, None)
            await connection.aclose()
            self._machine.lost(self.now(), attempt, code, reason)

    async def _request_token(self, number: int, is_expired: bool) -> None:
        answer: object
        try:
            answer = await self._call_refresh(is_expired)
        except Exception as error:
            answer = error
        self._machine.token(self.now(), number, answer)
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

    # -- the end -------------------------------------------------------------------------------------------------

    async def finish_close(self) -> None:
        """After `close`: wait until nothing of it is left, and all callbacks have run."""
        mine = asyncio.current_task()
        if self._machine.is_idle():
            others = {task for task in (*self._tasks.values(), *self._token_requests.values()) if task is not mine}
            if others:
                await asyncio.wait(others, timeout=DRAIN_TIMEOUT * 2)
        await self._notifier.callbacks.drained(DRAIN_TIMEOUT)

    async def aclose(self) -> None:
        """Close, and end at once what would go on in the background."""
        self._enter_loop()
        self._machine.abandon(self.now())
        self.pump()
        await self.finish_close()
        for task in [*self._tasks.values(), *self._token_requests.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._token_requests.values(), return_exceptions=True)
        if self._resume_file is not None:
            self._resume_file.release()
