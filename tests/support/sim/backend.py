"""An app's backend in a simulated cluster: it reads events as they come, from whatever node answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom.errors import GreenroomError
from greenroom.model import Event
from tests.support.sim.oracles import events_of

if TYPE_CHECKING:
    from tests.support.sim.cluster import ClusterWorld

PAGE = 20


class Backend:
    """received: every event that it received, by id. resets: how many `partition.reset` it received."""

    def __init__(self, world: ClusterWorld) -> None:
        self._world = world
        self._cursor: str | None = None
        self.received: dict[str, Event] = {}
        self.resets = 0

    def read(self) -> None:
        """All there is now, as far as a node gives it."""
        world = self._world
        node = world.node
        while True:
            try:
                page = node.run(node.engine.outbox.read(world.application.key, self._cursor, PAGE))
            except GreenroomError as error:
                world.note(f"the backend reads nothing: {error.reason}")
                return
            self._cursor = page.cursor
            self.resets += page.reset
            for event in page.items:
                self.received[event.id] = event
            if not page.items:
                return


def backend_received_all(world: ClusterWorld) -> Iterator[str]:
    """Every event that is stored was given to the backend, and nothing else was."""
    world.backend.read()
    stored = {event.id: event for event in events_of(world)}
    for event_id in stored.keys() - world.backend.received.keys():
        yield f"the backend has not received {stored[event_id].type} {event_id}"
    for event_id in world.backend.received.keys() - stored.keys():
        yield f"the backend received {world.backend.received[event_id].type} {event_id}, which was lost"


__all__ = ["Backend", "backend_received_all"]
