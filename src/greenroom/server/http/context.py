"""What handlers are given of the service."""

from __future__ import annotations

from typing import Protocol

from greenroom.engines.base import Engine
from greenroom.server.cluster.admin import ClusterAdmin
from greenroom.server.cluster.counts import Counter
from greenroom.server.config import ServerConfig
from greenroom.server.events.long_polling import EventNews
from greenroom.server.sessions.control import SessionControl
from greenroom.server.telemetry.metrics import Metrics
from greenroom.server.tenants.applications import Tenants
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.wire.addresses import Limits


class HttpService(Protocol):
    """What the HTTP side needs of the service it belongs to."""

    @property
    def config(self) -> ServerConfig:
        """The settings."""

    @property
    def tenants(self) -> Tenants:
        """Applications and keys."""

    @property
    def engine(self) -> Engine:
        """Where shared state lives."""

    @property
    def limits(self) -> Limits:
        """Trusted proxies."""

    @property
    def news(self) -> EventNews:
        """Who waits for events."""

    @property
    def counter(self) -> Counter:
        """Counts of applications."""

    @property
    def cluster(self) -> ClusterAdmin:
        """What concerns all nodes."""

    @property
    def webhooks(self) -> WebhookDispatcher:
        """Who delivers events."""

    @property
    def control(self) -> SessionControl:
        """What backends and operators do to sessions."""

    @property
    def metrics(self) -> Metrics:
        """What is counted and measured."""

    @property
    def issuer(self) -> str:
        """The ``iss`` of tokens: a setting, by default the public URL."""

    @property
    def admin_token(self) -> str:
        """What /admin/v1 asks for."""
