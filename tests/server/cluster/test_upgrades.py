"""Which upgrades a node takes, and when the others are to come back (S9, S10)."""

from __future__ import annotations

import random

import msgspec

from greenroom.server.cluster.upgrades import SessionUpgrades
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.wire.interface import Refusal, UpgradeRequest
from tests.server.shell import Shell, running_shell

REQUEST = UpgradeRequest("/v1/session", "", {}, "192.0.2.1", ("greenroom.v1",))


def _answer(shell: Shell, grace: float = 40.0, seed: int = 1) -> SessionConnection | Refusal:
    upgrades = SessionUpgrades(shell.hub, shell.calls, shell.node, grace=grace, chance=random.Random(seed))
    answer = upgrades(REQUEST)
    assert isinstance(answer, SessionConnection | Refusal)
    return answer


async def test_a_node_with_a_lease_takes_them() -> None:
    async with running_shell() as shell:
        assert isinstance(_answer(shell), SessionConnection)


async def test_a_draining_node_sends_clients_elsewhere_at_once() -> None:
    async with running_shell() as shell:
        shell.node.begin_draining()
        refused = _answer(shell)
        assert isinstance(refused, Refusal)
        assert (refused.status, dict(refused.headers)["Retry-After"]) == (503, "1")
        assert msgspec.json.decode(refused.body)["error_reason"] == "draining"


async def test_a_fenced_node_asks_for_part_of_the_grace() -> None:
    async with running_shell() as shell:
        shell.lease.ended()
        for grace, low, high in ((40.0, 15, 30), (2.0, 1, 2), (0.5, 1, 1)):
            asked = set()
            for seed in range(200):
                refused = _answer(shell, grace, seed)
                assert isinstance(refused, Refusal)
                asked.add(int(dict(refused.headers)["Retry-After"]))
            assert (min(asked), max(asked)) == (low, high)
