"""One connection to one master, shared by all callers of a process.

Calls of one turn of the event loop go out in one write; replies come back in order. No caller ever touches the
connection: callers hold futures, and one task reads. So cancelling a call abandons its future, and its reply is read
and dropped, and can never be handed to another.

redis-py makes the connection (address, TLS, AUTH, SELECT, CLIENT SETNAME) and parses what comes (hiredis).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from greenroom.engines.redis.errors import NOT_HERE, from_reply, outcome_open, unreachable
from greenroom.engines.redis.reply_reader import ReplyReader

log = logging.getLogger("greenroom.engine")

MAX_WAITING = 50_000
"""Calls sent or waiting on one connection; beyond it a call fails at once."""

Connect = Callable[[], Awaitable[AbstractConnection]]
Command = tuple[str | bytes | int, ...]
_pack: Callable[[Command], bytes] = pack_command  # type: ignore[assignment]  # its stub asks for a 1-tuple


class RedirectError(Exception):
    """MOVED, ASK, TRYAGAIN or CLUSTERDOWN: not carried out; look for the slot's master again."""


class MissingFunctionError(Exception):
    """The library is not loaded there. Nothing was carried out."""


_REDIRECTS = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")


def _failure(error: ResponseError) -> Exception:
    text = str(error)
    name = type(error).__name__
    if "Function not found" in text:
        return MissingFunctionError()
    if name in ("MovedError", "AskError", "TryAgainError", "ClusterDownError") or text.startswith(_REDIRECTS):
        return RedirectError(text)
    return from_reply(text, full=isinstance(error, OutOfMemoryError))


Answer = Callable[[Any], None]
"""Gets the reply, or the exception that the call failed with. Quick; does not raise."""


class _Called:
    """Has the part of a future that is used here, and calls at once."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any) -> None:
        try:
            self._answer(reply)
        except Exception:
            log.exception("what waited for a call failed")

    set_exception = set_result


Waiter = asyncio.Future[Any] | _Called


class _Pending:
    """A call under way. counted: the calls of its write that a WAIT follows, itself among them; reply: its own, kept
    until then. waits: this is the WAIT, and these are the calls that it counts."""

    __slots__ = ("counted", "due", "future", "reply", "waits")

    def __init__(self, future: Waiter, due: float, waits: list[_Pending] | None = None) -> None:
        self.future = future
        self.due = due
        self.counted: list[_Pending] | None = None
        self.reply: Any = None
        self.waits = waits


class PipelinedConnection:
    """Pipelines calls over one connection; connects at the first call, and again after a failure.

    timeout: seconds for connecting, and from sending to reply. wait_replicas: how many replicas must have a durable
    write before it is answered (WAIT), 0 is none; wait_timeout: seconds they have for it.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        timeout: float = 2.0,
        wait_replicas: int = 0,
        wait_timeout: float = 1.0,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._wait_replicas = wait_replicas
        self._wait_timeout = wait_timeout
        self._lost = lost
        self._queue: list[tuple[Command, bool, Waiter]] = []
        self._pending: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, command: Command, *, durable: bool = False) -> asyncio.Future[Any]:
        """Resolves with the reply, or with ServiceUnavailableError, RedirectError or MissingFunctionError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(command, durable, future)
        return future

    def begin(self, command: Command, answer: Answer, *, durable: bool = False) -> None:
        """As `submit`, with a callback: no future and no task for each call. It may be called before this returns."""
        self._put(command, durable, _Called(answer))

    def _put(self, command: Command, durable: bool, future: Waiter) -> None:
        if self._closed or len(self._queue) + len(self._pending) >= MAX_WAITING:
            future.set_exception(unreachable("the engine is stopped" if self._closed else "too many calls wait"))
            return
        self._queue.append((command, durable, future))
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="greenroom-redis-connection")

    async def close(self) -> None:
        """Fails what is under way and closes the connection."""
        self._closed = True
        self.drop()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def drop(self) -> None:
        """This server is not the one to talk to: what is under way fails, the next call reconnects."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._give_up(None)

    async def _run(self) -> None:
        """The life of one connection. ``pending`` is its own, so that a life that is over touches no later one's."""
        pending = self._pending = deque[_Pending]()
        connection: AbstractConnection | None = None
        why: BaseException | None = None
        try:
            connection = await self._connect_in_time()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection, pending))
                group.create_task(self._write(connection, pending))
        except BaseExceptionGroup as errors:
            why = errors.exceptions[0]
        except Exception as error:
            why = error
        finally:
            if self._pending is pending:
                self._task = None
                self._give_up(why)
            if connection is not None:
                await connection.disconnect()

    async def _connect_in_time(self) -> AbstractConnection:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect()
        except TimeoutError as error:
            raise RedisConnectionError("no connection in time") from error

    def _give_up(self, why: BaseException | None) -> None:
        """Fails what was sent and what was not; the life that this was takes nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reason = "no reply in time" if why is None else f"{type(why).__name__}: {why}"
        queue, self._queue = self._queue, []
        pending, self._pending = self._pending, deque()
        for entry in pending:
            for one in (entry,) if entry.waits is None else entry.waits:
                _fail(one.future, outcome_open(reason, why))
        for _, _, future in queue:
            _fail(future, unreachable(reason, why))
        if not self._closed:
            log.warning("the connection to Redis was lost: %s", reason)
            if self._lost is not None:
                self._lost()

    async def _write(self, connection: AbstractConnection, pending: deque[_Pending]) -> None:
        loop = asyncio.get_running_loop()
        while self._pending is pending:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue  # this life may be over by now
            queue, self._queue = self._queue, []
            data = self._pack(queue, loop.time() + self._timeout)
            self._arm(loop)
            await connection.send_packed_command(data, check_health=False)

    def _pack(self, queue: list[tuple[Command, bool, Waiter]], due: float) -> bytes:
        parts = []
        counted: list[_Pending] = []
        for command, durable, future in queue:
            if future.done():
                continue  # given up before it was sent: it is not sent
            parts.append(_pack(command))
            entry = _Pending(future, due)
            self._pending.append(entry)
            if durable and self._wait_replicas:
                entry.counted = counted
                counted.append(entry)
        if counted:
            parts.append(_pack(("WAIT", self._wait_replicas, round(self._wait_timeout * 1000))))
            nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._pending.append(_Pending(nobody, due, counted))
        return b"".join(parts)

    async def _read(self, connection: AbstractConnection, pending: deque[_Pending]) -> None:
        reader = ReplyReader(connection)
        while self._pending is pending:
            for reply in await reader.read():
                if isinstance(reply, ResponseError):
                    self._answer_error(pending.popleft(), reply)
                else:
                    self._answer(pending.popleft(), reply)
                if self._pending is not pending:
                    return  # what is under way has failed: nobody waits for the rest

    def _answer(self, entry: _Pending, reply: Any) -> None:
        if entry.waits is not None:
            self._confirm(entry.waits, int(reply))
        elif entry.counted is not None:
            entry.reply = reply
        elif not entry.future.done():
            entry.future.set_result(reply)

    def _answer_error(self, entry: _Pending, error: ResponseError) -> None:
        if entry.waits is not None:
            self._confirm(entry.waits, -1)
        else:
            if entry.counted is not None:
                entry.counted.remove(entry)
            _fail(entry.future, _failure(error))
        if str(error).startswith(NOT_HERE) or type(error).__name__ in ("ReadOnlyError", "MasterDownError"):
            raise RedisConnectionError(f"not a master: {error}")

    def _confirm(self, counted: list[_Pending], replicas: int) -> None:
        for entry in counted:
            if replicas >= self._wait_replicas:
                if not entry.future.done():
                    entry.future.set_result(entry.reply)
            else:
                _fail(entry.future, outcome_open(f"{max(replicas, 0)} of {self._wait_replicas} replicas have it"))

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and self._pending:
            self._timer = loop.call_at(self._pending[0].due, self._check_time)

    def _check_time(self) -> None:
        """One timer for all: the oldest call decides."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if not self._pending:
            return
        if self._pending[0].due <= loop.time():
            self.drop()
        else:
            self._arm(loop)


def _fail(future: Waiter, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
