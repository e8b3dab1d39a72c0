"""How fast clients are moved to the other nodes."""

from __future__ import annotations

import pytest

from greenroom.server.cluster.drain import CLIENTS_PER_SECOND, SHORTEST_JITTER, jitter_for


@pytest.mark.parametrize(
    ("clients", "nodes", "seconds"),
    [
        (0, 1, SHORTEST_JITTER),
        (100, 1, SHORTEST_JITTER),
        (4_000, 1, 10.0),
        (4_000, 4, 2.5),
        (4_000, 0, 10.0),
        (10**9, 1, 30.0),
    ],
)
def test_so_many_clients_to_so_many_nodes(clients: int, nodes: int, seconds: float) -> None:
    assert jitter_for(clients, nodes, 30.0) == seconds


def test_no_node_gets_more_than_it_takes_unless_there_is_no_time() -> None:
    for clients in range(1, 100_000, 997):
        for nodes in (1, 3):
            assert clients / nodes / jitter_for(clients, nodes, 1e9) <= CLIENTS_PER_SECOND * 1.000001
    assert jitter_for(100_000, 1, 20.0) == 20.0
    assert jitter_for(1, 1, 0.5) == 0.5, "the longest counts before the shortest"
