"""Names in events of rooms: stored are ids only, so that an erase has nothing to rewrite there (R3)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import Registry
from greenroom.model import Event, ParticipantRecord


async def with_names(registry: Registry, app: str, events: Sequence[Event]) -> list[Event]:
    """The events; those of rooms with the external id and name that their participant has now, where there is one."""
    ids = tuple(dict.fromkeys(one.participant_id for one in events if _is_of_room(one)))
    if not ids:
        return list(events)
    page = await registry.participants(ParticipantQuery(app=app, ids=ids, limit=len(ids)))
    known = {record.id: record for record in page.items if record.version > 0}
    return [_named(one, known.get(one.participant_id)) if _is_of_room(one) else one for one in events]


def _is_of_room(event: Event) -> bool:
    return event.type.startswith("room.") and bool(event.participant_id)


def _named(event: Event, record: ParticipantRecord | None) -> Event:
    if record is None:
        return event
    names = {"externalId": record.external_id, "name": record.name or None}
    data = event.data | {name: value for name, value in names.items() if value is not None}
    return msgspec.structs.replace(event, data=data)
