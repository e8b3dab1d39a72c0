"""What is the embedded engine's own: its file, its lock, its writer, its disk, its restarts."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import EraseParticipant, NodeBeat
from greenroom.engines.clock import ManualClock, SystemClock
from greenroom.engines.embedded import DATABASE, EmbeddedEngine
from greenroom.engines.embedded.schema import MINIMUM_SQLITE, SCHEMA_VERSION, check_sqlite, open_writer
from greenroom.engines.embedded.state import State
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.embedded.writer import GATHER_EACH, PORTION, Batcher, ThreadedWriter, commit_window
from greenroom.errors import ConflictError, GreenroomError, ServiceUnavailableError
from greenroom.model import Presence
from greenroom.testing.engine_contract.base import refused
from greenroom.testing.engine_world import APP, EmbeddedWorld
from tests.support.powerloss import FullVFS

_names = count(1)


@asynccontextmanager
async def running(path: Path | str, **options: Any) -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(path, **({"lock_timeout": 0.0} | options))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


# -- files -----------------------------------------------------------------------------------------------------------


async def test_only_the_owner_may_read_the_data(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as engine:
        await engine.healthy()
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert set(modes.values()) == {0o600}, modes
        assert DATABASE in modes
        assert DATABASE + "-wal" in modes


async def test_the_pragmas_that_promises_stand_on_are_in_force(tmp_path: Path) -> None:
    con = open_writer(str(tmp_path / "a.db"))
    assert (con.pragma("journal_mode"), con.pragma("synchronous")) == ("wal", 2)
    assert con.pragma("user_version") == SCHEMA_VERSION
    con.close()


async def test_a_file_of_a_newer_greenroom_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.pragma("user_version", SCHEMA_VERSION + 1)
    con.close()
    with pytest.raises(ServiceUnavailableError, match="newer Greenroom"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute("CREATE TABLE theirs (x)")
    con.close()
    with pytest.raises(ServiceUnavailableError, match="not Greenroom's"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(ServiceUnavailableError, match="is damaged: file is not a database"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()
    (tmp_path / DATABASE).unlink()
    async with running(tmp_path):
        pass  # the lock was given back


def _damage(database: Path) -> None:
    """Overwrites the middle of the file, as a bad disk does; its head stays."""
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (size - 8192))


async def test_a_damaged_file_is_named_with_how_to_restore_it(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        for number in range(50):
            await w.open(f"user-{number}")
    _damage(tmp_path / DATABASE)
    with pytest.raises(ServiceUnavailableError) as caught:
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()
    assert f"{tmp_path / DATABASE} is damaged" in str(caught.value)
    assert "greenroom restore" in str(caught.value)
    assert "greenroom doctor --data" in str(caught.value)


async def test_damage_that_is_met_while_it_runs_is_logged_with_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        for number in range(300):
            await w.open(f"user-{number}")
            await asyncio.sleep(0)
        connection = w.engine._connection  # type: ignore[attr-defined]
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.pragma("cache_size", 0)
        connection.release_memory()
        _damage(tmp_path / DATABASE)
        with refused(ErrorCode.SERVICE_UNAVAILABLE):
            for number in range(50):
                await w.open(f"new-{number}", name="x" * 200)
        assert f"{tmp_path / DATABASE} is damaged" in caplog.text
        assert "greenroom restore" in caplog.text


def test_an_old_sqlite_is_refused() -> None:
    check_sqlite(".".join(map(str, MINIMUM_SQLITE)))
    check_sqlite("4.0.0")
    with pytest.raises(ServiceUnavailableError, match="3.40.1"):
        check_sqlite("3.40.1")


async def test_it_says_what_it_really_promises(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        assert "synchronous FULL" in "\n".join(await engine.durability())
    async with running(":memory:") as engine:
        assert "ends with the process" in "\n".join(await engine.durability())


# -- the lock (S10) --------------------------------------------------------------------------------------------------


async def test_s10_a_second_process_gets_an_error_that_names_who_has_the_directory(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(ServiceUnavailableError, match=str(os.getpid())):
            await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_s10_the_lock_is_waited_for(tmp_path: Path) -> None:
    first = EmbeddedEngine(tmp_path)
    await first.start()
    second = EmbeddedEngine(tmp_path, lock_timeout=30.0)
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(0)
    assert not starting.done()
    await first.stop()
    await starting
    await second.stop()


async def test_s10_it_is_said_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("greenroom.engines.embedded.lock._SAY_SO_AFTER", 0.0)
    async with running(tmp_path):
        with pytest.raises(ServiceUnavailableError):
            await EmbeddedEngine(tmp_path, lock_timeout=0.01).start()
    assert [f"process {os.getpid()} uses" in record.getMessage() for record in caplog.records] == [True]


async def test_s10_that_the_lock_file_exists_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "greenroom.lock").write_text("12345\n")
    async with running(tmp_path):
        pass


async def test_not_started_and_stopped_engines_say_so(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path)
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            await engine.healthy()
        with pytest.raises(ServiceUnavailableError):
            await engine.directory.applications()
        await engine.stop()
        await engine.start()
        await engine.healthy()
        await engine.stop()


# -- the writer ------------------------------------------------------------------------------------------------------


async def test_calls_at_the_same_time_are_committed_together_and_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        order: list[int] = []

        def operation(number: int) -> Any:
            def run(tx: Transaction) -> int:
                order.append(number)
                tx.execute("UPDATE meta SET value = ? WHERE key = 'beat'", (number,))
                return number

            return run

        before = engine.commits
        results = await asyncio.gather(*(engine.writer.submit(operation(number)) for number in range(200)))
        assert results == order == list(range(200))
        assert engine.commits - before <= 4


async def test_changes_are_published_only_after_the_commit(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        heard: list[bool] = []
        loop_thread = threading.get_ident()

        def ready(app: str) -> None:
            other = apsw.Connection(str(tmp_path / DATABASE))
            heard.append(next(other.execute("SELECT count(*) FROM events"))[0] > 0)
            other.close()
            assert threading.get_ident() == loop_thread

        engine.outbox.subscribe(ready)
        await engine.registry.beat(NodeBeat(node="n", boot="b", lease="l"))
        world = EmbeddedWorld()
        world.clock.step((SystemClock().now_ms() - world.clock.now_ms()) / 1000)
        request = world.open_request(node="n", lease="l")
        await engine.registry.open(request)
        assert heard == [True]


async def test_one_broken_operation_costs_the_others_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:

        def good(tx: Transaction) -> int:
            tx.execute("UPDATE meta SET value = value + 1 WHERE key = 'beat'")
            return 1

        def broken(tx: Transaction) -> int:
            tx.execute("UPDATE meta SET value = value + 1000 WHERE key = 'beat'")
            raise ZeroDivisionError

        def refuses(tx: Transaction) -> int:
            raise ConflictError

        calls = [engine.writer.submit(each) for each in (good, broken, good, refuses, good)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [result for result in results if result == 1] == [1, 1, 1]
        assert isinstance(results[1], ServiceUnavailableError)
        assert results[1].code is ErrorCode.INTERNAL_ERROR
        assert isinstance(results[1].__cause__, ZeroDivisionError)
        assert isinstance(results[3], ConflictError)
        stored = await engine.read(lambda con: next(con.execute("SELECT value FROM meta WHERE key = 'beat'"))[0])
        assert stored == 3


async def test_a_refusal_after_a_write_is_a_mistake_and_undone() -> None:
    con = open_writer(":memory:")
    state = State()
    state.load(con)
    batcher = Batcher(con, state, ManualClock())

    def writes_and_refuses(tx: Transaction) -> None:
        tx.writes += 1
        tx.execute("UPDATE meta SET value = 7 WHERE key = 'beat'")
        raise ConflictError

    (result,), tx = batcher.run([writes_and_refuses])
    assert tx is None
    assert isinstance(result, ServiceUnavailableError)
    assert next(con.execute("SELECT value FROM meta WHERE key = 'beat'")) == (0,)
    con.close()


async def test_stopping_writes_what_was_accepted_first(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path)
    await engine.start()
    await engine.registry.beat(NodeBeat(node="n", boot="b", lease="l"))
    world = EmbeddedWorld()
    opens = [
        asyncio.ensure_future(engine.registry.open(world.open_request(f"user-{number}", node="n", lease="l")))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    await engine.stop()
    assert all(result.created for result in await asyncio.gather(*opens))
    with pytest.raises(ServiceUnavailableError):
        await engine.registry.open(world.open_request())
    con = apsw.Connection(str(tmp_path / DATABASE))
    assert next(con.execute("SELECT count(*) FROM sessions")) == (50,)
    con.close()


async def test_a_cancelled_call_may_count_and_never_harms_the_next(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:

        def add(tx: Transaction) -> None:
            tx.execute("UPDATE meta SET value = value + 1 WHERE key = 'beat'")

        async def call() -> None:
            await engine.writer.submit(add)

        tasks = [asyncio.ensure_future(call()) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        await engine.writer.submit(add)
        stored = await engine.read(lambda con: next(con.execute("SELECT value FROM meta WHERE key = 'beat'"))[0])
        assert sum(result is None for result in results) + 1 <= stored <= 101


# -- the disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[FullVFS]:
    vfs = FullVFS(f"full-{next(_names)}")
    yield vfs
    vfs.unregister()


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_full_disk_refuses_writes_and_recovers_by_itself(tmp_path: Path, disk: FullVFS, threaded: bool) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=threaded) as w:
        a = await w.client(name="Alice")
        before = await w.events()
        disk.full = True
        for _ in range(3):
            with refused(ErrorCode.STORAGE_FULL) as refusal:
                await w.open("bob")
            assert refusal.error is not None
            assert refusal.error.retryable
            with refused(ErrorCode.STORAGE_FULL):
                await a.update(name="Alicia")
        with refused(ErrorCode.STORAGE_FULL):
            await w.engine.healthy()
        assert (await a.record()).name == "Alice"  # reading goes on
        assert await w.events() == before
        disk.full = False
        assert (await a.update(name="Alicia")).revision == 2
        bob = await w.open("bob")
        assert bob.participant.sessions == 1
        assert [event.type for event in (await w.events())[2:]] == [
            "participant.updated",
            "session.opened",
            "participant.online",
        ]


async def test_what_fills_up_in_the_middle_of_a_batch_undoes_all_of_it(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=True) as w:
        disk.full = True
        results = await asyncio.gather(*(w.open(f"user-{number}") for number in range(30)), return_exceptions=True)
        assert all(isinstance(result, GreenroomError) for result in results)
        disk.full = False
        assert await w.types() == []
        again = await asyncio.gather(*(w.open(f"user-{number}") for number in range(30)))
        assert all(result.participant.sessions == 1 for result in again)
        assert len(await w.types()) == 60


async def test_a_broken_disk_is_a_retryable_error(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name) as w:
        disk.broken = True
        with refused(ErrorCode.SERVICE_UNAVAILABLE):
            await w.open()
        disk.broken = False
        assert (await w.open()).created


async def test_a_reaper_pass_that_met_a_full_disk_is_made_up_for(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name) as w:
        await w.join("node-2", "lease-2")
        a = await w.client(node="node-2", lease="lease-2")
        w.kill("node-2")
        await w.advance(9)
        disk.full = True
        failed = 0
        for _ in range(5):
            await w.step(1)
            try:
                await w.reap()
            except ServiceUnavailableError:
                failed += 1
        assert failed >= 2
        disk.full = False
        await w.join(w.node, "lease-after-the-outage")
        await w.advance(2)
        assert (await a.record()).presence is Presence.UNREACHABLE
        done = await w.advance(45)
        assert [session.id for session in done.ended] == [a.id]


async def test_a_disk_that_cannot_even_be_read_ends_no_writer(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=True) as w:
        await w.client()
        disk.full = disk.unreadable = True
        results = await asyncio.gather(*(w.open(f"user-{number}") for number in range(5)), return_exceptions=True)
        assert all(isinstance(result, ServiceUnavailableError) for result in results)
        disk.full = disk.unreadable = False
        assert (await w.open("bob")).participant.sessions == 1
        assert (await w.record("alice")).sessions == 1


async def test_watchers_forget_the_name_of_somebody_who_was_erased() -> None:
    async with EmbeddedWorld() as w:
        a = await w.client(name="Alice")
        await w.engine.bus.watch(APP, [a.participant_id])
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        heard = w.listener.records(a.participant_id)
        assert [record.name for record in heard] == ["Alice", ""]
        assert heard[1].version > heard[0].version
        assert heard[1].external_id is None


# -- restarts --------------------------------------------------------------------------------------------------------


async def test_s10_last_seen_after_a_crash_is_the_last_stored_beat(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await w.advance(35)
        crashed_at = w.now_ms()
        await w.step(5000)
        await w.restart()
        last_seen = (await a.record()).last_seen
        assert last_seen is not None
        assert crashed_at - 11_000 <= last_seen <= crashed_at


async def test_the_partition_clock_never_goes_back_by_more_than_a_beat(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await a.close()
        await w.advance(590)
        await w.restart()
        with refused(ErrorCode.SESSION_ENDED):
            await a.open(lease=w.lease)
        await w.advance(25)
        assert (await a.open(lease=w.lease, session_id=w.open_request().session_id)).created


async def test_event_cursors_outlive_a_restart_and_numbers_are_never_given_twice(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        await w.open("alice")
        cursor = await w.engine.outbox.newest("app-1")
        await w.step(80 * 3600)
        await w.advance(60)  # everything was dropped for its age
        await w.restart()
        await w.open("bob")
        page = await w.engine.outbox.read("app-1", cursor)
        assert {event.data["externalId"] for event in page.items} >= {"bob"}
        assert len({event.id for event in page.items}) == len(page.items)


async def test_a_cursor_from_the_future_means_that_the_file_was_put_back(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        from greenroom.engines.embedded.outbox import encode_cursor

        await w.open("alice")
        page = await w.engine.outbox.read("app-1", encode_cursor(1000))
        assert page.reset
        assert len(page.items) == 2


# -- a storm of answers -----------------------------------------------------------------------------------------------


class FakeBatcher:
    """Answers each operation with its own result, a whole batch at once."""

    def run(self, operations: list[Any]) -> tuple[list[Any], None]:
        return [operation(None) for operation in operations], None


def _itself(number: int, _tx: Transaction) -> int:
    return number


@pytest.mark.interpreted
async def test_answers_of_a_large_batch_are_handed_out_in_portions_and_in_order() -> None:
    writer = ThreadedWriter(cast(Any, FakeBatcher()), cast(Any, None), window=0.0)
    answered: list[int] = []
    turns = [0]
    for number in range(4 * PORTION):
        writer.submit(partial(_itself, number)).then(answered.append)
    async with asyncio.timeout(20):
        while len(answered) < 4 * PORTION:
            await asyncio.sleep(0)
            turns.append(len(answered))
    assert answered == list(range(4 * PORTION))
    assert max(after - before for before, after in pairwise(turns)) <= PORTION
    await writer.stop()


@pytest.mark.interpreted
async def test_a_writer_that_stops_has_handed_out_every_answer() -> None:
    writer = ThreadedWriter(cast(Any, FakeBatcher()), cast(Any, None), window=0.0)
    calls = [writer.submit(partial(_itself, number)) for number in range(5 * PORTION)]
    await writer.stop()
    assert all(call.done for call in calls)
    assert [await call for call in calls] == list(range(5 * PORTION))


@pytest.mark.interpreted
async def test_a_callback_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    writer = ThreadedWriter(cast(Any, FakeBatcher()), cast(Any, None), window=0.0)
    answered: list[int] = []

    def fail(_result: int) -> None:
        raise ZeroDivisionError

    for number in range(3):
        writer.submit(partial(_itself, number)).then(fail if number == 1 else answered.append)
    await writer.stop()
    assert answered == [0, 2]
    assert "what waited for a call failed" in caplog.text


# -- the commit window ------------------------------------------------------------------------------------------------


def _commits_of(every: float, seconds: float) -> list[tuple[int, float]]:
    """In virtual time: an operation comes each `every` seconds; a commit takes 2 ms. Of each commit: how many
    operations it had, and how long the first of them had waited for it to begin."""
    now, arrived, size = 0.0, [number * every for number in range(int(seconds / every))], 0
    commits = []
    while arrived:
        now = max(now, arrived[0])
        now += commit_window(size, 0.016)
        batch = [at for at in arrived if at <= now]
        arrived = arrived[len(batch) :]
        commits.append((len(batch), now - batch[0]))
        size = len(batch)
        now += 0.002
    return commits


def test_at_low_load_nobody_waits_for_a_commit_and_at_high_load_commits_are_shared() -> None:
    quiet = _commits_of(every=0.01, seconds=2.0)
    assert all(size == 1 and waited < 1e-9 for size, waited in quiet)
    busy = _commits_of(every=0.0004, seconds=2.0)
    assert sum(size for size, _ in busy) / len(busy) >= 8
    crowd = _commits_of(every=0.0002, seconds=2.0)
    assert sum(size for size, _ in crowd) / len(crowd) >= 32
    assert max(waited for _, waited in crowd) <= 0.0181, "the commit before, and the longest window"


def test_the_window_is_bounded_and_off_where_it_is_zero() -> None:
    assert commit_window(1, 0.016) == commit_window(0, 0.016) == 0.0
    assert commit_window(10, 0.016) == pytest.approx(0.005)
    assert commit_window(1000, 0.016) == 0.016
    assert commit_window(1000, 0.0) == 0.0


@pytest.mark.interpreted
async def test_the_writer_waits_as_the_window_says() -> None:
    slept: list[float] = []
    sizes: list[int] = []
    held = threading.Semaphore(0)

    class HeldBatcher(FakeBatcher):
        def run(self, operations: list[Any]) -> tuple[list[Any], None]:
            sizes.append(len(operations))
            held.acquire(timeout=20)
            return super().run(operations)

    writer = ThreadedWriter(cast(Any, HeldBatcher()), cast(Any, None), sleep=slept.append)
    calls = []
    for number, crowd in enumerate((1, 3, 1)):
        calls += [writer.submit(partial(_itself, number)) for _ in range(crowd)]
        if number:
            held.release()
        async with asyncio.timeout(20):
            while len(sizes) == number:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.001)
    held.release()
    assert [await call for call in calls] == [0, 1, 1, 1, 2]
    assert (sizes, slept) == ([1, 3, 1], [3 * GATHER_EACH])
    await writer.stop()
