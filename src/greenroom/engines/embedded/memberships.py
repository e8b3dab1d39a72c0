"""The roster follows the rows (R2): what every change of a participant's sessions means for the rooms they are in.

Which sessions are in which rooms is written with the sessions, and with nothing else. `follow` reads that and makes the
rosters say the same, in the same transaction: no mark is ever left behind here. The number of a change is the version
that it gives the roster.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.core.rooms.marks import next_number
from greenroom.core.rooms.members import member_presence, roster_attributes
from greenroom.engines.base import NOTIFY_AFTER
from greenroom.engines.embedded.room_rows import (
    CLOSED,
    ENDING,
    MEMBER_COLUMNS,
    MemberRow,
    RoomRow,
    decode_member,
    decode_names,
    encode_member,
    encode_names,
)
from greenroom.engines.embedded.rows import ATTACHED, ParticipantRow, SessionRow
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.rooms import RECORD_PERIOD, REMOVAL_MEMORY, RosterChange
from greenroom.model import Event, MemberRecord, Presence

_NOTIFY_AFTER_MS = int(NOTIFY_AFTER * 1000)
_RECORD_PERIOD_MS = int(RECORD_PERIOD * 1000)
_REMOVAL_MEMORY_MS = int(REMOVAL_MEMORY * 1000)
_SELECT_MEMBER = f"SELECT {MEMBER_COLUMNS} FROM members WHERE r = ? AND participant = ?"
_INSERT_MEMBER = f"INSERT INTO members ({MEMBER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_UPDATE_MEMBER = (
    "UPDATE members SET version = ?, since = ?, update_at = ?, due = ?, record = ? WHERE r = ? AND participant = ?"
)


def member_rooms(participant: ParticipantRow) -> tuple[str, ...]:
    """Rooms in which the participant is a member."""
    return () if participant.rooms is None else decode_names(participant.rooms)


def follow(
    tx: Transaction,
    participant: ParticipantRow,
    reason: str,
    row: SessionRow | None = None,
    *,
    only: str | None = None,
) -> None:
    """Makes the rosters say what the participant's sessions say. reason: why it left the rooms that it is out of. row:
    one of the sessions, as it was saved. only: the room that has changed; None: any may have.

    Repeating it changes nothing; later it may, as what lasts for some time is shown then, and records that changed
    within a second of the change before.
    """
    rows = tx.sessions_of(participant) if row is None or participant.sessions > 1 else [row]
    before = member_rooms(participant)
    if only is None:
        names = tuple(dict.fromkeys([*before, *[name for each in rows for name in each.data.rooms]]))
    else:
        names = (only,)
    after = [name for name in before if name not in names]
    for name in names:
        inside = [each for each in rows if name in each.data.rooms]
        if inside:
            after.append(name)
        room = tx.room(participant.app, name)
        if room is None or room.state == CLOSED:
            continue
        if not inside:
            remove_member(tx, room, participant.id, reason)
        elif name not in before:
            _add(tx, room, participant, inside)
        else:
            _update(tx, room, participant, inside)
    if set(after) != set(before):
        participant.rooms = encode_names(tuple(after))
        tx.save_rooms(participant)


# -- members ---------------------------------------------------------------------------------------------------------


def _record(
    room: RoomRow,
    participant: ParticipantRow,
    *,
    presence: Presence = Presence.ONLINE,
    sessions: int,
    joined_at: int,
) -> MemberRecord:
    """The participant as the room's roster shows it. presence, sessions: of its sessions there."""
    return MemberRecord(
        id=participant.id,
        external_id=participant.external_id,
        name=participant.name,
        avatar_url=participant.avatar_url,
        status=participant.status,
        attributes=_shown_attributes(room, participant),
        presence=presence,
        sessions=sessions,
        joined_at=joined_at,
        record_version=participant.version,
    )


def _shown_attributes(room: RoomRow, participant: ParticipantRow) -> dict[str, str] | None:
    if room.attributes is None or participant.attributes is None:
        return None
    return roster_attributes(participant.attributes_by_name(), room.shown_attributes())


def _add(tx: Transaction, room: RoomRow, participant: ParticipantRow, rows: Sequence[SessionRow]) -> None:
    since = None if ATTACHED in [row.state for row in rows] else tx.clock
    record = _record(room, participant, sessions=len(rows), joined_at=tx.now)
    room.count += 1
    if room.due is not None:
        room.due = None
        tx.save_room(room)
    before = bump_room(tx, room)
    due = None if since is None else since + _NOTIFY_AFTER_MS
    update_at = tx.clock + _RECORD_PERIOD_MS
    row = (room.n, participant.id, room.version, since, update_at, due, encode_member(record))
    tx.execute(_INSERT_MEMBER, row)
    emit_room(tx, room, participant.id, "joined")
    publish_room(tx, room, before, joined=(record,))


def _update(tx: Transaction, room: RoomRow, participant: ParticipantRow, rows: Sequence[SessionRow]) -> None:
    found = tx.rows(_SELECT_MEMBER, (room.n, participant.id))
    if not found:
        _add(tx, room, participant, rows)  # of a damaged file
        return
    member = MemberRow(*found[0])
    record = decode_member(member.record)
    shown, since = member_presence(
        connected=sum(row.state == ATTACHED for row in rows),
        sessions=len(rows),
        shown=record.presence,
        since=member.since,
        clock=tx.clock,
        after=_NOTIFY_AFTER_MS,
    )
    due = None if since is None or shown is Presence.UNREACHABLE else since + _NOTIFY_AFTER_MS
    changed = msgspec.structs.replace(record, presence=shown, sessions=len(rows))
    fresh = _record(room, participant, presence=shown, sessions=len(rows), joined_at=record.joined_at)
    if _profile(fresh) != _profile(record):
        if tx.clock >= member.update_at:
            changed = fresh
            member.update_at = tx.clock + _RECORD_PERIOD_MS
        else:
            due = member.update_at if due is None else min(due, member.update_at)
    if changed == record and (since, due) == (member.since, member.due):
        return
    member.since, member.due = since, due
    before = room.version
    if changed != record:
        before = bump_room(tx, room)
        member.version = room.version
        member.record = encode_member(changed)
    tx.writes += 1
    tx.execute(
        _UPDATE_MEMBER,
        (member.version, since, member.update_at, due, member.record, room.n, participant.id),
    )
    if changed != record:
        publish_room(tx, room, before, changed=(changed,))


def _profile(record: MemberRecord) -> tuple[object, ...]:
    return record.external_id, record.name, record.avatar_url, record.status, record.attributes


def remove_member(tx: Transaction, room: RoomRow, participant_id: str, reason: str) -> None:
    """Out of the roster, which remembers it for `REMOVAL_MEMORY`; with the last member the room may end."""
    tx.writes += 1
    tx.execute("DELETE FROM members WHERE r = ? AND participant = ?", (room.n, participant_id))
    if not tx.con.changes():
        return
    room.count -= 1
    before = bump_room(tx, room)
    if room.detailed:  # of a counted room differences name nobody
        tx.execute("INSERT OR REPLACE INTO removals VALUES (?, ?, ?)", (room.n, participant_id, room.version))
    emit_room(tx, room, participant_id, "left", reason)
    ended = not room.count and (room.state == ENDING or not room.ttl)
    if ended:
        end_room(tx, room)
    elif not room.count:
        room.due = tx.clock + room.ttl
        tx.save_room(room)
    publish_room(tx, room, before, left=((participant_id, reason),), ended=ended)


def erase_from_rooms(tx: Transaction, app: str, participant_id: str) -> None:
    """Rooms remember no longer that someone who is erased has left them, or has opened them. Whoever knows the roster
    from before reads all of it."""
    if not tx.state.rooms.known:
        return
    left = tx.rows(
        "SELECT name, removals.version FROM removals JOIN rooms ON rooms.n = removals.r"
        " WHERE app = ? AND participant = ?",
        (app, participant_id),
    )
    for name, version in left:
        room = tx.room(app, name)
        assert room is not None, "it was just read"
        room.forgotten = max(room.forgotten, version)
        tx.save_room(room)
        tx.execute("DELETE FROM removals WHERE r = ? AND participant = ?", (room.n, participant_id))
    for (name,) in tx.rows("SELECT name FROM rooms WHERE app = ? AND opened_by = ?", (app, participant_id)):
        room = tx.room(app, name)
        assert room is not None, "it was just read"
        room.opened_by = ""
        tx.save_room(room)


# -- rooms -----------------------------------------------------------------------------------------------------------


def end_room(tx: Transaction, room: RoomRow) -> None:
    """An empty room ends. The caller publishes the change."""
    room.state, room.due = CLOSED, tx.clock + _REMOVAL_MEMORY_MS
    tx.state.rooms.open[room.app] -= 1
    tx.save_room(room)
    emit_room(tx, room, "", "ended")


def bump_room(tx: Transaction, room: RoomRow) -> int:
    """A version above the last and at or above the engine's time in microseconds. The one before. What else of the room
    changed than its count, the caller saves."""
    before, room.version = room.version, next_number(room.version, tx.now * 1000)
    tx.save_room_count(room)
    return before


def publish_room(
    tx: Transaction,
    room: RoomRow,
    since: int,
    *,
    joined: tuple[MemberRecord, ...] = (),
    changed: tuple[MemberRecord, ...] = (),
    left: tuple[tuple[str, str], ...] = (),
    ended: bool = False,
) -> None:
    """The change goes to the bus; of a counted room without names, and only where the count is another."""
    if not room.detailed and changed:
        return
    tx.room_news.append(
        RosterChange(
            app=room.app,
            room=room.name,
            version=room.version,
            since=since if room.detailed else 0,
            count=room.count,
            joined=joined if room.detailed else (),
            changed=changed,
            left=left if room.detailed else (),
            detailed=bool(room.detailed),
            ended=ended,
            room_id="" if ended else room.id,
        )
    )


def emit_room(tx: Transaction, room: RoomRow, participant_id: str, what: str, reason: str | None = None) -> None:
    """An event of the room, whose version rose with it (R3). It holds ids only."""
    data = {"room": room.name, "roomId": room.id}
    if reason is not None:
        data["reason"] = reason
    tx.emit(
        Event(
            id=f"{room.id}:{participant_id}:{room.version}:{what}",
            type="room." + what,
            at=tx.now,
            app=room.app,
            participant_id=participant_id,
            data=data,
        )
    )
