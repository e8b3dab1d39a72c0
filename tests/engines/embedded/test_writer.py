"""The writer: batches, commits, answers, and how long it waits for more operations."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import NodeBeat
from greenroom.engines.clock import ManualClock, SystemClock
from greenroom.engines.embedded import DATABASE, EmbeddedEngine
from greenroom.engines.embedded import writer as writer_module
from greenroom.engines.embedded.schema import open_writer
from greenroom.engines.embedded.state import State
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.embedded.writer import GATHER_EACH, MANY, PORTION, Batcher, ThreadedWriter, commit_window
from greenroom.engines.rooms import RoomMessage
from greenroom.errors import ConflictError, ServiceUnavailableError
from greenroom.testing.engine_world import EmbeddedWorld
from tests.engines.embedded.running import running
from tests.support.patience import PATIENCE, until


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
        received: list[bool] = []
        loop_thread = threading.get_ident()

        def ready(app: str) -> None:
            other = apsw.Connection(str(tmp_path / DATABASE))
            received.append(next(other.execute("SELECT count(*) FROM events"))[0] > 0)
            other.close()
            assert threading.get_ident() == loop_thread

        engine.outbox.subscribe(ready)
        await engine.registry.beat(NodeBeat(node="n", boot="b", lease="l"))
        world = EmbeddedWorld()
        world.clock.step((round(SystemClock().wall() * 1000) - world.clock.now_ms()) / 1000)
        request = world.open_request(node="n", lease="l")
        await engine.registry.open(request)
        assert received == [True]


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
    async with asyncio.timeout(PATIENCE):
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


class RecordingListener:
    """Implements `CommitListener`."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.is_broken = False

    def rooms_changed(self, tx: Transaction) -> None:
        self.order.append("rooms")
        if self.is_broken:
            raise ZeroDivisionError

    def committed(self, tx: Transaction) -> None:
        self.order.append("the rest")


async def test_news_of_rooms_come_before_the_answers_and_all_others_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    con = open_writer(str(tmp_path / DATABASE))
    state = State()
    state.load(con)
    message = RoomMessage(app="app", room="room", number=1, sender="", session_id="", message=b"1")
    order: list[str] = []
    listener = RecordingListener(order)
    writer = ThreadedWriter(Batcher(con, state, SystemClock()), listener)
    for is_broken in (False, True):
        listener.is_broken = is_broken
        call = writer.submit(lambda tx: tx.room_news.append(message))
        call.afterwards(lambda _: order.append("answer"))
        await call
        await asyncio.sleep(0)
        assert order == ["rooms", "answer", "the rest"]
        order.clear()
    assert "news of rooms were not passed on" in caplog.text
    await writer.submit(lambda tx: tx.now)
    await asyncio.sleep(0)
    assert order == ["the rest"], "of rooms there was none"
    await writer.stop()
    con.close()


# -- what nobody waits for --------------------------------------------------------------------------------------------


class CountingBatcher(FakeBatcher):
    """Keeps how many operations each batch had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, operations: list[Any]) -> tuple[list[Any], None]:
        self.sizes.append(len(operations))
        return super().run(operations)


@pytest.mark.interpreted
async def test_what_nobody_waits_for_is_committed_with_what_comes_next_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "CAN_WAIT", 3_600.0)
    batcher, slept = CountingBatcher(), list[float]()
    writer = ThreadedWriter(cast(Any, batcher), cast(Any, None), sleep=slept.append)
    calls = [writer.submit(partial(_itself, number), can_wait=True) for number in range(3)]
    assert [await call for call in (*calls, writer.submit(partial(_itself, 3)))] == [0, 1, 2, 3]
    await writer.submit(partial(_itself, 4))
    assert batcher.sizes == [4, 1]
    assert not slept, "the commit window follows what someone waits for"
    await writer.stop()


@pytest.mark.interpreted
async def test_what_nobody_waits_for_is_committed_soon_all_the_same() -> None:
    writer = ThreadedWriter(cast(Any, CountingBatcher()), cast(Any, None))
    async with asyncio.timeout(PATIENCE):
        for number in range(3):
            assert await writer.submit(partial(_itself, number), can_wait=True) == number
    await writer.stop()


@pytest.mark.interpreted
async def test_many_that_nobody_waits_for_and_those_of_a_writer_that_stops_do_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "CAN_WAIT", 3_600.0)
    writer = ThreadedWriter(cast(Any, CountingBatcher()), cast(Any, None), window=0.0)
    calls = [writer.submit(partial(_itself, number), can_wait=True) for number in range(MANY)]
    async with asyncio.timeout(PATIENCE):
        assert await calls[-1] == MANY - 1
    last = writer.submit(partial(_itself, 7), can_wait=True)
    await writer.stop()
    assert await last == 7


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
            held.acquire(timeout=PATIENCE)
            return super().run(operations)

    writer = ThreadedWriter(cast(Any, HeldBatcher()), cast(Any, None), sleep=slept.append)
    calls = []
    for number, crowd in enumerate((1, 3, 1)):
        calls += [writer.submit(partial(_itself, number)) for _ in range(crowd)]
        if number:
            held.release()
        await until(lambda number=number: len(sizes) != number)  # type: ignore[misc]
    held.release()
    assert [await call for call in calls] == [0, 1, 1, 1, 2]
    assert (sizes, slept) == ([1, 3, 1], [3 * GATHER_EACH])
    await writer.stop()
