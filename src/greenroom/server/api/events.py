"""The server API for events: the pull side, with long polling."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from greenroom.engines.base import EventPage
from greenroom.server.api.common import MAX_PAGE, Limit
from greenroom.server.events.names import with_names
from greenroom.server.events.views import EventView, notices, view_of_event, wanted
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Call, Nothing, api
from greenroom.tokens.scopes import EVENTS_READ

MAX_WAIT = 30.0
"""Seconds that a poll may wait: well below what proxies allow an answer."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. after: `cursor` of the answer before; left out: from the oldest kept; `now`: only new ones. latest:
    in place of after."""

    after: (
        Annotated[
            str,
            Meta(
                max_length=4096,
                description="`cursor` of the previous answer; `now`: only new events. Left out: all stored events.",
            ),
        ]
        | UnsetType
    ) = UNSET
    latest: (
        Annotated[
            int, Meta(ge=1, le=MAX_PAGE, description="Instead of `after`: at most this many of the latest events.")
        ]
        | None
    ) = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT, description="Seconds to wait if there are no events.")] = 0.0
    limit: Limit = 100
    type: Annotated[
        tuple[str, ...],
        Meta(
            max_length=20, description="An event type, like `session.ended` or `session.*`; repeatable. Left out: all."
        ),
    ] = ()


class EventPageView(msgspec.Struct, frozen=True, kw_only=True):
    """Events in order, and where to continue: cursor is also valid where there are none."""

    items: tuple[EventView, ...]
    cursor: str


async def read_events(call: Call[Nothing, EventsQuery, Nothing]) -> EventPageView:
    """Events after a cursor, in order for each participant; kept for 72 hours. With `wait` the answer comes when there
    is one, or when the time is over. Where events were dropped before they were read the first item is a `gap` with
    their number; where a partition lost its past, a `partition.reset`."""
    query = call.query
    app = call.app.key
    outbox = call.context.engine.outbox
    after = None if isinstance(query.after, UnsetType) or not query.after else query.after
    if query.latest is not None:
        if after is not None:
            raise illegal("Send after or latest, not both.")
        page = await outbox.latest(app, query.latest)
        items = await _items(call, page, page.cursor)
        if items:
            return EventPageView(items=items, cursor=page.cursor)
        after = page.cursor
    elif after == "now":
        after = await outbox.newest(app)
    news = call.context.news
    left = query.wait
    clock = time.monotonic
    until = clock() + left
    while True:
        mark = news.mark(app)
        page = await outbox.read(app, after, query.limit)
        items = await _items(call, page, after)
        left = until - clock()
        if items or left <= 0 or not news.may_wait(app):
            return EventPageView(items=items, cursor=page.cursor)
        after = page.cursor
        if not page.items:
            await news.wait(app, mark, left)


async def _items(call: Call[Any, EventsQuery, Any], page: EventPage, after: str | None) -> tuple[EventView, ...]:
    events = [*notices(call.app.key, page, after, int(call.now * 1000)), *page.items]
    redacted = call.context.tenants.revocations.redacted
    found = [event for event in events if wanted(event.type, call.query.type)]
    named = await with_names(call.context.engine.registry, call.app.key, found)
    return tuple(view_of_event(redacted(event)) for event in named)


ROUTES = (api("GET /v1/events", read_events, "Fetch events", EVENTS_READ, tag="events"),)
