"""The server API for the service itself: how the node is that answers, and the bounds that its settings give."""

from __future__ import annotations

import msgspec

from greenroom.server.cluster.detection_bounds import Bound, bounds_of
from greenroom.server.cluster.status import NodeHealth
from greenroom.server.http.routes import Call, Nothing, api
from greenroom.tokens.scopes import PARTICIPANTS_READ


class AnsweringNode(NodeHealth, frozen=True, kw_only=True, rename="camel"):
    """The node that answered."""

    name: str


class ServiceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """other_nodes: names of the others in the cluster. bounds: how long after something happened everybody knows."""

    node: AnsweringNode
    other_nodes: tuple[str, ...]
    bounds: tuple[Bound, ...]


async def get_service(call: Call[Nothing, Nothing, Nothing]) -> ServiceView:
    """The state of the node that answers, the other nodes, and the time within which everybody sees the truth."""
    status = call.context.cluster.status()
    health = {name: getattr(status, name) for name in NodeHealth.__struct_fields__}
    return ServiceView(
        node=AnsweringNode(name=status.node, **health),
        other_nodes=status.other_nodes,
        bounds=bounds_of(call.context.config),
    )


ROUTES = (api("GET /v1/service", get_service, "Show the state of the service", PARTICIPANTS_READ, tag="participants"),)
