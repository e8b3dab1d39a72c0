"""`create`, `join`, `leave`, kick, end, and what is due: operations on rooms, each in one transaction (R1 to R11)."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.core.rooms.marks import next_number
from greenroom.core.rooms.names import MAX_ROOMS_OF_SESSION, SHORTEST_EMPTY_TTL
from greenroom.core.rooms.requests import (
    Answered,
    AnswerInvitation,
    CreateRoom,
    EndRoom,
    Invited,
    InviteRequest,
    JoinRoom,
    KickMember,
    LeaveRoom,
    MembershipLost,
    Moderated,
    RoomLimits,
    Roster,
    Settled,
)
from greenroom.engines.base import PROTOCOL
from greenroom.engines.embedded.invitations import forget_invitations, keep_answer, keep_invitation
from greenroom.engines.embedded.memberships import (
    bump_room,
    emit_room,
    end_room,
    follow,
    member_rooms,
    publish_room,
    remove_member,
)
from greenroom.engines.embedded.room_queries import first_page
from greenroom.engines.embedded.room_rows import CLOSED, ENDING, OPEN, RoomRow, encode_names
from greenroom.engines.embedded.rows import ATTACHED, ParticipantRow
from greenroom.engines.embedded.session_steps import owned
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.rooms import ENDED_OF_PASS, REMOVAL_MEMORY, REPAIR_PERIOD, REPAIRS_OF_CALL
from greenroom.errors import (
    KeptOutError,
    RoomEndingError,
    RoomFullError,
    RoomLimitError,
    RoomPermissionError,
    RoomsUnavailableError,
)
from greenroom.model import erased_subject

_SHORTEST_EMPTY_MS = int(SHORTEST_EMPTY_TTL * 1000)
_REMOVAL_MEMORY_US = int(REMOVAL_MEMORY * 1_000_000)


def check_protocol(tx: Transaction) -> None:
    """Rooms are served only while every live node has them (R1)."""
    for node in tx.state.nodes.values():
        if node.beat.protocol < PROTOCOL:
            raise RoomsUnavailableError(retry_after=1.0)


# -- what sessions do ------------------------------------------------------------------------------------------------


def create_room(tx: Transaction, request: CreateRoom) -> None:
    check_protocol(tx)
    app = request.app if request.owner is None else owned(tx, request.owner).app
    if _find_open(tx, app, request.room) is not None:
        return
    _check_room_limit(tx, app, request.limits)
    ttl = int(request.ttl * 1000)
    room = _open(tx, request, app, request.opened_by, ttl=ttl, detailed=request.detailed)
    room.due = tx.clock + max(ttl, _SHORTEST_EMPTY_MS)


def join_room(tx: Transaction, request: JoinRoom) -> Roster:
    """Answered is the roster as it is then: that needs no look of its own at the file."""
    check_protocol(tx)
    row = owned(tx, request.owner)
    data, app, name = row.data, row.app, request.room
    if name in data.rooms:
        return first_page(request, tx.room(app, name), tx.con)
    if len(data.rooms) >= request.limits.rooms_of_session:
        raise RoomLimitError("The session is in as many rooms as a session may be.", hint="Leave one first.")
    kept_out = tx.state.rooms.kept_out
    until = kept_out.get((app, name, erased_subject(data.participant_id)), 0) if kept_out else 0
    if until > tx.now:
        raise KeptOutError(until=until)
    participant = tx.participant_of(row)
    room = _find_open(tx, app, name)
    if room is None:
        _check_room_limit(tx, app, request.limits)
        room = _open(tx, request, app, data.participant_id)
    elif name not in member_rooms(participant) and room.count >= most_members(room, request.limits):
        raise RoomFullError
    elif room.attributes != (shown := encode_names(request.limits.roster_attributes)):
        room.attributes = shown
        tx.save_room(room)
    data.rooms = (*data.rooms, name)
    if data.lost_rooms:
        data.lost_rooms = tuple([lost for lost in data.lost_rooms if lost[0] != name])
    tx.save_data(row)
    follow(tx, participant, "lost", row, only=name)
    return first_page(request, room, tx.con)


def leave_room(tx: Transaction, request: LeaveRoom) -> None:
    check_protocol(tx)
    row = owned(tx, request.owner)
    data, name = row.data, request.room
    if name in data.rooms:
        data.rooms = tuple([each for each in data.rooms if each != name])
        tx.save_data(row)
        follow(tx, tx.participant_of(row), request.reason, row, only=name)


def _find_open(tx: Transaction, app: str, name: str) -> RoomRow | None:
    """The room, if it is open. Raises RoomEndingError while it is being ended."""
    room = tx.room(app, name)
    if room is not None and room.state == ENDING:
        raise RoomEndingError(retry_after=1.0)
    return None if room is None or room.state == CLOSED else room


def most_members(room: RoomRow, limits: RoomLimits) -> int:
    """A detailed room does not become a counted one: it takes as many as it may show by name (R5)."""
    return min(limits.members, limits.detailed_members) if room.detailed else limits.members


def _check_room_limit(tx: Transaction, app: str, limits: RoomLimits) -> None:
    if tx.state.rooms.open.get(app, 0) >= limits.rooms:
        raise RoomLimitError("The application has reached its limit of rooms.")


def _open(
    tx: Transaction,
    request: CreateRoom | JoinRoom,
    app: str,
    opened_by: str,
    *,
    ttl: int = 0,
    detailed: bool = True,
) -> RoomRow:
    """Opens the room; one of this name that has ended continues with its versions."""
    room = tx.room(app, request.room)
    if room is None:
        # What watchers of a room of this name held before it was forgotten says nothing about this one.
        room = RoomRow(0, app, request.room, request.room_id, forgotten=next_number(0, tx.now * 1000))
    room.id, room.state, room.opened_by, room.opened_at = request.room_id, OPEN, opened_by, tx.now
    room.ttl, room.detailed, room.due = ttl, int(detailed), None
    room.attributes = encode_names(request.limits.roster_attributes)
    tx.save_room(room)
    before = bump_room(tx, room)
    counts = tx.state.rooms.open
    counts[app] = counts.get(app, 0) + 1
    emit_room(tx, room, opened_by, "opened")
    publish_room(tx, room, before)
    return room


# -- invitations -----------------------------------------------------------------------------------------------------


def send_invitation(tx: Transaction, request: InviteRequest) -> Invited:
    check_protocol(tx)
    return keep_invitation(tx, request)


def answer_invitation(tx: Transaction, request: AnswerInvitation) -> Answered:
    check_protocol(tx)
    row = owned(tx, request.owner)
    return keep_answer(tx, row.app, row.data.participant_id, request)


# -- taking out ------------------------------------------------------------------------------------------------------


def kick_member(tx: Transaction, request: KickMember) -> Moderated:
    check_protocol(tx)
    app, name = request.app, request.room
    room = tx.room(app, name)
    is_opener = room is not None and room.state != CLOSED and room.opened_by == request.by
    if request.by and not request.may_kick and not is_opener:
        raise RoomPermissionError(permission="kick")
    if request.seconds > 0:
        _keep_out(tx, app, name, request.participant_id, tx.now + int(request.seconds * 1000))
    participant = tx.participant(app, request.participant_id)
    if participant is None or name not in member_rooms(participant):
        return Moderated(changed=request.seconds > 0)
    return Moderated(lost=tuple(_take_out(tx, participant, name, "kicked")))


def _keep_out(tx: Transaction, app: str, name: str, participant_id: str, until: int) -> None:
    """By hashed id, so that an erase has nothing to do."""
    key = (app, name, erased_subject(participant_id))
    kept_out = tx.state.rooms.kept_out
    kept_out[key] = max(until, kept_out.get(key, 0))
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO kept_out VALUES (?, ?, ?, ?)", (*key, kept_out[key]))


def _take_out(tx: Transaction, participant: ParticipantRow, name: str, reason: str) -> list[MembershipLost]:
    """Ends the participant's memberships of the room. Those of connected sessions, whose nodes are to be notified; the
    others are when they resume."""
    lost: list[MembershipLost] = []
    for row in tx.sessions_of(participant):
        data = row.data
        if name not in data.rooms:
            continue
        data.rooms = tuple(each for each in data.rooms if each != name)
        data.lost_rooms = (*data.lost_rooms, (name, reason))[-MAX_ROOMS_OF_SESSION:]
        if row.state == ATTACHED:
            lost.append(MembershipLost(data.id, data.node, data.generation, name, reason))
        tx.save_data(row)
    follow(tx, participant, reason, only=name)
    return lost


def end_by_request(tx: Transaction, request: EndRoom) -> Moderated:
    check_protocol(tx)
    room = tx.room(request.app, request.room)
    if room is None or room.state == CLOSED:
        return Moderated(changed=False)
    changed = room.state == OPEN
    room.state = ENDING
    tx.save_room(room)
    return Moderated(lost=tuple(_empty(tx, room, ENDED_OF_PASS)), changed=changed)


def _empty(tx: Transaction, room: RoomRow, limit: int) -> list[MembershipLost]:
    """Members of a room that is being ended leave, so many; with the last one it ends."""
    lost: list[MembershipLost] = []
    for (participant_id,) in tx.rows("SELECT participant FROM members WHERE r = ? LIMIT ?", (room.n, limit)):
        participant = tx.participant(room.app, participant_id)
        if participant is not None:
            lost += _take_out(tx, participant, room.name, "ended")
    if room.count:
        room.due = tx.clock
        tx.save_room(room)
    elif room.state == ENDING:
        _end_empty(tx, room)
    return lost


def _end_empty(tx: Transaction, room: RoomRow) -> None:
    before = bump_room(tx, room)
    end_room(tx, room)
    publish_room(tx, room, before, ended=True)


# -- what is due -----------------------------------------------------------------------------------------------------


def settle(tx: Transaction, limit: int) -> Settled:
    """One pass. Marks are never left here: what is due is what lasts for some time, and what is over."""
    ended, more, lost = _due_rooms(tx, limit)
    settled = _due_members(tx, limit)
    forgotten = _forget_removals(tx, limit) + _admit(tx, limit) + forget_invitations(tx, limit)
    repaired = _compare(tx)
    for n, book in list(tx.state.rooms.books.items()):
        if book.is_idle(tx.clock, tx.now * 1000):
            del tx.state.rooms.books[n]
    more = more or settled >= limit or forgotten >= limit
    return Settled(lost=tuple(lost), settled=settled, repaired=repaired, ended=ended, more=more)


def _due_rooms(tx: Transaction, limit: int) -> tuple[int, bool, list[MembershipLost]]:
    """(rooms that ended, whether there is more, memberships that ended)"""
    tx.flush()
    ended = 0
    lost: list[MembershipLost] = []
    due = tx.rows("SELECT app, name FROM rooms WHERE due <= ? ORDER BY due LIMIT ?", (tx.clock, limit))
    left = ENDED_OF_PASS
    for app, name in due:
        room = tx.room(app, name)
        assert room is not None, "it was just read"
        if room.state == CLOSED:
            tx.forget_room(room)
        elif room.state == ENDING:
            count = room.count
            lost += _empty(tx, room, left)
            left -= count - room.count
            ended += room.state == CLOSED
            if left <= 0:
                break
        elif not room.count:
            _end_empty(tx, room)
            ended += 1
    return ended, len(due) >= limit or left <= 0, lost


def _due_members(tx: Transaction, limit: int) -> int:
    """What has lasted is shown now, and records that were held back are. How many were looked at."""
    sql = (
        "SELECT DISTINCT rooms.app, participant FROM members JOIN rooms ON rooms.n = members.r"
        " WHERE members.due <= ? LIMIT ?"
    )
    due = tx.rows(sql, (tx.clock, limit))
    for app, participant_id in due:
        participant = tx.participant(app, participant_id)
        if participant is not None:
            follow(tx, participant, "lost")
    return len(due)


def _forget_removals(tx: Transaction, limit: int) -> int:
    """Those of longer ago than `REMOVAL_MEMORY`, in their order. How many."""
    sql = "SELECT version FROM removals WHERE version < ? ORDER BY version LIMIT ?"
    old = tx.rows(sql, (tx.now * 1000 - _REMOVAL_MEMORY_US, limit))
    if not old:
        return 0
    ((last,),) = old[-1:]
    sql = (
        "SELECT app, name, max(removals.version) FROM removals JOIN rooms ON rooms.n = removals.r"
        " WHERE removals.version <= ? GROUP BY removals.r"
    )
    for app, name, version in tx.rows(sql, (last,)):
        room = tx.room(app, name)
        assert room is not None, "it was just read"
        room.forgotten = max(room.forgotten, version)
        tx.save_room(room)
    tx.execute("DELETE FROM removals WHERE version <= ?", (last,))
    return len(old)


def _admit(tx: Transaction, limit: int) -> int:
    """Whose time of staying out is over may come in. How many."""
    kept_out = tx.state.rooms.kept_out
    sql = "SELECT app, room, subject FROM kept_out WHERE until <= ? LIMIT ?"
    over: Sequence[tuple[str, str, str]] = tx.rows(sql, (tx.now, limit)) if kept_out else []
    for key in over:
        tx.writes += 1
        tx.execute("DELETE FROM kept_out WHERE app = ? AND room = ? AND subject = ?", key)
        kept_out.pop(key, None)
    return len(over)


def _compare(tx: Transaction) -> int:
    """R10: each pass looks at some members, and makes the roster what the sessions say. Here that finds what a damaged
    or restored file brought, and nothing else. How many differed."""
    memory = tx.state.rooms
    if tx.clock < memory.compare_at:
        return 0
    repaired = 0
    sql = (
        "SELECT rooms.app, rooms.name, r, participant FROM members JOIN rooms ON rooms.n = members.r"
        " WHERE (r, participant) > (?, ?) ORDER BY r, participant LIMIT ?"
    )
    found = tx.rows(sql, (*memory.compared, REPAIRS_OF_CALL))
    for app, name, _, participant_id in found:
        participant = tx.participant(app, participant_id)
        room = tx.room(app, name)
        assert room is not None, "it was just read"
        before = room.version
        if participant is not None:
            follow(tx, participant, "lost")
        if participant is None or name not in member_rooms(participant):
            remove_member(tx, room, participant_id, "lost")
        repaired += room.version != before
    if len(found) == REPAIRS_OF_CALL:
        memory.compared = found[-1][2:]
    else:
        memory.compared, memory.compare_at = (0, ""), tx.clock + int(REPAIR_PERIOD * 1000)
    return repaired
