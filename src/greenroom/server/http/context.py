"""What handlers are given of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from greenroom.core.requests import EndRequest
from greenroom.engines.base import Engine, Restricted, RestrictRequest
from greenroom.model import SessionRecord
from greenroom.server.cluster.admin import ClusterDesk
from greenroom.server.cluster.counts import Counter
from greenroom.server.config import ServerConfig
from greenroom.server.events.long_polling import EventNews
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
    def cluster(self) -> ClusterDesk:
        """What concerns all nodes."""

    @property
    def webhooks(self) -> WebhookDispatcher:
        """Who delivers events."""

    @property
    def metrics(self) -> Metrics:
        """What is counted and measured."""

    @property
    def issuer(self) -> str:
        """The ``iss`` of tokens: a setting, by default the public URL."""

    @property
    def admin_token(self) -> str:
        """What /admin/v1 asks for."""

    async def restrict(self, request: RestrictRequest) -> Restricted:
        """`Registry.restrict`, and what follows from it: the nodes that hold what it ended are told."""

    async def end_session(self, request: EndRequest) -> SessionRecord | None:
        """`Registry.close` by an operator; the node that holds the session is told. None: there was none to end."""

    async def announce_directory(self) -> None:
        """The directory has changed: every node is told to read it again."""

    def not_ready(self) -> str | None:
        """Why the node should get no traffic (draining, fenced, …), or None where it should."""

    def status(self) -> Mapping[str, Any]:
        """What an operator wants to know of this node, for `GET /admin/v1/status`."""
