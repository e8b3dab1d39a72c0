"""The server API: what an app's backend asks of the service. One module for each subject; here are their rows."""

from __future__ import annotations

from greenroom.server import (
    asyncapi,
    events_api,
    participants_api,
    restrictions_api,
    service_api,
    sessions_api,
    settings_api,
    webhooks_api,
)

ROUTES = (
    *participants_api.ROUTES,
    *restrictions_api.ROUTES,
    *sessions_api.ROUTES,
    *settings_api.ROUTES,
    *events_api.ROUTES,
    *webhooks_api.ROUTES,
    *service_api.ROUTES,
    *asyncapi.ROUTES,
)

__all__ = ["ROUTES"]
