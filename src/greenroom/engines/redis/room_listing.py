"""Rosters and lists of rooms, put together from what the functions answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from greenroom.core.requests import folded
from greenroom.core.rooms.requests import RoomPage, RoomQuery, Roster
from greenroom.engines.cursors import decode_cursor, encode_cursor
from greenroom.engines.paging import page_limit
from greenroom.engines.redis.arguments import argument, batched
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.model import PARTITIONS, MemberRecord, RoomRecord, partition_of, partition_of_room

AT_ONCE = 500
"""Rooms that one call reads."""
HEADS = 128
"""Rooms of each partition that one round looks at for a list."""
ROUNDS = 4
"""Rounds of one call."""
_AFTER_ALL = "\U0010ffff"

_decode_member = msgspec.json.Decoder(MemberRecord).decode


def roster_of(app: str, name: str, page: Reply, since: int | None = None) -> Roster:
    """A page of a roster, or what differs from `since`."""
    version, count, detailed, record, members, cursor, *left = page
    after = cursor.decode()
    return Roster(
        room=name,
        version=int(version),
        count=count,
        detailed=bool(detailed),
        members=tuple(sorted(map(_decode_member, members), key=lambda member: member.id)),
        left=tuple(sorted(each.decode() for each in left[0])) if left else (),
        since=since if left else None,
        cursor=encode_cursor("m", "" if after == "-" else after) if after else None,
        record=_record(app, name, version, count, detailed, record) if record else None,
    )


def _record(app: str, name: str, version: bytes, count: int, detailed: int, record: Reply) -> RoomRecord:
    room_id, ttl, opened_at, opened_by, ending = record
    return RoomRecord(
        app=app,
        name=name,
        id=room_id.decode(),
        version=int(version),
        count=count,
        detailed=bool(detailed),
        ttl=int(ttl) / 1000,
        opened_at=int(opened_at),
        opened_by=opened_by.decode(),
        ending=bool(ending),
    )


def _records(app: str, rows: Iterable[Reply]) -> list[RoomRecord]:
    return [_record(app, row[0].decode(), *row[1:]) for row in rows]


async def rooms(store: Store, query: RoomQuery) -> RoomPage:
    """Those named, the one with the id, or a list by name."""
    if query.names is not None:
        return RoomPage(await _named(store, query.app, query.names))
    if query.room_id is not None:
        return RoomPage(await _with_id(store, query.app, query.room_id))
    after = "" if query.cursor is None else decode_cursor("r", query.cursor, str)
    if query.participant_id is not None:
        return await _of_participant(store, query, query.participant_id, after)
    return await _listing(store, query, after)


async def _named(store: Store, app: str, names: Sequence[str]) -> tuple[RoomRecord, ...]:
    """In their order, those that are open."""
    by_partition: dict[int, list[str]] = {}
    for name in dict.fromkeys(names):
        by_partition.setdefault(partition_of_room(app, name), []).append(name)
    calls = [
        FunctionCall("rooms_named", f"p{number}", argument(app=app, names=some))
        for number, found in by_partition.items()
        for some in batched(found, AT_ONCE)
    ]
    records: dict[str, RoomRecord] = {}
    for reply in await store.call_many(calls):
        records |= {record.name: record for record in _records(app, accepted(reply)[0])}
    return tuple(records[name] for name in names if name in records)


async def _with_id(store: Store, app: str, room_id: str) -> tuple[RoomRecord, ...]:
    """An id does not say the partition: all are asked."""
    body = argument(app=app, id=room_id)
    replies = await store.call_many([FunctionCall("room_of_id", f"p{number}", body) for number in range(PARTITIONS)])
    return tuple(record for reply in replies for record in _records(app, accepted(reply)[0]))


async def _of_participant(store: Store, query: RoomQuery, participant_id: str, after: str) -> RoomPage:
    call = FunctionCall(
        "rooms_of_participant",
        f"p{partition_of(query.app, participant_id)}",
        argument(app=query.app, pid=participant_id),
    )
    (found,) = accepted(await store.call(call))
    search = folded(query.search)
    names = sorted(name for name in (one.decode() for one in found) if name > after and search in folded(name))
    limit = page_limit(query.limit)
    cursor = encode_cursor("r", names[limit - 1]) if len(names) > limit else None
    return RoomPage(await _named(store, query.app, names[:limit]), cursor)


async def _listing(store: Store, query: RoomQuery, start: str) -> RoomPage:
    """Names of all partitions are merged, then the records of those on the page are read."""
    limit = page_limit(query.limit)
    share = HEADS if query.search else min(HEADS, 2 * limit // PARTITIONS + 8)
    items: list[RoomRecord] = []
    after: str | None = start
    for _ in range(ROUNDS):
        names, after = await _next_names(store, query, after or "", share)
        room = limit - len(items)
        if len(names) > room:
            names, after = names[:room], names[room - 1]
        items += await _named(store, query.app, names)
        if after is None or len(items) == limit:
            break
    return RoomPage(tuple(items), None if after is None else encode_cursor("r", after))


async def _next_names(store: Store, query: RoomQuery, after: str, share: int) -> tuple[list[str], str | None]:
    """The next names, and up to where all were looked at; None at the end. A partition that has more than its share
    hides what comes after."""
    search = folded(query.search)
    body = argument(app=query.app, cursor=after or None, limit=share, search=search or None)
    names: list[str] = []
    horizon: str | None = None
    for reply in await store.call_many(
        [FunctionCall("room_names", f"p{number}", body) for number in range(PARTITIONS)]
    ):
        found, *last = accepted(reply)
        names += [name for name in (one.decode() for one in found) if search in folded(name)]
        if last:
            horizon = min(last[0].decode(), horizon or _AFTER_ALL)
    return sorted(name for name in names if horizon is None or name <= horizon), horizon
