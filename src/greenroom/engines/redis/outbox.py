"""Events: one stream per application and partition, a cursor with a position in each (S16, S17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from greenroom.engines.base import DEAD_LETTERS, EventPage
from greenroom.engines.cursors import decode_cursor, encode_cursor, invalid_cursor
from greenroom.engines.redis.arguments import argument, batched, encode, milliseconds
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.errors import ServiceUnavailableError
from greenroom.model import PARTITIONS, Event, partition_of

EVENTS = "e"

LISTEN = 30.0
"""Seconds after a read for which hints of new events are listened to. A reader looks every 2 s by itself."""
_PIECE = 500
"""Dead letters in one call."""

Positions = list[tuple[str, int]]
"""For each partition its marker and the number of the last event that was read."""

Given = Mapping[int, tuple[int, str | None]]
"""By partition the last number that is given out, and the id of its event if there is one."""

_decode_event = msgspec.json.Decoder(Event).decode


class _Part(NamedTuple):
    """What one partition answered."""

    marker: str
    first: int
    last: int
    entries: list[tuple[int, Event]]


class RedisOutbox:
    """Implements `Outbox`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ready: list[Callable[[str], None]] = []
        self._read_at = 0.0
        self._listening: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def read(self, app: str, cursor: str | None, limit: int = 100) -> EventPage:
        self._is_read()
        return await self._page(app, None if cursor is None else _decode(cursor), limit)

    async def newest(self, app: str) -> str:
        return (await self.latest(app, 0)).cursor

    async def latest(self, app: str, limit: int = 100) -> EventPage:
        self._is_read()
        share = min(limit, limit // 8 + 8)
        body = argument(app=app, position=0, limit=share, latest=True)
        parts = [
            _part(app, reply)
            for reply in await self._store.call_many([FunctionCall("events", f"p{n}", body) for n in range(PARTITIONS)])
        ]
        # A partition that has more than its share has older ones, which belong between what others gave.
        more = (part for part in parts if part.entries and part.first < part.entries[0][0])
        since = max((part.entries[0][1].at for part in more), default=0)
        heads = sorted(_heads(parts), key=lambda head: head[:3])
        items = tuple(event for at, _, _, event in heads[-limit:] if at >= since) if limit else ()
        await self._confirm(app, {number: (part.last, None) for number, part in enumerate(parts) if part.last})
        return EventPage(items, _encode([(part.marker, part.last) for part in parts]))

    async def replay(self, app: str, first_at: int, last_at: int, limit: int = 1000) -> EventPage:
        positions = [(part.marker, part.first - 1) for part in await self._parts(app, None, 0)]
        items: list[Event] = []
        while len(items) < limit:
            page = await self._page(app, positions, 500)
            positions = _decode(page.cursor)
            wanted = [event for event in page.items if first_at <= event.at <= last_at]
            items += wanted
            if not page.items:
                break
        return EventPage(tuple(items[:limit]), _encode(positions))

    async def _page(self, app: str, positions: Positions | None, limit: int) -> EventPage:
        page, given = _page(await self._parts(app, positions, limit), positions, limit)
        await self._confirm(app, given)
        return page

    async def _confirm(self, app: str, given: Given) -> None:
        """Replicas have these events, the last of each partition that are given out, and all before them. Where a
        failover could still take them back, or has, the reader has to ask again."""
        if not self._store.waits:
            return
        calls = [
            FunctionCall("confirm", f"p{number}", argument(app=app, position=position, id=event_id), True)
            for number, (position, event_id) in given.items()
        ]
        for reply in await self._store.call_many(calls):
            accepted(reply)

    async def _parts(self, app: str, positions: Positions | None, limit: int) -> list[_Part]:
        calls = []
        for number in range(PARTITIONS):
            position = 0 if positions is None else positions[number][1]
            calls.append(FunctionCall("events", f"p{number}", argument(app=app, position=position, limit=limit)))
        parts = [_part(app, reply) for reply in await self._store.call_many(calls)]
        if positions is not None:
            for number, part in enumerate(parts):
                if _is_reset(part, positions[number]) and positions[number][1] > 0 and limit > 0:
                    body = argument(app=app, position=0, limit=limit)
                    parts[number] = _part(app, await self._store.call(FunctionCall("events", f"p{number}", body)))
        return parts

    # -- readers -----------------------------------------------------------------------------------------------------

    async def acknowledge(self, app: str, reader: str, cursor: str) -> None:
        _decode(cursor)
        await self._home("acknowledge", app, True, reader=reader, cursor=cursor)

    async def acknowledged(self, app: str, reader: str) -> str | None:
        (cursor,) = await self._home("acknowledged", app, reader=reader)
        return None if cursor is None else str(cursor.decode())

    async def set_aside(self, app: str, reader: str, events: Sequence[Event], why: str) -> None:
        items = [(event.id, encode((event, why)).decode()) for event in events]
        for some in batched(items, _PIECE):
            await self._home("set_aside", app, True, reader=reader, items=some, keep=DEAD_LETTERS)

    async def aside(self, app: str, reader: str, limit: int = 100) -> tuple[tuple[Event, str], ...]:
        letters: list[tuple[Event, str]] = []
        while len(letters) < limit:
            wanted = min(_PIECE, limit - len(letters))
            (bodies,) = await self._home("aside", app, reader=reader, start=len(letters), limit=wanted)
            letters += [msgspec.json.decode(body, type=tuple[Event, str]) for body in bodies]
            if len(bodies) < wanted:
                break
        return tuple(letters)

    async def drop_aside(self, app: str, reader: str, event_ids: Sequence[str]) -> int:
        dropped = 0
        for some in batched(event_ids, _PIECE):
            dropped += (await self._home("drop_aside", app, True, reader=reader, ids=some))[0]
        return dropped

    async def claim(self, app: str, reader: str, node: str, seconds: float) -> bool:
        (held,) = await self._home("claim", app, reader=reader, node=node, ms=milliseconds(seconds))
        return bool(held)

    async def _home(self, function: str, app: str, durable: bool = False, /, **members: Any) -> Reply:
        """What belongs to a reader lies in one partition of its application."""
        body = argument(app=app, **members)
        return accepted(await self._store.call(FunctionCall(function, f"p{partition_of(app, '')}", body, durable)))

    # -- hints -------------------------------------------------------------------------------------------------------

    def subscribe(self, ready: Callable[[str], None]) -> None:
        """While this node reads events: who never reads needs no hints, and each costs every node that gets it."""
        self._ready.append(ready)

    def _is_read(self) -> None:
        """A reader is there, and may wait for more."""
        self._read_at = asyncio.get_running_loop().time()
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="greenroom-redis-events")

    async def _listen(self) -> None:
        """Subscribed to the hints of all partitions until nobody has read for a while."""
        loop = asyncio.get_running_loop()
        while self._read_at + LISTEN > loop.time():
            await self._for_all(self._store.subscribe)
            self._subscribed.set()
            while (left := self._read_at + LISTEN - loop.time()) > 0:  # noqa: ASYNC110 - what is awaited is time
                await asyncio.sleep(left)
            self._subscribed.clear()
            await self._for_all(self._store.unsubscribe)
        self._listening = None

    async def _for_all(self, act: Callable[[str, str], Awaitable[None]]) -> None:
        calls = (act(f"p{number}", EVENTS) for number in range(PARTITIONS))
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            # where one is not confirmed in time the store keeps trying
            if isinstance(failure, BaseException) and not isinstance(failure, ServiceUnavailableError):
                raise failure

    async def subscribed(self) -> None:
        """As after a read: returns when hints are received from all partitions, as far as they can be reached."""
        self._is_read()
        await self._subscribed.wait()

    def received(self, data: bytes) -> None:
        """An application has new events."""
        for ready in self._ready:
            ready(data.decode())

    async def stop(self) -> None:
        """Ends what is under way."""
        task = self._listening
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _part(app: str, reply: Reply | ServiceUnavailableError) -> _Part:
    marker, first, last, flat = accepted(reply)
    entries = [
        (number, msgspec.structs.replace(_decode_event(body), app=app))
        for number, body in zip(flat[::2], flat[1::2], strict=True)
    ]
    return _Part(marker.decode(), first, last, entries)


def _is_reset(part: _Part, position: tuple[str, int]) -> bool:
    """The partition lost its past since: another marker, or fewer events than were read."""
    marker, number = position
    return number > part.last or (bool(number) and marker != part.marker)


def _page(parts: list[_Part], positions: Positions | None, limit: int) -> tuple[EventPage, Given]:
    """The oldest of what the partitions gave, at most ``limit``; each partition's own order is kept.

    Numbers that no event has any more were dropped: they are the gap.
    """
    reset = False
    starts = [part.first - 1 for part in parts]
    for number, (part, position) in enumerate(zip(parts, positions or (), strict=positions is not None)):
        if _is_reset(part, position):
            reset = True
        else:
            starts[number] = position[1]
    heads = sorted(_heads(parts), key=lambda head: head[:3])
    used: list[list[tuple[int, Event]]] = [[] for _ in parts]
    for _, number, seq, event in heads[:limit]:
        used[number].append((seq, event))
    gap = 0
    ends: Positions = []
    given: dict[int, tuple[int, str | None]] = {}
    for number, (part, start, mine) in enumerate(zip(parts, starts, used, strict=True)):
        end = mine[-1][0] if mine else start
        if len(mine) == len(part.entries) < limit:
            end = max(end, part.last)  # there is nothing behind what was given
        if end > start:
            given[number] = (end, mine[-1][1].id if mine and mine[-1][0] == end else None)
        gap += end - start - len(mine)
        ends.append((part.marker, end))
    items = tuple(event for _, _, _, event in heads[:limit])
    return EventPage(items, _encode(ends), gap, reset), given


def _heads(parts: list[_Part]) -> Iterator[tuple[int, int, int, Event]]:
    """Events with what they are ordered by: instant, partition, number."""
    for number, part in enumerate(parts):
        at = 0
        for seq, event in part.entries:
            at = max(at, event.at)  # a clock that stepped back must not turn the order of a partition around
            yield at, number, seq, event


def _encode(positions: Positions) -> str:
    """Markers are few (one per restore), so that they are listed once."""
    markers = sorted({marker for marker, _ in positions})
    return encode_cursor("e", (markers, [(markers.index(marker), number) for marker, number in positions]))


def _decode(cursor: str) -> Positions:
    markers, found = decode_cursor("e", cursor, tuple[list[str], list[tuple[int, int]]])
    if len(found) != PARTITIONS or any(not 0 <= index < len(markers) or number < 0 for index, number in found):
        raise invalid_cursor()
    return [(markers[index], number) for index, number in found]
