"""Streams have an end (S17), and what is due is all that a reaper pass costs (engines.md)."""

from __future__ import annotations

from greenroom.engines.base import EventLimits
from greenroom.model import SessionPolicy
from greenroom.testing.engine_world import APP, EmbeddedWorld


def limited(**limits: int) -> EmbeddedWorld:
    """A world that keeps few events."""
    world = EmbeddedWorld()
    world.event_limits = EventLimits(**limits)
    return world


MANY = SessionPolicy(max_sessions=10_000)


async def test_s17_more_events_than_the_limit_leave_a_gap_of_their_number() -> None:
    async with limited(count=50) as w:
        await w.open("first")
        start = (await w.engine.outbox.read(APP, None, 1)).cursor
        for number in range(60):
            await w.open(f"user-{number}")
        await w.advance(1)
        page = await w.engine.outbox.read(APP, start, 1000)
        assert len(page.items) == 50
        assert page.gap == 122 - 50 - 1
        assert page.items[-1].data["externalId"] == "user-59"
        assert (await w.engine.outbox.read(APP, page.cursor)).gap == 0


async def test_s17_more_bytes_than_the_limit_go_oldest_first() -> None:
    async with limited(size=20_000) as w:
        for number in range(40):
            await w.open(f"user-{number}", name="x" * 1000)
        await w.advance(1)
        events = await w.events()
        assert 10_000 < sum(len(repr(event)) for event in events) < 40_000
        assert events[-1].data["externalId"] == "user-39"


async def test_s17_one_tenants_events_never_push_out_anothers() -> None:
    async with limited(count=20) as w:
        await w.open("quiet", app="app-2")
        for number in range(30):
            await w.open(f"user-{number}")
        await w.advance(1)
        assert len(await w.events()) == 20
        assert len(await w.events("app-2")) == 2


async def test_a_reaper_pass_costs_what_is_due_not_what_exists() -> None:
    async def work(sessions: int) -> int:
        """Virtual-machine steps of SQLite (in hundreds) in a pass that finds one session due."""
        async with EmbeddedWorld() as w:
            a = await w.client("due")
            for number in range(sessions):
                await w.open(f"user-{number}")
            await a.detach(5)
            await w.advance(4.5)
            steps = 0

            def count() -> bool:
                nonlocal steps
                steps += 1
                return False

            await w.step(1)
            connection = w.engine._connection  # type: ignore[attr-defined]
            connection.set_progress_handler(count, 100)
            done = await w.engine.registry.reap()
            connection.set_progress_handler(None)
            assert [session.id for session in done.ended] == [a.id]
            return steps

    few, many = await work(20), await work(1000)
    assert many <= few * 1.5 + 2, (few, many)


async def test_an_open_costs_the_same_however_many_sessions_there_are() -> None:
    async def work(sessions: int) -> int:
        async with EmbeddedWorld() as w:
            for number in range(sessions):
                await w.open(f"user-{number}")
            steps = 0

            def count() -> bool:
                nonlocal steps
                steps += 1
                return False

            connection = w.engine._connection  # type: ignore[attr-defined]
            connection.set_progress_handler(count, 10)
            await w.open("one more")
            connection.set_progress_handler(None)
            return steps

    few, many = await work(20), await work(1000)
    assert many <= few * 1.5 + 2, (few, many)


async def test_closing_again_and_again_makes_opening_no_slower() -> None:
    """Ended sessions are remembered for a day, but an open looks only at those that stand."""
    async with EmbeddedWorld() as w:
        for _ in range(300):
            await (await w.client(policy=MANY)).close()
        rows = 0

        def trace(cursor: object, row: tuple[object, ...]) -> tuple[object, ...]:
            nonlocal rows
            rows += 1
            return row

        connection = w.engine._connection  # type: ignore[attr-defined]
        connection.set_row_trace(trace)
        await w.open(policy=MANY)
        connection.set_row_trace(None)
        assert rows <= 2
