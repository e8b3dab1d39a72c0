"""``greenroom nodes`` of one node; `tests/cluster/test_operating.py` lists three."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.cli.nodes import state_of
from tests.cli.running import as_operator
from tests.server.harness import running_service
from tests.support.patience import until


async def test_a_node_is_listed_with_its_boot_and_sessions() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"))
        found: list[dict[str, Any]] = []

        async def has_reported() -> bool:
            found[:] = (await as_operator(running, "nodes", "--json")).json
            return found[0]["report"] is not None

        await until(has_reported)
        (one,) = found
        assert (one["sessions"], one["draining"]) == (1, False)
        table = (await as_operator(running, "nodes")).out
    (head, _rule, row) = [line for line in table.splitlines() if line.strip()]
    assert head.split()[:3] == ["Node", "State", "Sessions"]
    assert row.split()[:3] == [one["node"], "ready", "1"]
    assert row.split()[-2:] == [one["boot"][:8], one["version"]]


@pytest.mark.parametrize(
    ("node", "state"),
    [
        ({"leaseLeft": 0, "draining": True, "report": None}, "dead"),
        ({"leaseLeft": 9, "draining": True, "report": None}, "draining"),
        ({"leaseLeft": 9, "draining": False, "report": None}, "silent"),
        ({"leaseLeft": 9, "draining": False, "report": {"notReady": None}}, "ready"),
        ({"leaseLeft": 9, "draining": False, "report": {"notReady": "recovering"}}, "recovering"),
    ],
)
def test_a_node_is_in_one_state(node: dict[str, Any], state: str) -> None:
    assert state_of(node) == state
