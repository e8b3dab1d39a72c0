"""What a session may do in a room (R7)."""

from __future__ import annotations

from typing import NamedTuple

from greenroom.core.server.joining import allows
from greenroom.core.server.services import Now
from greenroom.core.server.session_rooms import SessionRooms
from greenroom.errors import RoomPermissionError, ScopeMissingError
from greenroom.model import Application, RoomGrant
from greenroom.room_names import grants_of

WATCH_SCOPE = "notifications:set"
_GRANTED = "granted"
_INVITEE_MAY = frozenset({"join", "watch", "send"})


class Rights(NamedTuple):
    """What decides whether a session may do something in a room (R7). rooms: None where it had to do with none."""

    application: Application | None
    scopes: tuple[str, ...]
    grants: tuple[RoomGrant, ...]
    rooms: SessionRooms | None

    @property
    def is_granted(self) -> bool:
        """Whether the token lists rooms: the application's `rooms.access`."""
        return self.application is not None and self.application.settings.rooms.access == _GRANTED

    def allow(self, permission: str, room: str, now: Now) -> bool:
        """Whether the session may. permission: ``join``, ``watch``, ``send``, ``invite`` or ``kick``."""
        if not self.is_granted:
            return permission != "watch" or allows(self.scopes, WATCH_SCOPE)
        granted = grants_of(self.grants, room)
        if granted is not None and permission in granted:
            return True
        rooms = self.rooms
        if rooms is None or permission not in _INVITEE_MAY:
            return False
        # Whoever is in a room that its token does not name came by an invitation, which may be over since.
        came_by_invitation = granted is None and permission != "join" and room in rooms.joined
        return came_by_invitation or rooms.is_invited(room, now)

    def check(self, permission: str, room: str, now: Now) -> None:
        """Raises what says which permission is missing. It plays no part whether the room exists."""
        if self.allow(permission, room, now):
            return
        if not self.is_granted:
            raise ScopeMissingError(scope=WATCH_SCOPE)
        raise RoomPermissionError(permission=permission)

    def lost_by(self, after: Rights, now: Now) -> tuple[str, ...]:
        """Rooms in which the session is, and which it might join by these rights and may not by those."""
        joined = () if self.rooms is None else self.rooms.joined
        return tuple(room for room in joined if self.allow("join", room, now) and not after.allow("join", room, now))

    def lost_by_setting(self, now: Now) -> tuple[str, ...]:
        """The same where the application's `rooms.access` has become ``granted``."""
        rooms = self.rooms
        if rooms is None or rooms.is_granted == self.is_granted:
            return ()
        rooms.is_granted = self.is_granted
        return tuple(room for room in rooms.joined if not self.allow("join", room, now))

    def unwatch(self, now: Now) -> tuple[str, ...]:
        """Rooms that the session may watch no more are not watched. Those whose changes it got."""
        if self.rooms is None:
            return ()
        sent = self.rooms.watches.sent
        lost = [room for room in sent if not self.allow("watch", room, now)]
        reported = tuple([room for room in lost if sent[room] >= 0])
        self.rooms.unwatched(lost)
        return reported
