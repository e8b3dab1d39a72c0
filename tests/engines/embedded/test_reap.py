"""What is due is all that a reaper pass costs (engines.md)."""

from __future__ import annotations

from greenroom.testing.engine_world import EmbeddedWorld


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
