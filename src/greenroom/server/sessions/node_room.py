"""One room, as a node has it: who of its sessions is there or watches, and the copy of the roster."""

from __future__ import annotations

import asyncio

from greenroom.core.rooms.news import RosterChange
from greenroom.core.rooms.watching import WatchedRoster
from greenroom.errors import GreenroomError
from greenroom.server.sessions.connection import SessionConnection

RoomKey = tuple[str, str]
"""Application and name."""


class NodeRoom:
    """One room, as this node has it."""

    __slots__ = ("app", "asking", "early", "error", "flushed", "is_queued", "is_subscribed", "is_whole", "members",
                 "name", "reading", "roster", "subscribing", "waiting", "watchers")  # fmt: skip

    def __init__(self, app: str, name: str) -> None:
        self.app = app
        self.name = name
        self.members: dict[SessionConnection, None] = {}
        """Connections whose session is in the room."""
        self.watchers: dict[SessionConnection, None] = {}
        self.asking = 0
        """Requests under way that need it."""
        self.is_subscribed = False
        self.subscribing: asyncio.Task[None] | None = None
        self.error: GreenroomError | None = None
        """What the last subscribing or reading failed with."""
        self.roster: WatchedRoster | None = None
        """While someone watches the room, or asks to."""
        self.is_whole = False
        """Whether all pages of the roster were read."""
        self.reading: asyncio.Task[None] | None = None
        self.early: list[RosterChange] = []
        """Changes that wait for the roster."""
        self.flushed = 0
        """The version that was sent to watchers."""
        self.is_queued = False
        """Whether a change is going to be sent, which brings what has changed until then."""
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits until the roster is at a version."""

    @property
    def has_copy(self) -> bool:
        """Whether the node's copy is what the engine has, but for what is on its way."""
        return self.is_whole and self.roster is not None and self.reading is None

    @property
    def key(self) -> RoomKey:
        return self.app, self.name

    @property
    def is_needed(self) -> bool:
        """Whether the node has to know of it."""
        return bool(self.members or self.watchers or self.asking)
