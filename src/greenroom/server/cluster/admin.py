"""This node's part in what concerns all nodes: the roll call, and being told to drain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from greenroom.engines.base import Command, Engine, NodeRecord
from greenroom.errors import NotFoundError
from greenroom.server.cluster.doctor.survey import COMPARE, HELD, REPORT, NodeReport, RollCall
from greenroom.server.version import version

if TYPE_CHECKING:
    from greenroom.server.service import Service

log = structlog.stdlib.get_logger("greenroom.server")

SAME_EVERYWHERE = (
    "engine", "grace", "grace_left", "grace_unconfirmed", "lease", "renew_interval", "fence_after", "reap_interval",
    "ping_interval", "pong_timeout", "token_overrun", "signing_alg",
)  # fmt: skip
"""Settings of which a cluster can have one value only."""
DRAIN = "drain"


class ClusterDesk:
    """One for each node. Implements `doctor.examination.Cluster`."""

    def __init__(self, service: Service, name: str, random_hex: Callable[[], str]) -> None:
        self._service = service
        self.drain_rate: float | None = None
        """Sessions a second that the coming drain moves; None: as many as the other nodes take."""
        self.on_drain: Callable[[], None] = self._get_no_more
        """Stops the process; what stops it drains it. `Service.serve` sets it."""
        self.roll_call = RollCall(
            name, tell=service.engine.bus.tell, report=self.report, held=self._held, random_hex=random_hex
        )

    def _get_no_more(self) -> None:
        """A service that is a part of another program does not end that program: it is not ready from now on."""
        log.warning("asked to drain: not ready from now on; the program that this service is a part of must stop it")
        self._service.node.draining = True

    @property
    def engine(self) -> Engine:
        return self._service.engine

    @property
    def longest_grace(self) -> float:
        return self._service.config.grace

    def known_nodes(self) -> Sequence[NodeRecord]:
        """As the last beat listed them, this one too."""
        return self._service.node.known

    def engine_now(self) -> int:
        """Unix ms, as the engine counts."""
        service = self._service
        return int((service.clocks.wall() - service.node.clock_difference) * 1000)

    def report(self) -> NodeReport:
        """How this node is."""
        service = self._service
        return NodeReport(
            node=service.node.name,
            boot=service.node.boot,
            version=version(),
            state=service.node.state.value,
            not_ready=service.not_ready(),
            sessions=len(service.hub.sessions),
            connections=len(service.hub.connections),
            kept_writes=len(service.desk.kept),
            clock_difference=round(service.node.clock_difference, 3),
            reaper_lag=service.reaper.lag,
            reaper_failing=service.reaper.failing,
            uptime=round(service.uptime, 1),
            settings=self._settings(),
        )

    def _settings(self) -> dict[str, str]:
        service = self._service
        found = {name: f"{getattr(service.config, name)}" for name in SAME_EVERYWHERE}
        # An address may hold a password, and two addresses may lead to one engine: its kind is what is told.
        found["engine"] = service.engine.name
        found["issuer"] = service.issuer
        found["master_key"] = service.tenants.master_key_fingerprint
        return found

    def _held(self) -> list[tuple[str, int]]:
        held = []
        for session_id, connection in self._service.hub.sessions.items():
            owner = connection.machine.owner
            if owner is not None:
                held.append((session_id, owner.generation))
        return held

    def hears(self, command: Command) -> bool:
        """Whether it was one of ours."""
        if command.kind == REPORT:
            self._service.hub.spawn(self.roll_call.answer(command))
        elif command.kind == HELD:
            self.roll_call.heard(command)
        elif command.kind == COMPARE:
            self._service.hub.spawn(self._service.node.compare())
        elif command.kind == DRAIN:
            self.drain_rate = float(command.text) if command.text else None
            self.on_drain()
        else:
            return False
        return True

    async def drain(self, node: str | None, rate: float | None) -> NodeRecord:
        """Tell a node (None: this one) to move its clients and stop. Raises NotFoundError for a node that is not
        there."""
        wanted = node or self._service.node.name
        known = {one.node: one for one in self.known_nodes() if one.lease_left > 0}
        if wanted not in known:
            raise NotFoundError(f"There is no node {wanted}.", hint="See: greenroom nodes.")
        await self.engine.bus.tell(wanted, Command(kind=DRAIN, text="" if rate is None else f"{rate:g}"))
        return known[wanted]


__all__ = ["ClusterDesk"]
