"""The rooms of one session: those it is in and watches, and invitations that grant it something.

`SessionRooms` is made when a session first has to do with a room: sessions in no room have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from greenroom.core.rooms.watching import AnyRoster, RoomWatches, roster_to_wire
from greenroom.core.server.services import Now
from greenroom.messages import WireRoster
from greenroom.model import Invitation


class SessionRooms:
    """joined: rooms that the session is in already."""

    __slots__ = ("invitations", "is_granted", "joined", "touched", "watches")

    def __init__(self, joined: Iterable[str] = (), *, is_granted: bool) -> None:
        self.joined = tuple(joined)
        self.is_granted = is_granted
        """Whether the application's `rooms.access` was ``granted`` when that was looked at last."""
        self.watches = RoomWatches()
        self.invitations: dict[str, Invitation] = {}
        """By id: those that it knows of, until their time is over or they are declined."""
        self.touched = self.joined
        """Rooms that it joined, left, watches or watches no more, which the node has not seen yet."""

    def take_touched(self) -> tuple[str, ...]:
        """What is in `touched`, which the node sees now."""
        touched, self.touched = self.touched, ()
        return touched

    def _touch(self, room: str) -> None:
        if room not in self.touched:
            self.touched += (room,)

    @property
    def is_waiting(self) -> bool:
        """Whether something waits until the connection's buffer is empty."""
        return bool(self.watches.behind) or self.watches.is_waiting

    def note(self, invitation: Invitation, now: Now) -> bool:
        """An invitation came. False where it is known."""
        if invitation.id in self.invitations:
            return False
        ended = [key for key, one in self.invitations.items() if one.expires_at <= now.wall * 1000]
        for key in ended:
            del self.invitations[key]
        self.invitations[invitation.id] = invitation
        return True

    def is_invited(self, room: str, now: Now) -> bool:
        """Whether an invitation to the room lasts (R9)."""
        return any(one.room == room and one.expires_at > now.wall * 1000 for one in self.invitations.values())

    def entered(self, room: str) -> None:
        """The session is in the room."""
        if room not in self.joined:
            self.joined += (room,)
        self._touch(room)

    def left(self, room: str) -> bool:
        """The session is no longer in the room, and its watch has ended. False where it was not."""
        self._touch(room)
        self.watches.drop(room)
        was = room in self.joined
        self.joined = tuple([one for one in self.joined if one != room])
        return was

    def watched(self, room: str, version: int) -> None:
        """A reply with this version of its roster is written: what is newer follows."""
        if room in self.watches.sent:
            self.watches.sent[room] = version
            self._touch(room)

    def unwatched(self, rooms: Iterable[str]) -> tuple[str, ...]:
        """No longer watched. Those that were."""
        gone = tuple([room for room in rooms if room in self.watches.sent])
        for room in gone:
            self.watches.drop(room)
            self._touch(room)
        return gone

    def took(self, rosters: Sequence[AnyRoster], known: Mapping[str, int]) -> list[WireRoster]:
        """Rosters for a reply, which is written: those that differ from what is known."""
        for roster in rosters:
            self.watched(roster.room, roster.version)
        return [roster_to_wire(one) for one in rosters if known.get(one.room) != one.version]
