"""Rooms of a session that was opened or resumed: its memberships and watches continue, as far as its token allows (R1,
R7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from greenroom.core.requests import Attached
from greenroom.core.rooms.names import MAX_WATCHED_ROOMS
from greenroom.core.rooms.requests import WatchRooms
from greenroom.core.rooms.watching import AnyRoster, invitation_to_wire
from greenroom.core.server.room_changes import PERMISSION_LOST
from greenroom.core.server.room_rights import Rights
from greenroom.core.server.services import Now
from greenroom.core.server.session_rooms import SessionRooms
from greenroom.errors import GreenroomError
from greenroom.messages import OpenResult


class RoomsBack(NamedTuple):
    """Of a session that was attached. rooms: None where it has to do with none. watch: what to ask for before it is
    answered; None: nothing. leave: rooms that its token does not grant. unwatched: those that it watched, and may watch
    no more. news: for the result."""

    rooms: SessionRooms | None
    watch: WatchRooms | None
    leave: tuple[str, ...]
    unwatched: tuple[str, ...]
    news: dict[str, Any]

    def with_news(self, result: OpenResult, rosters: Sequence[AnyRoster] | GreenroomError | None) -> OpenResult:
        """The result, with what there is to say about rooms. rosters: the answer to `watch`."""
        news = dict(self.news)
        if self.rooms is not None and self.watch is not None:
            if rosters is None or isinstance(rosters, GreenroomError):
                self.rooms.unwatched(self.watch.rooms)
            else:
                news["rosters"] = self.rooms.took(rosters, self.watch.known)
        return replace(result, **news) if news else result


NO_ROOMS = RoomsBack(None, None, (), (), {})
"""Of a session that has to do with none."""


def come_back(
    attached: Attached,
    rights: Rights,
    known: Mapping[str, int],
    now: Now,
    *,
    bring_rosters: bool = False,
    has_new_token: bool = False,
    resuming: bool = True,
) -> RoomsBack:
    """What a session that was opened or resumed has to do with rooms. known: `watchingRooms`. bring_rosters: of all
    rooms that it is in, too."""
    record = attached.session
    if not (record.rooms or known or attached.lost_rooms or attached.invitations):
        return NO_ROOMS
    rooms = SessionRooms(record.rooms, is_granted=rights.is_granted)
    for invitation in attached.invitations:
        rooms.note(invitation, now)
    rights = rights._replace(rooms=rooms)
    leave: tuple[str, ...] = ()
    if has_new_token:
        leave = tuple(room for room in record.rooms if not rights.allow("join", room, now))
        for room in leave:
            rooms.left(room)
    news: dict[str, Any] = {}
    if resuming and rooms.joined:
        news["rooms"] = list(rooms.joined)
    lost = [*attached.lost_rooms, *((room, PERMISSION_LOST) for room in leave)]
    if resuming and lost:
        news["lost_rooms"] = lost
    if attached.invitations:
        news["invitations"] = [invitation_to_wire(one) for one in attached.invitations]
    named = dict.fromkeys([*known, *(rooms.joined if bring_rosters else ())])
    wanted = tuple([room for room in named if rights.allow("watch", room, now)][:MAX_WATCHED_ROOMS])
    unwatched = tuple([room for room in known if room not in wanted])
    if named and not wanted:
        news["rosters"] = []
    rooms.watches.hold(wanted)
    watching = {room: known[room] for room in wanted if room in known}
    watch = WatchRooms(app=record.app, rooms=wanted, known=watching) if wanted else None
    return RoomsBack(rooms, watch, leave, unwatched, news)
