"""Lists of the whole cluster, put together from the partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from greenroom.core.requests import ParticipantQuery, folded
from greenroom.engines.base import ParticipantPage, SessionPage, SessionQuery
from greenroom.engines.cursors import decode_cursor, encode_cursor, invalid_cursor
from greenroom.engines.paging import page_limit
from greenroom.engines.redis.arguments import argument, batched
from greenroom.engines.redis.replies import accepted, participant, session
from greenroom.engines.redis.store import FunctionCall, Store
from greenroom.model import PARTITIONS, ParticipantRecord, SessionRecord, partition_of, partition_of_session

_AT_ONCE = 8
"""Partitions asked in one write for a list of sessions."""
HEADS = 128
"""Participants of each partition that one round looks at for a list: less than a millisecond of Redis."""
ROUNDS = 4
"""Rounds of one call."""
_AFTER_ALL = "\U0010ffff"
MOST_LOOKED_AT = 1000
"""Sessions that one call looks at for a list."""


class _EndedPlace(msgspec.Struct, array_like=True):
    """Where a list of ended sessions continues."""

    partition: Annotated[int, msgspec.Meta(ge=0, lt=PARTITIONS)]
    score: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    member: str


async def participants_by_id(store: Store, app: str, ids: Sequence[str]) -> tuple[ParticipantRecord, ...]:
    """In their order; unknown ones as offline with version 0."""
    by_partition: dict[int, list[str]] = {}
    for each in dict.fromkeys(ids):
        by_partition.setdefault(partition_of(app, each), []).append(each)
    calls = [FunctionCall("participants", f"p{n}", argument(app=app, ids=some)) for n, some in by_partition.items()]
    found: dict[str, ParticipantRecord] = {}
    for some, reply in zip(by_partition.values(), await store.call_many(calls), strict=True):
        (flats,) = accepted(reply)
        for each, flat in zip(some, flats, strict=True):
            found[each] = participant(flat) if flat else ParticipantRecord(app=app, id=each)
    return tuple(found[each] for each in ids)


async def participants(store: Store, query: ParticipantQuery) -> ParticipantPage:
    """A list by id: ids of all partitions are merged, then the records of those on the page are read."""
    limit = page_limit(query.limit)
    after: str | None = "" if query.cursor is None else decode_cursor("p", query.cursor, str)
    share = HEADS if query.search else min(HEADS, 2 * limit // PARTITIONS + 8)
    items: list[ParticipantRecord] = []
    for _ in range(ROUNDS):
        ids, after = await _next_ids(store, query, after or "", share)
        room = limit - len(items)
        if len(ids) > room:
            ids, after = ids[:room], ids[room - 1]
        for record in await participants_by_id(store, query.app, ids):
            # What went, or came back, since the list of ids was read.
            if record.version > 0 and (not query.presence or record.presence in query.presence):
                items.append(record)
        if after is None or len(items) == limit:
            break
        share = HEADS if query.presence else share
    return ParticipantPage(tuple(items), None if after is None else encode_cursor("p", after))


async def _next_ids(store: Store, query: ParticipantQuery, after: str, share: int) -> tuple[list[str], str | None]:
    """Ids of those who are wanted among the next, and up to where all were looked at; None at the end. A partition that
    has more than its share hides what comes after."""
    presence = [one.value for one in query.presence] or None
    search = folded(query.search) or None
    body = argument(app=query.app, cursor=after or None, limit=share, presence=presence, search=search)
    replies = await store.call_many([FunctionCall("participant_ids", f"p{n}", body) for n in range(PARTITIONS)])
    finds = query.finder()
    ids: list[str] = []
    horizon: str | None = None
    for reply in replies:
        flat, *last = accepted(reply)
        if search:
            for pid, name, external_id in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
                if finds(name.decode(), external_id.decode(), pid.decode()):
                    ids.append(pid.decode())
        else:
            ids += [pid.decode() for pid in flat]
        if last:
            horizon = min(last[0].decode(), horizon or _AFTER_ALL)
    return sorted(each for each in ids if horizon is None or each <= horizon), horizon


async def sessions(store: Store, query: SessionQuery) -> SessionPage:
    """One by its id, or those that have not ended or have, partition after partition."""
    if query.ended and query.session_id is None:
        return await _ended_sessions(store, query)
    if query.session_id is not None:
        partition = partition_of_session(query.session_id)
        body = argument(session_id=query.session_id, app=query.app, with_timeline=query.with_timeline or None, limit=1)
        if partition is None:
            return SessionPage(())
        return SessionPage(
            tuple(_records(accepted(await store.call(FunctionCall("sessions", f"p{partition}", body)))[0]))
        )
    limit = page_limit(query.limit)
    first, after = _position(query.cursor)
    numbers = _partitions(query, first)
    items: list[SessionRecord] = []
    for some in batched(numbers, _AT_ONCE):
        room = limit - len(items)
        bodies = ((n, _list_argument(query, room + 1, cursor=after if n == first else None)) for n in some)
        calls = [FunctionCall("sessions", f"p{n}", body) for n, body in bodies]
        for number, reply in zip(some, await store.call_many(calls), strict=True):
            flat, *place = accepted(reply)
            found = _records(flat)
            room = limit - len(items)
            items += found[:room]
            if len(found) > room or (len(items) == limit and number != numbers[-1]):
                last = items[-1]
                at = partition_of_session(last.id)
                return SessionPage(tuple(items), encode_cursor("s", (at, f"{last.app}\x00{last.id}")))
            if place and len(found) <= room:
                return SessionPage(tuple(items), encode_cursor("s", (number, place[0].decode())))
    return SessionPage(tuple(items))


async def _ended_sessions(store: Store, query: SessionQuery) -> SessionPage:
    limit = page_limit(query.limit)
    place = None if query.cursor is None else decode_cursor("e", query.cursor, _EndedPlace)
    items: list[SessionRecord] = []
    for number in _partitions(query, 0 if place is None else place.partition):
        after = None if place is None or place.partition != number else (place.score, place.member)
        body = _list_argument(query, limit - len(items), place=after)
        flat, *last = accepted(await store.call(FunctionCall("ended_sessions", f"p{number}", body)))
        items += _records(flat)
        if last:
            score, member = last
            return SessionPage(tuple(items), encode_cursor("e", _EndedPlace(number, int(score), member.decode())))
    return SessionPage(tuple(items))


def _partitions(query: SessionQuery, first: int) -> range:
    if query.participant_id is None or query.app is None:
        return range(first, PARTITIONS)
    return range(partition_of(query.app, query.participant_id), PARTITIONS)[:1]


def _position(cursor: str | None) -> tuple[int, str | None]:
    if cursor is None:
        return 0, None
    number, member = decode_cursor("s", cursor, tuple[int, str])
    if not 0 <= number < PARTITIONS:
        raise invalid_cursor()
    return number, member


def _list_argument(query: SessionQuery, limit: int, **place: object) -> bytes:
    return argument(
        app=query.app,
        participant_id=query.participant_id,
        node=query.node,
        with_timeline=query.with_timeline or None,
        brief=(query.brief and not query.ended) or None,
        limit=limit,
        most=MOST_LOOKED_AT,
        **place,
    )


def _records(flat: list[list[bytes]]) -> list[SessionRecord]:
    return [session(each, timeline) for each, timeline in zip(flat[::2], flat[1::2], strict=True)]
