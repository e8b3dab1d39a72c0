"""Names in events of rooms are those that participants have when the events are read."""

from __future__ import annotations

from greenroom.model import Event
from greenroom.server.events.names import with_names
from tests.core.server.rig import ANNA, APP
from tests.server.shell import running_shell


def _event(kind: str, participant_id: str = ANNA) -> Event:
    return Event(id=kind, type=kind, at=1, app=APP, participant_id=participant_id, data={"roomId": "r"})


async def test_rooms_events_get_names_and_no_others() -> None:
    async with running_shell() as shell:
        await shell.open("anna", participant={"name": "Anna"})
        events = [
            _event("room.joined"),
            _event("session.opened"),
            _event("room.ended", ""),
            _event("room.left", "gone"),
        ]
        joined, *others = await with_names(shell.inner.registry, APP, events)
        assert joined.data == {"roomId": "r", "externalId": "anna", "name": "Anna"}
        assert others == events[1:]


async def test_events_without_a_participant_ask_the_engine_nothing() -> None:
    async with running_shell() as shell:
        events = [_event("session.opened"), _event("room.ended", "")]
        shell.away = True
        assert await with_names(shell.engine.registry, APP, events) == events
