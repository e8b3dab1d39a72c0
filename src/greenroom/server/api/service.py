"""The server API for the service itself: how the node is that answers, and the bounds that its settings give."""

from __future__ import annotations

import msgspec

from greenroom.server.api.common import Nothing, row
from greenroom.server.cluster.detection_bounds import Bound, bounds_of
from greenroom.server.http.routes import Call
from greenroom.tokens.scopes import PARTICIPANTS_READ


class NodeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The node that answered. not_ready: why it should get no traffic, null where it should. uptime,
    clock_difference (to the engine's) and reaper_lag: seconds. reaper_failing: "" while it does not."""

    name: str
    version: str
    state: str
    not_ready: str | None
    uptime: float
    engine: str
    kept_writes: int
    clock_difference: float
    reaper_lag: float
    reaper_failing: str


class ServiceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """other_nodes: names of the others in the cluster. bounds: how long after something happened everybody knows."""

    node: NodeView
    other_nodes: tuple[str, ...]
    bounds: tuple[Bound, ...]


async def get_service(call: Call[Nothing, Nothing, Nothing]) -> ServiceView:
    """How the node is that answers, which others there are, and within what time everybody knows the truth."""
    status = call.service.status()
    node = msgspec.convert({**status, "name": status["node"]}, NodeView)
    return ServiceView(node=node, other_nodes=tuple(status["otherNodes"]), bounds=bounds_of(call.service.config))


ROUTES = (
    row(
        "GET",
        "/v1/service",
        get_service,
        "Look at the service itself",
        tag="participants",
        scope=PARTICIPANTS_READ,
        reply=ServiceView,
    ),
)

__all__ = ["ROUTES"]
