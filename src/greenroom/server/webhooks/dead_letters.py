"""What is stored of an application's endpoints, beside the endpoints themselves: dead letters and replays."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom.engines.base import Outbox
from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.events.views import wanted
from greenroom.server.webhooks.worker import reader_of, replay_reader_of

MAX_LISTED = 10_000
"""Dead letters looked through at a time; engines keep at most so many for a reader."""
MAX_REPLAYED = 1000
"""Events queued by one call; the caller continues from where it ended."""


async def forget_participant(outbox: Outbox, app: Application, participant_id: str) -> None:
    """Drops the participant's dead letters and replays of all endpoints."""
    for endpoint in app.webhooks:
        for reader in (reader_of(endpoint.id), replay_reader_of(endpoint.id)):
            kept = await outbox.aside(app.key, reader, MAX_LISTED)
            ids = [event.id for event, _ in kept if event.participant_id == participant_id]
            if ids:
                await outbox.drop_aside(app.key, reader, ids)


async def forget_endpoint(outbox: Outbox, app_key: str, endpoint_id: str) -> None:
    """Drops everything that is kept for an endpoint."""
    for reader in (reader_of(endpoint_id), replay_reader_of(endpoint_id)):
        while kept := await outbox.aside(app_key, reader, 1000):
            await outbox.drop_aside(app_key, reader, [event.id for event, _ in kept])


async def replay_dead_letters(
    outbox: Outbox, app_key: str, endpoint_id: str, only: Iterable[str] | None
) -> tuple[int, bool]:
    """Queues dead letters again, oldest first; only: these ids. (How many, whether there are more.)

    First queued, then dropped: what fails in between leaves an event in both, never in none.
    """
    chosen = None if only is None else frozenset(only)
    kept = await outbox.aside(app_key, reader_of(endpoint_id), MAX_LISTED)
    events = [event for event, _ in kept if chosen is None or event.id in chosen]
    now, later = events[:MAX_REPLAYED], events[MAX_REPLAYED:]
    await _queue(outbox, app_key, endpoint_id, now)
    await outbox.drop_aside(app_key, reader_of(endpoint_id), [event.id for event in now])
    return len(now), bool(later)


async def replay_range(
    outbox: Outbox, app_key: str, endpoint: WebhookEndpoint, first_at: int, last_at: int
) -> tuple[int, int | None]:
    """Queues the events between two instants that are still kept. (How many, the instant to continue from or None.)

    Where there is more, the instant is that of the last event queued, so some of that millisecond come twice.
    """
    page = await outbox.replay(app_key, first_at, last_at, MAX_REPLAYED)
    await _queue(outbox, app_key, endpoint.id, [each for each in page.items if wanted(each.type, endpoint.events)])
    return len(page.items), page.items[-1].at if len(page.items) >= MAX_REPLAYED else None


async def _queue(outbox: Outbox, app_key: str, endpoint_id: str, events: list[Event]) -> None:
    if events:
        await outbox.set_aside(app_key, replay_reader_of(endpoint_id), events, "to be sent again")
