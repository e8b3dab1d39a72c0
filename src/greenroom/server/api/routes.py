"""Every row of the HTTP API, and the description that is made from them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from greenroom.server.api import (
    admin,
    asyncapi,
    cluster,
    conferences,
    console,
    demo,
    events,
    issuers,
    metrics,
    participants,
    probes,
    restrictions,
    rooms,
    service,
    sessions,
    settings,
    start,
    tokens,
    webhooks,
)
from greenroom.server.http import static
from greenroom.server.http.openapi import document
from greenroom.server.http.routes import Answer, Call, Nothing, Origin, Route, public
from greenroom.server.version import version


async def openapi(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The description of everything under this host, made from the table of routes."""
    return Answer(_openapi_document())


@lru_cache(maxsize=1)
def _openapi_document() -> bytes:
    return msgspec.json.encode(document(API_ROUTES, version=version()))


API_ROUTES: tuple[Route, ...] = (
    *tokens.ROUTES,
    *participants.ROUTES,
    *restrictions.ROUTES,
    *sessions.ROUTES,
    *rooms.ROUTES,
    *conferences.ROUTES,
    *settings.ROUTES,
    *issuers.ROUTES,
    *events.ROUTES,
    *webhooks.ROUTES,
    *service.ROUTES,
    *asyncapi.ROUTES,
    *probes.ROUTES,
    public(
        "GET /openapi.json",
        openapi,
        "This description",
        tag="service",
        reply_type=dict[str, Any],
        headers={"Cache-Control": "public, max-age=300"},
        origin=Origin.ANY,
    ),
    *static.ROUTES,
    *metrics.ROUTES,
    *admin.ROUTES,
    *cluster.ROUTES,
)
"""The API; pages that are not part of its description are added by `all_routes`."""


def all_routes(*, demo_page: bool) -> tuple[Route, ...]:
    """What the service answers. demo_page: with the page of `greenroom serve --dev`."""
    pages = (*start.routes(demo_page=demo_page), *static.PAGES, *console.ROUTES, *(demo.ROUTES if demo_page else ()))
    return (*API_ROUTES, *pages)
