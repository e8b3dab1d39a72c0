"""The parts of the service that handlers work with."""

from __future__ import annotations

from dataclasses import dataclass

from greenroom.engines.base import Engine
from greenroom.server.cluster.admin import ClusterAdmin
from greenroom.server.cluster.counts import ApplicationCounter
from greenroom.server.config import ServerConfig
from greenroom.server.events.long_polling import EventNews
from greenroom.server.sessions.control import SessionControl
from greenroom.server.sessions.room_control import RoomControl
from greenroom.server.telemetry.metrics import Metrics
from greenroom.server.tenants.applications import Tenants
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.wire.addresses import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpContext:
    """What the composition hands to the HTTP side. limits: trusted proxies. issuer: the ``iss`` of tokens.
    admin_token: what /admin/v1 asks for."""

    config: ServerConfig
    tenants: Tenants
    engine: Engine
    limits: Limits
    news: EventNews
    counter: ApplicationCounter
    cluster: ClusterAdmin
    webhooks: WebhookDispatcher
    control: SessionControl
    rooms: RoomControl
    metrics: Metrics
    issuer: str
    admin_token: str
