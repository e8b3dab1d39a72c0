"""One connection that writes, and what is written together.

What can go wrong, and which rule prevents it
---------------------------------------------

*Power fails after an answer.* A call is completed, and its changes published, only after the commit: nobody is notified
of something that a loss of power could undo.

*A commit costs as much for one call as for thirty.* All that wait when the writer is free go into one transaction, with
one fsync. Under load the writer waits for more; how long follows from the batch before, so that a single call never
waits (`commit_window`).

*Nobody waits for the answer.* Ends and detaches of connections that are gone are committed with whatever comes next, or
after `CAN_WAIT`: a node that has little to do has one fsync where it had two.

*One call of a batch is refused.* Operations are functions of a Transaction that check first and write after. A refusal
has written nothing, and the batch continues; an operation that wrote and then refuses is a mistake, and undone.

*One call of a batch is broken.* The batch is rolled back, what is kept in memory is read again, and its calls run one
by one: only the broken one fails.

*The disk is full.* The batch is rolled back and every call fails retryably. Nothing has to be restarted once there is
room.

*A caller is cancelled.* What it asked for happens all the same, or not, but never half.

*Thousands of calls are completed at once.* They are handed out 64 in one turn of the event loop, in their order.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import apsw

from greenroom.codes import ErrorCode
from greenroom.engines.clock import Clock
from greenroom.engines.completion import Completion, completed
from greenroom.engines.embedded.schema import BUSY_MS, DAMAGED, damaged
from greenroom.engines.embedded.state import State
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import GreenroomError, ServiceUnavailableError

log = logging.getLogger("greenroom.engine")

T = TypeVar("T")
Operation = Callable[[Transaction], T]

MAX_BATCH = 512
"""Operations in one transaction: some 40 ms of work, so that nobody waits behind a storm."""
PORTION = 64
"""Answers that are handed out before the loop gets its turn: some 5 ms of what follows from them."""

GATHER_EACH = 0.0005
"""Seconds for which the writer waits for more, for each operation of the batch before."""

_FULL = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)


CAN_WAIT = 0.005
"""Seconds for which an operation that nobody waits for waits for others."""

MANY = 32
"""So many of them are not let wait."""


class CommitListener(Protocol):
    """Is notified of what was committed, in the event loop's thread. Quick, does not raise."""

    def rooms_changed(self, tx: Transaction) -> None:
        """News of rooms, where there are some: before the calls are answered, so that a node answers a join with its
        own copy of the roster."""

    def committed(self, tx: Transaction) -> None:
        """All other news, after the answers."""


class Batcher:
    """Carries out batches of operations on the connection. Used by one thread at a time."""

    def __init__(self, con: apsw.Connection, state: State, clock: Clock) -> None:
        self.con = con
        self.state = state
        self._clock = clock
        self._stale = False
        """The state in memory could not be read again after a roll-back: nothing is done before it is."""
        self.commits = 0
        """Batches committed so far."""

    def run(self, operations: list[Operation[Any]]) -> tuple[list[Any], Transaction | None]:
        """The result of each in order, an exception where it failed; and the committed transaction with its news."""
        con = self.con
        results: list[Any] = []
        try:
            if self._stale:
                self._load()
            con.execute("BEGIN IMMEDIATE")
            tx = Transaction(con, self.state, round(self._clock.wall() * 1000), self._clock.monotonic())
            for operation in operations:
                writes = tx.writes
                try:
                    results.append(operation(tx))
                except GreenroomError as refusal:
                    if tx.writes != writes:
                        raise RuntimeError("an operation wrote before it refused") from refusal
                    results.append(refusal)
            tx.flush()
            con.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if not isinstance(error, Exception):
                raise
            return self._failed(operations, error)
        self.commits += 1
        if self.state.checkpoint_due:
            self._truncate_log()
        return results, tx

    def _failed(self, operations: list[Operation[Any]], error: Exception) -> tuple[list[Any], Transaction | None]:
        """Nothing of the batch was written."""
        if isinstance(error, DAMAGED):
            log.error("%s", damaged(self.con.filename, str(error)))
        if isinstance(error, (*_FULL, *DAMAGED)):
            return [_unavailable(error) for _ in operations], None
        if len(operations) == 1:
            return [_unexpected(error)], None
        return self._one_by_one(operations)

    def _truncate_log(self) -> None:
        """Writes the log back into the file and empties it: it holds pages of before the erasure."""
        self.con.set_busy_timeout(0)
        try:
            self.con.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.state.checkpoint_due = False
        except apsw.BusyError:
            pass  # a reader is active: the next commit tries again
        finally:
            self.con.set_busy_timeout(BUSY_MS)

    def _one_by_one(self, operations: list[Operation[Any]]) -> tuple[list[Any], Transaction | None]:
        """One of them is broken: the others must not pay for it."""
        results: list[Any] = []
        news: Transaction | None = None
        for operation in operations:
            done, tx = self.run([operation])
            results += done
            if tx is None:
                continue
            if news is None:
                news = tx
            else:
                news.changes += tx.changes
                news.ready |= tx.ready
                news.room_news += tx.room_news
        return results, news

    def _roll_back(self) -> None:
        self._stale = True
        with suppress(apsw.Error):
            if self.con.in_transaction:
                self.con.execute("ROLLBACK")
            self._load()

    def _load(self) -> None:
        self.state.load(self.con)
        self._stale = False


def _unavailable(error: apsw.Error) -> ServiceUnavailableError:
    code = ErrorCode.STORAGE_FULL if isinstance(error, apsw.FullError) else ErrorCode.SERVICE_UNAVAILABLE
    failure = ServiceUnavailableError(code=code, retry_after=1.0)
    failure.__cause__ = error
    return failure


def _unexpected(error: Exception) -> ServiceUnavailableError:
    failure = ServiceUnavailableError(code=ErrorCode.INTERNAL_ERROR)
    failure.__cause__ = error
    return failure


class Writer(Protocol):
    """What carries operations out."""

    def submit(self, operation: Operation[T], *, can_wait: bool = False) -> Completion[T]:
        """Complete when it is committed; with the exception where it was refused, or could not be written. can_wait: it
        may be committed with what comes next, in some milliseconds at the latest: nobody waits for it."""

    async def stop(self) -> None:
        """Write what was accepted, take nothing more."""


class ClosedWriter:
    """Implements `Writer` for an engine that is not running. why: what every operation is refused with."""

    def __init__(self, why: str) -> None:
        self._why = why

    def submit(self, operation: Operation[T], *, can_wait: bool = False) -> Completion[T]:
        return completed(ServiceUnavailableError(self._why, retry_after=1.0))

    async def stop(self) -> None:
        """There is nothing to write."""


class InlineWriter:
    """Implements `Writer`: each call is its own transaction, carried out at once: for simulated worlds, where order
    must be certain."""

    def __init__(self, batcher: Batcher, listener: CommitListener) -> None:
        self._batcher = batcher
        self._listener = listener

    def submit(self, operation: Operation[T], *, can_wait: bool = False) -> Completion[T]:
        (result,), tx = self._batcher.run([operation])
        if tx is not None:
            if tx.room_news:
                self._listener.rooms_changed(tx)
            self._listener.committed(tx)
        return completed(result)

    async def stop(self) -> None:
        """Nothing waits."""


def commit_window(before: int, most: float) -> float:
    """Seconds to gather operations in before a commit: the more the batch before had that someone waited for, the more
    are worth waiting for.

    A commit costs the same for one operation as for thirty. Under load a few milliseconds fill a batch; who is alone
    would wait for nobody. most: the longest window.
    """
    return min(most, GATHER_EACH * before) if before > 1 else 0.0


class ThreadedWriter:
    """Implements `Writer`: a thread that takes all that waits, and commits it together.

    window: the most seconds to wait for more, see `commit_window`. sleep: how the thread waits.
    """

    def __init__(
        self,
        batcher: Batcher,
        listener: CommitListener,
        *,
        window: float = 0.016,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._batcher = batcher
        self._listener = listener
        self._window = window
        self._sleep = sleep
        self._waiting: deque[tuple[Operation[Any], Completion[Any], bool]] = deque()
        """Operations, what they complete, and whether someone waits for that."""
        self._done: deque[Iterator[tuple[Completion[Any], Any]]] = deque()
        self._goes_on = False
        """Whether another portion of what is done follows in the next turn of the loop."""
        self._asleep = threading.Lock()
        """Held while nothing was submitted since the thread looked: a lock costs a tenth of a `threading.Event`."""
        self._asleep.acquire()
        self._stopping = False
        self._wakes_later: asyncio.TimerHandle | None = None
        """For operations that nobody waits for."""
        self._loop = asyncio.get_running_loop()
        self._worker = threading.Thread(target=self._run, name="greenroom-writer", daemon=True)
        self._worker.start()

    def submit(self, operation: Operation[T], *, can_wait: bool = False) -> Completion[T]:
        if self._stopping:
            return completed(ServiceUnavailableError("The engine is stopped.", retry_after=5.0))
        completion: Completion[T] = Completion()
        self._waiting.append((operation, completion, not can_wait))
        if not can_wait or len(self._waiting) >= MANY:
            # The loop's thread alone releases it, and what it has appended before is found by who acquires it then.
            if self._asleep.locked():
                self._asleep.release()
        elif self._wakes_later is None:
            self._wakes_later = self._loop.call_later(CAN_WAIT, self._wake)
        return completion

    def _wake(self) -> None:
        self._wakes_later = None
        if (self._waiting or self._stopping) and self._asleep.locked():
            self._asleep.release()

    async def stop(self) -> None:
        self._stopping = True
        if self._wakes_later is not None:
            self._wakes_later.cancel()
        self._wake()
        await self._loop.run_in_executor(None, self._worker.join)
        await asyncio.sleep(0)  # the last batch is handed over by a callback that is queued now
        while self._done:  # noqa: ASYNC110 - it takes a few turns, and only here is it waited for
            await asyncio.sleep(0)

    def _run(self) -> None:
        waiting = self._waiting
        size = 0
        while True:
            self._asleep.acquire()
            while waiting:
                window = commit_window(size, self._window) if size > 1 else 0.0
                if window and not self._stopping:
                    self._sleep(window)
                batch = [waiting.popleft() for _ in range(min(len(waiting), MAX_BATCH))]
                size = sum([awaited for _, _, awaited in batch])
                results, tx = self._batcher.run([operation for operation, _, _ in batch])
                self._done.append(self._answers([completion for _, completion, _ in batch], results, tx))
                self._loop.call_soon_threadsafe(self._hand_out)
            if self._stopping and not waiting:
                return

    def _answers(
        self, completions: list[Completion[Any]], results: list[Any], tx: Transaction | None
    ) -> Iterator[tuple[Completion[Any], Any]]:
        """Of a batch. Its news are passed on as the answers are taken."""
        if tx is not None and tx.room_news:
            try:
                self._listener.rooms_changed(tx)
            except Exception:
                log.exception("news of rooms were not passed on")
        yield from zip(completions, results, strict=True)
        if tx is not None:
            self._listener.committed(tx)

    def _go_on(self) -> None:
        self._goes_on = False
        self._hand_out()

    def _hand_out(self) -> None:
        """Completes calls, a portion at a time: what waits for them is done before the loop looks at its sockets."""
        if self._goes_on:
            return  # it comes to what is new by itself
        left = PORTION
        while self._done:
            for completion, result in self._done[0]:
                try:
                    completion.complete(result)
                except Exception:
                    log.exception("what waited for a call failed")
                left -= 1
                if left == 0:
                    self._goes_on = True
                    self._loop.call_soon(self._go_on)
                    return
            self._done.popleft()
