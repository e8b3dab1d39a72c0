"""What operators ask of a node about itself and about all nodes: its status, a survey, a drain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import structlog

from greenroom.core.commands import CompareCommand, DrainCommand, NodeCommand, SurveyAnswerCommand, SurveyCommand
from greenroom.engines.base import Engine, NodeRecord
from greenroom.errors import NotFoundError
from greenroom.server.clocks import Clocks
from greenroom.server.cluster.doctor.survey import Survey
from greenroom.server.cluster.node import Node
from greenroom.server.cluster.readiness import ReadinessCheck
from greenroom.server.cluster.reaper import Reaper
from greenroom.server.cluster.status import KeySetStatus, NodeStatus
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.session_writes import SessionWrites
from greenroom.server.tenants.key_sets import KeySets
from greenroom.server.version import version

log = structlog.stdlib.get_logger("greenroom.server")

SAME_EVERYWHERE = (
    "grace", "grace_going_away", "grace_unconfirmed", "lease", "renew_interval", "fence_after", "reap_interval",
    "ping_interval", "pong_timeout", "token_grace", "signing_alg",
)  # fmt: skip
"""Settings of which a cluster can have one value only."""


MAX_KEY_SETS = 50
"""Failing key sets that a node's status names."""


class ClusterAdmin:
    """One for each node. Implements `doctor.examination.SurveyedCluster`.

    same_everywhere: what else has to be the same on every node, beside settings; of secrets a fingerprint.
    durability: what the engine promises, a line each. stop: asks for the end of the process, which drains the node.
    """

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        writes: SessionWrites,
        node: Node,
        reaper: Reaper,
        config: ServerConfig,
        *,
        key_sets: KeySets,
        same_everywhere: dict[str, str],
        durability: tuple[str, ...],
        clocks: Clocks,
        random_hex: Callable[[], str],
        stop: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.longest_grace = config.grace
        self.drain_rate: float | None = None
        """Sessions a second that the coming drain moves; None: as many as the other nodes take."""
        self.survey = Survey(
            node.name, send=engine.bus.send, status=self.status, held=self._held, random_hex=random_hex
        )
        self.readiness = ReadinessCheck(engine, node, clocks.monotonic)
        self._hub = hub
        self._writes = writes
        self._node = node
        self._reaper = reaper
        self._key_sets = key_sets
        self._durability = durability
        self._clocks = clocks
        self._started_at = clocks.monotonic()
        self._stop = stop
        # An address may hold a password, and two addresses may lead to one engine: only its kind is shown.
        self._settings = {
            "engine": engine.name,
            **{name: f"{getattr(config, name)}" for name in SAME_EVERYWHERE},
            **same_everywhere,
        }

    def known_nodes(self) -> Sequence[NodeRecord]:
        """As the last beat listed them, this one too."""
        return self._node.known

    def engine_now(self) -> int:
        """Unix ms, as the engine counts."""
        return int((self._clocks.wall() - self._node.clock_difference) * 1000)

    def status(self) -> NodeStatus:
        """How this node is."""
        node, hub = self._node, self._hub
        return NodeStatus(
            node=node.name,
            boot=node.boot,
            version=version(),
            state=node.state.value,
            not_ready=node.not_ready(),
            url=node.url,
            engine=self.engine.name,
            durability=self._durability,
            uptime=round(self._clocks.monotonic() - self._started_at, 1),
            sessions=len(hub.sessions),
            connections=len(hub.connections),
            kept_writes=len(self._writes.deferred),
            clock_difference=round(node.clock_difference, 3),
            reaper_lag=self._reaper.lag,
            reaper_failing=self._reaper.failing,
            rooms_lag=self._reaper.rooms_lag,
            rooms_failing=self._reaper.rooms_failing,
            other_nodes=tuple(one.node for one in node.others),
            key_sets_failing=self._failing_key_sets(),
            settings=self._settings,
        )

    def _failing_key_sets(self) -> tuple[KeySetStatus, ...]:
        failing = (item for item in self._key_sets.states.items() if item[1].failures)
        return tuple(
            KeySetStatus(app=app, issuer=issuer, age=one.age, failures=one.failures, why=one.why)
            for (app, issuer), one in islice(failing, MAX_KEY_SETS)
        )

    def _held(self) -> list[tuple[str, int]]:
        held = []
        for session_id, connection in self._hub.sessions.items():
            owner = connection.context.owner
            if owner is not None:
                held.append((session_id, owner.generation))
        return held

    def command(self, command: NodeCommand) -> None:
        """Another node, or this one, asks for something."""
        if isinstance(command, SurveyCommand):
            self._hub.spawn(self.survey.answer(command))
        elif isinstance(command, SurveyAnswerCommand):
            self.survey.answered(command)
        elif isinstance(command, CompareCommand):
            self._hub.spawn(self._node.recovery.compare())
        elif isinstance(command, DrainCommand):
            self.drain_rate = float(command.rate) if command.rate else None
            log.info("asked to drain: not ready from now on")
            self._node.begin_draining()
            self._stop()

    async def drain(self, node: str | None, rate: float | None) -> NodeRecord:
        """Ask a node (None: this one) to move its clients and stop. Raises NotFoundError for a node that is not
        there."""
        wanted = node or self._node.name
        known = {one.node: one for one in self.known_nodes() if one.lease_left > 0}
        if wanted not in known:
            raise NotFoundError(f"There is no node {wanted}.", hint="See: greenroom nodes.")
        await self.engine.bus.send(wanted, DrainCommand(rate="" if rate is None else f"{rate:g}"))
        return known[wanted]
