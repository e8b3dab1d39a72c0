"""``greenroom drain`` of one node; `tests/cluster/test_operating.py` drains one of three."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from greenroom.cli.exits import Exit
from tests.cli.running import as_operator, run_here
from tests.server.harness import RunningService, running_service
from tests.support.patience import PATIENCE


async def test_draining_the_only_node_asks_first() -> None:
    async with running_service() as running:
        refused = await as_operator(running, "drain")
        assert (refused.code, refused.out.strip(), "only node" in refused.err) == (1, "", True)
        assert (await as_operator(running, "status", "--json")).json["notReady"] is None


@asynccontextmanager
async def ending_when_drained(running: RunningService) -> AsyncIterator[None]:
    """As the process does: the service stops when it was drained."""

    async def stop() -> None:
        await running.service.stop_requested.wait()
        await running.service.stop()

    task = asyncio.create_task(stop())
    try:
        yield
    finally:
        await asyncio.wait_for(task, PATIENCE)


async def test_the_only_node_is_drained_and_gone() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"))
        async with ending_when_drained(running):
            drained = (await as_operator(running, "drain", "--yes", "--json")).json
        assert (drained["left"], drained["gone"]) == (0, True)
        assert (await as_operator(running, "status")).code == Exit.UNREACHABLE


async def test_how_it_ended_is_printed_in_one_line() -> None:
    async with running_service() as running, ending_when_drained(running):
        ran = await as_operator(running, "drain", "--yes")
    assert (ran.code, ran.err, ran.out.count("\n")) == (Exit.DONE, "", 1)
    assert "is gone; 0 sessions had " in ran.out


@pytest.mark.slow
async def test_a_node_that_is_not_gone_in_time_goes_on_draining() -> None:
    async with running_service() as running:
        ran = await as_operator(running, "drain", "--yes", "--limit", "1s", "--json")
        assert ran.code == Exit.TRY_LATER
        found = json.loads(ran.out)
        assert (found["sessions"], found["left"], found["gone"]) == (0, 0, False)
        said = rf"greenroom: {found['node']} has 0 sessions after \d+ s. It continues to drain."
        assert re.match(said, ran.err)
        assert running.service.stop_requested.is_set()


async def test_a_node_that_there_is_not_cannot_be_drained() -> None:
    async with running_service() as running:
        ran = await as_operator(running, "drain", "node9")
        assert (ran.code, ran.err) == (Exit.NOT_FOUND, "greenroom: There is no node node9. See: greenroom nodes.\n")
    assert run_here("drain", "--limit", "0.5", GREENROOM_ADMIN_TOKEN="x").code == Exit.USAGE
