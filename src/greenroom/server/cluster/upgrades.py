"""Which upgrades this node takes: none while it drains, or while it has no lease (S9, S10)."""

from __future__ import annotations

import random

from greenroom.server.cluster.node import Node
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.engine_calls import EngineCalls
from greenroom.server.sessions.hub import Hub
from greenroom.server.wire.interface import Handler, Refusal, UpgradeRequest


class SessionUpgrades:
    """What the front door asks about an upgrade. grace: seconds. chance: what delays are drawn from."""

    def __init__(self, hub: Hub, calls: EngineCalls, node: Node, *, grace: float, chance: random.Random) -> None:
        self._hub = hub
        self._calls = calls
        self._node = node
        self._grace = grace
        self._chance = chance

    def __call__(self, request: UpgradeRequest) -> Handler | Refusal:
        """The new connection, or why it is refused and when to come back."""
        node = self._node
        if node.draining:
            return _unavailable("draining", "The node is being shut down. Connect again.", 1)
        if node.current_lease() is None:
            return _unavailable("fenced", "The node has lost contact with the engine.", self._fenced_for())
        return SessionConnection(self._hub, self._calls, node, request)

    def _fenced_for(self) -> int:
        """Seconds: 15 to 30 with the default grace (S9). A client with a live old connection has no reason to hurry,
        and one without must be back before its grace is over, however short it is set."""
        grace = self._grace
        return self._chance.randint(max(1, round(grace * 3 / 8)), max(1, round(grace * 3 / 4)))


def _unavailable(word: str, text: str, seconds: int) -> Refusal:
    return Refusal.error(
        503, error="temporarily_unavailable", reason=word, description=text, headers={"Retry-After": str(seconds)}
    )
