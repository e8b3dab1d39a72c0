"""Reading: rooms and rosters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apsw

from greenroom.core.requests import folded
from greenroom.core.rooms.requests import JoinRoom, RoomPage, RoomQuery, Roster, RosterQuery
from greenroom.engines.cursors import decode_cursor, encode_cursor
from greenroom.engines.embedded.queries import LOOKED_AT
from greenroom.engines.embedded.room_rows import CLOSED, ROOM_COLUMNS, RoomRow, decode_member, decode_names
from greenroom.engines.paging import page_limit
from greenroom.engines.rooms import REMOVALS_KEPT, ROSTER_BYTES, cursor_after
from greenroom.model import MemberRecord, RoomRecord

_ROOMS = f"SELECT {ROOM_COLUMNS} FROM rooms"
_LEFT = """SELECT participant FROM removals WHERE version > ? AND +r = ?
 AND NOT EXISTS (SELECT 1 FROM members WHERE members.r = removals.r AND members.participant = removals.participant)
 LIMIT ?"""
"""Who left since and did not come back. The plus: by version, not through all that ever left the room."""
_OPEN = f"state < {CLOSED}"


# -- rosters ---------------------------------------------------------------------------------------------------------


def roster(query: RosterQuery, con: apsw.Connection) -> Roster:
    """A page, or what differs from `since` where that is known and no longer than a page."""
    after = None if query.cursor is None else decode_cursor("m", query.cursor, str)
    rows = [RoomRow(*found) for found in con.execute(f"{_ROOMS} WHERE app = ? AND name = ?", (query.app, query.room))]
    if not rows:
        return Roster(room=query.room)
    (room,) = rows
    if query.since is not None and after is None:
        found = _differences(query, room, query.since, con)
        if found is not None:
            return found
    return _page(query, room, after, con)


def first_page(query: JoinRoom, room: RoomRow | None, con: apsw.Connection) -> Roster:
    """As `roster`, of a room that was read. con: the connection that sees the room's members as they are."""
    if room is None:
        return Roster(room=query.room)
    return _answer(query, room) if query.brief else _page(query, room, None, con)


def _page(query: RosterQuery | JoinRoom, room: RoomRow, after: str | None, con: apsw.Connection) -> Roster:
    sql = "SELECT record FROM members WHERE r = ? AND participant > ? ORDER BY participant"
    members: list[MemberRecord] = []
    cursor = None
    left = ROSTER_BYTES
    if not room.detailed and not query.limit and after is None:
        return _answer(query, room, cursor=cursor_after(""))
    for (record,) in con.execute(sql, (room.n, after or "")):  # left before its end: the cursor goes with the loop
        left -= len(record)
        if members and (left < 0 or len(members) == query.limit):
            cursor = cursor_after(members[-1].id)
            break
        members.append(decode_member(record))
    return _answer(query, room, members=tuple(members), cursor=cursor)


def _differences(query: RosterQuery, room: RoomRow, since: int, con: apsw.Connection) -> Roster | None:
    """None where the room does not remember back to that version, or the whole roster is no longer."""
    if since > room.version or since < room.forgotten:
        return None
    if not room.detailed:
        return _answer(query, room, since=since)
    left = tuple(found for (found,) in con.execute(_LEFT, (since, room.n, REMOVALS_KEPT + 1)))
    sql = "SELECT record FROM members WHERE r = ? AND version > ? ORDER BY participant"
    records = [record for (record,) in con.execute(sql, (room.n, since))]
    size = sum(map(len, records)) + sum(map(len, left))
    if len(left) > REMOVALS_KEPT or size > ROSTER_BYTES or 0 < query.limit < len(records):
        return None
    return _answer(query, room, members=tuple(map(decode_member, records)), left=tuple(sorted(left)), since=since)


def _answer(
    query: RosterQuery | JoinRoom,
    room: RoomRow,
    *,
    members: tuple[MemberRecord, ...] = (),
    left: tuple[str, ...] = (),
    since: int | None = None,
    cursor: str | None = None,
) -> Roster:
    return Roster(
        room=query.room,
        version=room.version,
        count=room.count,
        detailed=bool(room.detailed),
        members=members,
        left=left,
        since=since,
        cursor=cursor,
        record=None if room.state == CLOSED else room.record(),
    )


# -- rooms -----------------------------------------------------------------------------------------------------------


def rooms(query: RoomQuery, con: apsw.Connection) -> RoomPage:
    """Those named, the one with the id, or a list by name."""
    if query.names is not None:
        return RoomPage(tuple(_named(con, query.app, query.names)))
    if query.room_id is not None:
        found = con.execute(f"{_ROOMS} WHERE app = ? AND id = ? AND {_OPEN}", (query.app, query.room_id))
        return RoomPage(tuple(RoomRow(*row).record() for row in found))
    after = "" if query.cursor is None else decode_cursor("r", query.cursor, str)
    if query.participant_id is not None:
        return _of_participant(query, query.participant_id, after, con)
    return _listing(query, after, con)


def _named(con: apsw.Connection, app: str, names: Iterable[str]) -> Iterator[RoomRecord]:
    for name in names:
        for found in con.execute(f"{_ROOMS} WHERE app = ? AND name = ? AND {_OPEN}", (app, name)):
            yield RoomRow(*found).record()


def _of_participant(query: RoomQuery, participant_id: str, after: str, con: apsw.Connection) -> RoomPage:
    names: list[str] = []
    sql = "SELECT rooms FROM participants WHERE app = ? AND id = ? AND rooms IS NOT NULL"
    for (stored,) in con.execute(sql, (query.app, participant_id)):
        names = [name for name in decode_names(stored) if name > after and folded(query.search) in folded(name)]
    names.sort()
    limit = page_limit(query.limit)
    cursor = encode_cursor("r", names[limit - 1]) if len(names) > limit else None
    return RoomPage(tuple(_named(con, query.app, names[:limit])), cursor)


def _listing(query: RoomQuery, after: str, con: apsw.Connection) -> RoomPage:
    """No call looks at more than `LOOKED_AT` rooms."""
    limit = page_limit(query.limit)
    wanted = folded(query.search)
    items: list[RoomRecord] = []
    found = con.execute(f"{_ROOMS} WHERE app = ? AND name > ? ORDER BY name", (query.app, after))
    for looked_at, row in enumerate(found):
        if looked_at == LOOKED_AT or len(items) == limit:
            return RoomPage(tuple(items), encode_cursor("r", after))
        room = RoomRow(*row)
        after = room.name
        if room.state != CLOSED and wanted in folded(room.name):
            items.append(room.record())
    return RoomPage(tuple(items))
