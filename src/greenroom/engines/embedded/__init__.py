"""The embedded engine: SQLite through apsw, one node, no set-up.

`docs/explanation/embedded-engine.md` says how it is built and why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw

from greenroom.engines.base import EVENT_LIMITS, LEASE, Bus, Directory, EventLimits, Outbox, Registry, Statistics
from greenroom.engines.clock import Clock, SystemClock
from greenroom.engines.embedded.bus import EmbeddedBus
from greenroom.engines.embedded.directory import EmbeddedDirectory
from greenroom.engines.embedded.lock import FileLock
from greenroom.engines.embedded.outbox import EmbeddedOutbox
from greenroom.engines.embedded.reap import restart
from greenroom.engines.embedded.registry import EmbeddedRegistry
from greenroom.engines.embedded.rooms import EmbeddedRooms
from greenroom.engines.embedded.schema import (
    CHECKPOINT_PAGES,
    DAMAGED,
    damaged,
    make_file,
    make_private,
    open_reader,
    open_writer,
)
from greenroom.engines.embedded.state import State
from greenroom.engines.embedded.statistics import EmbeddedStatistics
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.embedded.writer import Batcher, ClosedWriter, InlineWriter, ThreadedWriter, Writer
from greenroom.engines.rooms import Rooms
from greenroom.errors import ServiceUnavailableError

DATABASE = "greenroom.db"
LOCK = "greenroom.lock"
MEMORY = ":memory:"

T = TypeVar("T")


class EmbeddedEngine:
    """Implements `Engine` on one file.

    path: the data directory (made with mode 0700), or ``:memory:`` for a state that ends with the process.
    clock: None is the machine's.
    threaded: False carries every call out at once, in the caller's thread and in a transaction of its own: for
        simulated worlds, where order must be certain. ``:memory:`` is never threaded.
    commit_window: the most seconds for which the writer waits for more when several calls are under way.
    lock_timeout: seconds to wait for the process that has the directory (S10).
    lease: seconds of a node's lease.
    event_limits: what is kept of an application's events.
    vfs: name of an apsw VFS, for tests; there is no lock file then.
    synchronous: ``FULL``. The power-loss test says ``NORMAL``, to show the difference.
    checkpoint_pages: pages in the write-ahead log after which it is written back.
    """

    name = "embedded"

    registry: Registry
    bus: Bus
    outbox: Outbox
    directory: Directory
    statistics: Statistics
    rooms: Rooms

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        threaded: bool = True,
        commit_window: float = 0.016,
        lock_timeout: float = 30.0,
        lease: float = LEASE,
        event_limits: EventLimits = EVENT_LIMITS,
        vfs: str | None = None,
        synchronous: str = "FULL",
        checkpoint_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        self._memory = os.fspath(path) == MEMORY
        self._path = Path(path)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._threaded = threaded and not self._memory
        self._commit_window = commit_window
        self._lock_timeout = lock_timeout
        self._vfs = vfs
        self._synchronous = synchronous
        self._checkpoint_pages = checkpoint_pages
        self._lock: FileLock | None = None
        self.writer: Writer = ClosedWriter("The engine is not started.")
        self._connection: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._quick: apsw.Connection | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._batcher: Batcher | None = None
        self._state = State()
        self._bus = EmbeddedBus(round(self._clock.wall() * 1_000_000))
        self._outbox = EmbeddedOutbox(self, self._clock.monotonic)
        self.bus = self._bus
        self.outbox = self._outbox
        self.registry = EmbeddedRegistry(
            self, self._state, self._bus, self._clock, lease=lease, event_limits=event_limits
        )
        self.directory = EmbeddedDirectory(self, self._state)
        self.statistics = EmbeddedStatistics(self, self._clock)
        self.rooms = EmbeddedRooms(self, self._state)

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Waits for the lock, opens and checks the file, and detaches who was connected when it was left (S10)."""
        if not self._memory and self._vfs is None:
            make_private(self._path)
            lock = FileLock(self._path / LOCK)
            await lock.acquire(self._lock_timeout)
            self._lock = lock
        try:
            self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        file = MEMORY if self._memory else str(self._path / DATABASE if self._vfs is None else self._path)
        if not self._memory and self._vfs is None:
            make_file(Path(file))
        try:
            con = self._connection = open_writer(
                file, vfs=self._vfs, synchronous=self._synchronous, checkpoint_pages=self._checkpoint_pages
            )
            self._reader = con if self._memory else open_reader(file, vfs=self._vfs)
            # Of its own, so that a long listing in the reading thread holds up no short look from the loop's.
            self._quick = open_reader(file, vfs=self._vfs) if self._threaded else self._reader
            self._state.load(con)
            self._state.passed_at = self._clock.monotonic()
            batcher = self._batcher = Batcher(con, self._state, self._clock)
            (result,), _ = batcher.run([restart])
            if isinstance(result, Exception):
                raise result.__cause__ or result
        except DAMAGED as error:
            raise damaged(file, str(error)) from error
        except apsw.Error as error:
            raise ServiceUnavailableError(
                f"The database in {self._path} cannot be opened: {error}",
                hint="Check the disk, the directory's owner and its free space.",
            ) from error
        if self._threaded:
            self._reading = ThreadPoolExecutor(1, thread_name_prefix="greenroom-reader")
            self.writer = ThreadedWriter(batcher, self, window=self._commit_window)
        else:
            self.writer = InlineWriter(batcher, self)

    async def stop(self) -> None:
        """What was accepted is written first. Harmless where it was not started."""
        await self.writer.stop()
        self.writer = ClosedWriter("The engine is stopped.")
        self._close()

    def _close(self) -> None:
        if self._reading is not None:
            self._reading.shutdown()
            self._reading = None
        if self._quick is not self._reader:
            _close_connection(self._quick)
        if self._reader is not self._connection:
            _close_connection(self._reader)
        _close_connection(self._connection)
        self._quick = self._reader = self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def abandon(self) -> None:
        """What the operating system does with a killed process: the files are closed, nothing more is written. For
        simulated worlds; not with a writer thread."""
        assert not self._threaded
        self.writer = ClosedWriter("The engine is stopped.")
        self._close()

    async def healthy(self) -> None:
        """Writes a row and commits it. Raises ServiceUnavailableError where that fails."""
        await self.writer.submit(_touch)

    async def durability(self) -> tuple[str, ...]:
        """What this engine really promises, a line each."""
        if self._memory:
            return ("embedded engine in memory: everything ends with the process",)
        return (
            f"embedded engine: SQLite {apsw.sqlite_lib_version()} in {self._path}",
            f"journal WAL, synchronous {self._synchronous}: an acknowledged open or update is on disk"
            if self._synchronous == "FULL"
            else f"synchronous {self._synchronous}: a loss of power may lose what was acknowledged",
            "one node; sessions survive a restart of the process",
        )

    @property
    def commits(self) -> int:
        """Transactions committed since the start; calls that are under way together share one."""
        return 0 if self._batcher is None else self._batcher.commits

    # -- io ------------------------------------------------------------------------------------------------------

    async def read(self, query: Callable[[apsw.Connection], T], *, quick: bool = False) -> T:
        """Carried out on the reading connection, in its thread; a quick one at once."""
        reader = self._quick if quick else self._reader
        if reader is None:
            raise ServiceUnavailableError("The engine is not started.", retry_after=1.0)
        try:
            if quick or self._reading is None:
                return query(reader)
            return await asyncio.get_running_loop().run_in_executor(self._reading, query, reader)
        except apsw.Error as error:
            raise ServiceUnavailableError(f"The database cannot be read: {error}", retry_after=1.0) from error

    def rooms_changed(self, tx: Transaction) -> None:
        """The writer's news of rooms, in the loop's thread."""
        self._bus.publish_rooms(tx.room_news)

    def committed(self, tx: Transaction) -> None:
        """Its other news."""
        if tx.changes:
            self._bus.publish(tx.changes)
        if tx.ready:
            self._outbox.publish(tx.ready)


def _touch(tx: Transaction) -> None:
    # Another value each time: SQLite does not write what is there already.
    tx.execute("UPDATE meta SET value = value + 1 WHERE key = 'touched'")


def _close_connection(con: apsw.Connection | None) -> None:
    """The last one writes the log back into the file. Where the disk refuses, the log stays, and nothing is lost."""
    if con is not None:
        with suppress(apsw.Error):
            con.close()


__all__ = ["EmbeddedEngine"]
