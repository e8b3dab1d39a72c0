"""Events as apps see them: the same body from `GET /v1/events` and in webhooks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from greenroom.engines.base import EventPage
from greenroom.model import Event

EVENT_TYPES = (
    "session.opened",
    "session.detached",
    "session.resumed",
    "session.ended",
    "participant.updated",
    "participant.online",
    "participant.unreachable",
    "participant.offline",
    "room.opened",
    "room.joined",
    "room.left",
    "room.ended",
)
"""What can be asked for by name."""
ALWAYS = ("gap", "partition.reset", "webhook.test")
"""What a receiver gets whatever it asked for: it is about the stream itself."""


class EventView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened. timestamp and at are the same instant, for people and for programs (Unix ms).

    id: the same at every delivery of the event. participant_id and session_id are null where it concerns none.
    """

    id: str
    type: str
    timestamp: str
    at: int
    app_key: str
    participant_id: str | None
    session_id: str | None
    data: dict[str, Any]


def view_of_event(event: Event) -> EventView:
    """The event as it goes out."""
    return EventView(
        id=event.id,
        type=event.type,
        timestamp=iso(event.at),
        at=event.at,
        app_key=event.app,
        participant_id=event.participant_id or None,
        session_id=event.session_id,
        data=event.data,
    )


def iso(at: int) -> str:
    """Unix milliseconds as ISO 8601, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wanted(event_type: str, filters: tuple[str, ...]) -> bool:
    """Whether a receiver with these filters gets events of the type. ``session.*`` is all that begin so; none: all."""
    if not filters or event_type in ALWAYS or event_type in filters:
        return True
    return any(each.endswith(".*") and event_type.startswith(each[:-1]) for each in filters)


def notices(app: str, page: EventPage, before: str | None, at: int) -> list[Event]:
    """What there is to say about the stream before the events of a page (S16, S17), as events.

    Their ids follow from the cursor read at, so that reading again gives the same ones.
    """
    mark = hashlib.sha256(f"{app}\n{before}".encode()).hexdigest()[:24]
    found = []
    if page.reset:
        found.append(Event(id=f"reset:{mark}", type="partition.reset", at=at, app=app))
    if page.gap:
        found.append(Event(id=f"gap:{mark}", type="gap", at=at, app=app, data={"dropped": page.gap}))
    return found
