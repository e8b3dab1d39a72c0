"""The clocks of a node."""

from __future__ import annotations

import time

from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from tests.server.shell import running_shell


def test_the_machine_s_clocks_do_not_go_back_and_one_of_them_counts_sleep_too() -> None:
    clocks: Clocks = SYSTEM_CLOCKS
    for read in (clocks.monotonic, clocks.boottime):
        seen = [read() for _ in range(100)]
        assert seen == sorted(seen)
    assert clocks.boottime() >= clocks.monotonic() - 1.0, "time asleep only adds to it"
    assert abs(clocks.wall() - time.time()) < 60


async def test_a_clock_that_stands_still_satisfies_the_node_as_the_machine_s_does() -> None:
    async with running_shell() as shell:
        clocks: Clocks = shell.clocks
        reads = (clocks.monotonic, clocks.boottime, clocks.wall)
        before = [read() for read in reads]
        shell.clock.advance(2.0)
        assert [round(read() - then, 3) for read, then in zip(reads, before, strict=True)] == [2.0] * 3
        assert shell.node.current_lease() is not None
        shell.clock.advance(60.0)
        assert shell.node.current_lease() is None
