"""A room's roster as this client has it (R5).

A reply is a snapshot, or what differs from a version that this client had. A change counts only on a roster held at or
above its `since`. A roster of several pages changes while it is read: what a change said of a member counts over an
older page, so that nobody who left comes back.
"""

from __future__ import annotations

from collections.abc import Iterable

from greenroom.messages import RoomChanged, RoomMembersResult, WireMember, WireRoster
from greenroom.model import Member


class RosterUpdate:
    """What one message changed. is_stale: the message does not fit what is held; the roster has to be asked for."""

    def __init__(self, *, is_stale: bool = False) -> None:
        self.joined: list[Member] = []
        self.changed: list[Member] = []
        self.left: list[tuple[Member, str]] = []
        self.has_new_count = False
        self.is_stale = is_stale

    def __bool__(self) -> bool:
        return bool(self.joined or self.changed or self.left or self.has_new_count)


class LocalRoom:
    """A room that the app joined or watches."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id: str | None = None
        """The service's (the platform's conferenceId); None where the room is not open, or the service has not said."""
        self.is_joined = False
        """The session is a member, as far as this client knows, and the app has not left."""
        self.is_watched = False
        """The app watches it, a member or not."""
        self.has_changes = False
        """The service sends `rooms.changed`."""
        self.is_asked = False
        """What differs was asked for, and not answered yet."""
        self.is_detailed = True
        """False: changes bring the count alone, and no members are held."""
        self.version = 0
        self.count = 0
        self.members: dict[str, Member] = {}
        self.cursor: str | None = None
        """Of the next page; None: the roster is complete."""
        self.last_number = 0
        """Of its messages."""
        self.seen = 0
        """The highest version that a change had since the roster was asked for last."""
        self._unconfirmed: dict[str, None] = {}
        """Members held from before that no page has named yet, in their order."""
        self._named: dict[str, int] = {}
        """Whom changes have named since the first page, with their versions."""
        self._page_version = 0

    def known(self) -> tuple[str, int]:
        """Name and version for a question about what differs; an incomplete roster is asked for from the beginning."""
        self.is_asked, self.seen = True, 0
        if self.cursor is not None:
            self.version, self.cursor = 0, None
        return self.name, self.version

    def take(self, wire: WireRoster) -> RosterUpdate:
        """A roster from a reply: the whole one, its first page, or what differs."""
        update = RosterUpdate()
        self.is_asked = False
        self.id = wire.id or (self.id if wire.count else None)
        if wire.since and wire.version <= self.version:
            update.is_stale = self.version < self.seen
            return update  # changes have brought it meanwhile
        update.has_new_count = wire.count != self.count
        self.is_detailed, self.version, self.count = wire.detailed, wire.version, wire.count
        self._unconfirmed = {} if wire.since else dict.fromkeys(self.members)
        self._named, self._page_version = {}, 0
        self._remove(wire.left, "", update)
        self._take_page(wire.members, wire.version, wire.cursor, update)
        update.is_stale = self.version < self.seen
        return update

    def take_page(self, page: RoomMembersResult) -> RosterUpdate:
        """A later page."""
        update = RosterUpdate()
        self._take_page(page.members, page.version, page.cursor, update)
        return update

    def _take_page(self, members: Iterable[WireMember], version: int, cursor: str | None, update: RosterUpdate) -> None:
        if not self.is_detailed:
            members, cursor = (), None
        self._put((one for one in members if self._named.get(one.id, -1) <= version), update)
        self._page_version = max(self._page_version, version)
        self.cursor = cursor
        if cursor is None:
            self._remove(self._unconfirmed, "", update)
            self._unconfirmed, self._named = {}, {}

    def change(self, wire: RoomChanged) -> RosterUpdate:
        """`rooms.changed`."""
        self.seen = max(self.seen, wire.version)
        if wire.version <= self.version:
            return RosterUpdate()
        if self.is_detailed and wire.since > self.version:
            return RosterUpdate(is_stale=True)
        update = RosterUpdate()
        update.has_new_count = wire.count != self.count
        self.version, self.count = wire.version, wire.count
        self.id = wire.id or (self.id if wire.count else None)
        if self.is_detailed:
            came = [*wire.joined, *wire.changed]
            if self.cursor is not None:
                self._named |= dict.fromkeys([*(one.id for one in came), *(one for one, _ in wire.left)], wire.version)
            for one, reason in wire.left:
                self._remove([one], reason, update)
            self._put(came, update)
        if wire.ended:
            self._remove(self.members, "ended", update)
        is_complete = self.is_detailed and self.cursor is None and wire.version >= self._page_version
        update.is_stale = is_complete and len(self.members) != self.count
        return update

    def hide(self) -> RosterUpdate:
        """Its roster may no longer be seen."""
        update = RosterUpdate()
        update.has_new_count = self.count != 0
        self.count, self.cursor = 0, None
        self._named = {}
        self._remove(self.members, "", update)
        return update

    def _put(self, members: Iterable[WireMember], update: RosterUpdate) -> None:
        for wire in members:
            member, held = wire.to_member(), self.members.get(wire.id)
            self._unconfirmed.pop(wire.id, None)
            if member == held:
                continue
            self.members[wire.id] = member
            (update.joined if held is None else update.changed).append(member)

    def _remove(self, ids: Iterable[str], reason: str, update: RosterUpdate) -> None:
        for one in list(ids):
            self._unconfirmed.pop(one, None)
            held = self.members.pop(one, None)
            if held is not None:
                update.left.append((held, reason))
