"""What comes in thousands at once is processed in batches, in its order."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from greenroom.server.sessions.hub import _PORTION
from tests.server.shell import Shell, running_shell


async def _paced(shell: Shell, count: int) -> list[int]:
    """What is done so far of so many things that come at once, in a turn of their own."""
    await shell.settle()
    done: list[int] = []
    for number in range(count):
        shell.hub.defer(done.append, number)
    return done


async def test_a_crowd_is_dealt_with_in_portions_and_in_its_order() -> None:
    async with running_shell() as shell:
        done = await _paced(shell, 3 * _PORTION)
        turns = [len(done)]
        shell.hub.defer(done.append, -1)
        while len(done) <= 3 * _PORTION:
            await asyncio.sleep(0)
            turns.append(len(done))
        assert done == [*range(3 * _PORTION), -1]
        assert max(after - before for before, after in pairwise(turns)) <= _PORTION
        assert turns[0] == _PORTION


async def test_a_few_are_dealt_with_at_once() -> None:
    async with running_shell() as shell:
        done = await _paced(shell, 3)
        assert done == [0, 1, 2]


async def test_what_waits_is_done_before_the_tasks_are_settled() -> None:
    async with running_shell() as shell:
        done = await _paced(shell, 3 * _PORTION)
        await shell.hub.settle_tasks(5.0)
        assert len(done) == 3 * _PORTION


async def test_what_waits_is_dropped_where_tasks_are_cancelled() -> None:
    async with running_shell() as shell:
        done = await _paced(shell, 2 * _PORTION)
        await shell.hub.cancel_tasks()
        await shell.settle()
        assert len(done) == _PORTION


async def test_many_connections_that_are_lost_at_once_are_all_let_go() -> None:
    async with running_shell() as shell:
        connections = [shell.dial()[0] for _ in range(2 * _PORTION)]
        await shell.settle()
        before = len(shell.hub.connections)
        for connection in connections:
            connection.lost(1006, "")
        assert all(connection.link is None for connection in connections), "nothing is written to what is lost"
        assert len(shell.hub.connections) == before - _PORTION, "the others wait for their turn"
        await shell.settle()
        assert len(shell.hub.connections) == before - len(connections)
        assert all(connection.is_over for connection in connections)
