"""An open costs the same, whatever there is."""

from __future__ import annotations

from greenroom.model import SessionPolicy
from greenroom.testing.engine_world import EmbeddedWorld

MANY = SessionPolicy(max_sessions=10_000)


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
