"""A small Redis in memory: the commands that the shipped Lua files use, with the semantics that they rely on.

Not a Redis: no expiry but by hand, no types beyond those here. The contract suite runs on a real Redis too, so that the
two cannot drift.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from operator import itemgetter
from typing import Any

Reply = Any
"""bytes, int, None, or a list of replies."""


class CommandError(Exception):
    """What Redis would answer with an error."""


class SortedSet:
    """Members by score, then by their bytes."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def add(self, member: bytes, score: float) -> bool:
        """Whether it is new."""
        fresh = not self.remove(member)
        self.scores[member] = score
        insort(self.order, (score, member))
        return fresh

    def remove(self, member: bytes) -> bool:
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True


class Stream:
    """Entries by (ms, sequence)."""

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[int, int], list[bytes]]] = []
        self.last = (0, 0)


class Lists(list[bytes]):
    """A Redis list."""


def _number(text: bytes) -> float:
    return float(text.decode())


def _format(score: float) -> bytes:
    return b"%d" % score if score.is_integer() else f"{score:.17g}".encode()


def _bound(text: bytes) -> tuple[float, bool]:
    """(score, exclusive)"""
    if text in (b"-inf", b"+inf"):
        return float(text.decode()), False
    exclusive = text.startswith(b"(")
    return _number(text[exclusive:]), exclusive


def _stream_id(text: bytes, default: int) -> tuple[int, int]:
    if text == b"-":
        return (0, 0)
    if text == b"+":
        return (2**63, 2**63)
    ms, dash, seq = text.partition(b"-")
    return int(ms), int(seq) if dash else default


class Commands:
    """The commands over one keyspace. ``data`` may be copied and put back: a snapshot (failover that lost writes)."""

    def __init__(self, now_us: Callable[[], int], publish: Callable[[bytes, bytes], int]) -> None:
        self.data: dict[bytes, Any] = {}
        self._now_us = now_us
        self._publish = publish

    def find(self, name: str) -> Callable[..., Reply]:
        """The command of this name. Raises CommandError for what this Redis does not know."""
        method: Callable[..., Reply] | None = getattr(self, "do_" + name.lower(), None)
        if method is None:
            raise CommandError(f"unknown command {name}")
        return method

    def execute(self, name: str, *args: bytes) -> Reply:
        """One command. Raises CommandError for what this Redis does not know."""
        return self.find(name)(*args)

    def _get(self, key: bytes, kind: type, *, make: bool = False) -> Any:
        value = self.data.get(key)
        if value is None:
            value = kind()
            if make:
                self.data[key] = value
        elif not isinstance(value, kind):
            raise CommandError("WRONGTYPE")
        return value

    def _sweep(self, key: bytes, value: Any) -> None:
        """Empty hashes, sets and lists do not exist; an empty stream does."""
        if not value:
            self.data.pop(key, None)

    # -- keys and time -----------------------------------------------------------------------------------------------

    def do_time(self) -> Reply:
        seconds, micros = divmod(self._now_us(), 1_000_000)
        return [b"%d" % seconds, b"%d" % micros]

    def do_del(self, *keys: bytes) -> Reply:
        return sum(self.data.pop(key, None) is not None for key in keys)

    def do_unlink(self, *keys: bytes) -> Reply:
        return self.do_del(*keys)

    def do_rename(self, key: bytes, name: bytes) -> Reply:
        if key not in self.data:
            raise CommandError("ERR no such key")
        self.data[name] = self.data.pop(key)
        return b"OK"

    def do_exists(self, key: bytes) -> Reply:
        return int(key in self.data)

    def do_get(self, key: bytes) -> Reply:
        value: bytes | None = self.data.get(key)
        return value

    def do_setex(self, key: bytes, seconds: bytes, value: bytes) -> Reply:
        self.data[key] = bytes(value)
        return b"OK"

    def do_expire(self, key: bytes, seconds: bytes) -> Reply:
        """Nothing here lives that long."""
        return int(key in self.data)

    def do_spublish(self, channel: bytes, message: bytes) -> Reply:
        return self._publish(channel, message)

    # -- hashes ------------------------------------------------------------------------------------------------------

    def do_hget(self, key: bytes, field: bytes) -> Reply:
        return self._get(key, dict).get(field)

    def do_hmget(self, key: bytes, *fields: bytes) -> Reply:
        stored = self._get(key, dict)
        return [stored.get(field) for field in fields]

    def do_hgetall(self, key: bytes) -> Reply:
        return [part for item in self._get(key, dict).items() for part in item]

    def do_hvals(self, key: bytes) -> Reply:
        return list(self._get(key, dict).values())

    def do_hlen(self, key: bytes) -> Reply:
        return len(self._get(key, dict))

    def do_hscan(self, key: bytes, cursor: bytes, *options: bytes) -> Reply:
        """The cursor is a place in the order of insertion."""
        items = list(self._get(key, dict).items())
        start = int(cursor)
        some = items[start : start + int(options[1])]
        end = start + len(some)
        return [b"%d" % end if end < len(items) else b"0", [each for item in some for each in item]]

    def do_hexists(self, key: bytes, field: bytes) -> Reply:
        return int(field in self._get(key, dict))

    def do_hset(self, key: bytes, *pairs: bytes) -> Reply:
        if not pairs or len(pairs) % 2:
            raise CommandError("ERR wrong number of arguments for 'hset' command")
        stored = self._get(key, dict, make=True)
        before = len(stored)
        stored.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(stored) - before

    def do_hsetnx(self, key: bytes, field: bytes, value: bytes) -> Reply:
        if field in self._get(key, dict):
            return 0
        return self.do_hset(key, field, value)

    def do_hdel(self, key: bytes, *fields: bytes) -> Reply:
        stored = self._get(key, dict)
        count = sum(stored.pop(field, None) is not None for field in fields)
        self._sweep(key, stored)
        return count

    def do_hincrby(self, key: bytes, field: bytes, by: bytes) -> Reply:
        stored = self._get(key, dict, make=True)
        value = int(stored.get(field, b"0")) + int(by)
        stored[field] = b"%d" % value
        return value

    # -- sets and lists ----------------------------------------------------------------------------------------------

    def do_sadd(self, key: bytes, *members: bytes) -> Reply:
        stored = self._get(key, _Set, make=True)
        before = len(stored)
        stored.update(dict.fromkeys(members))
        return len(stored) - before

    def do_srem(self, key: bytes, *members: bytes) -> Reply:
        stored = self._get(key, _Set)
        before = len(stored)
        for member in members:
            stored.pop(member, None)
        self._sweep(key, stored)
        return before - len(stored)

    def do_smembers(self, key: bytes) -> Reply:
        return list(self._get(key, _Set))

    def do_sismember(self, key: bytes, member: bytes) -> Reply:
        return int(member in self._get(key, _Set))

    def do_scard(self, key: bytes) -> Reply:
        return len(self._get(key, _Set))

    def do_srandmember(self, key: bytes, count: bytes | None = None) -> Reply:
        """The first ones: any will do, and a seed must give the same run twice."""
        members = list(self._get(key, _Set))
        if count is None:
            return members[0] if members else None
        return members[: int(count)]

    def do_rpush(self, key: bytes, *values: bytes) -> Reply:
        stored = self._get(key, Lists, make=True)
        stored.extend(values)
        return len(stored)

    def do_rpushx(self, key: bytes, *values: bytes) -> Reply:
        return self.do_rpush(key, *values) if key in self.data else 0

    def do_lrange(self, key: bytes, first: bytes, last: bytes) -> Reply:
        stored = self._get(key, Lists)
        return list(stored[_slice(len(stored), first, last)])

    def do_ltrim(self, key: bytes, first: bytes, last: bytes) -> Reply:
        stored = self._get(key, Lists)
        stored[:] = stored[_slice(len(stored), first, last)]
        self._sweep(key, stored)
        return b"OK"

    # -- sorted sets -------------------------------------------------------------------------------------------------

    def do_zadd(self, key: bytes, *args: bytes) -> Reply:
        only_new = args[0] == b"NX"
        pairs = args[1:] if only_new else args
        if not pairs or len(pairs) % 2:
            raise CommandError("ERR syntax error")
        stored = self._get(key, SortedSet, make=True)
        added = 0
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            if not (only_new and member in stored.scores):
                added += stored.add(member, _number(score))
        return added

    def do_zrem(self, key: bytes, *members: bytes) -> Reply:
        stored = self._get(key, SortedSet)
        count = sum(stored.remove(member) for member in members)
        self._sweep(key, stored.order)
        return count

    def do_zscore(self, key: bytes, member: bytes) -> Reply:
        score = self._get(key, SortedSet).scores.get(member)
        return None if score is None else _format(score)

    def do_zmscore(self, key: bytes, *members: bytes) -> Reply:
        return [self.do_zscore(key, member) for member in members]

    def do_zscan(self, key: bytes, cursor: bytes, *options: bytes) -> Reply:
        """All at once, as a small one is answered."""
        return [b"0", _scored(self._get(key, SortedSet).order, (b"WITHSCORES",))]

    def do_zcard(self, key: bytes) -> Reply:
        return len(self._get(key, SortedSet).order)

    def do_zpopmin(self, key: bytes) -> Reply:
        stored = self._get(key, SortedSet)
        if not stored.order:
            return []
        score, member = stored.order[0]
        stored.remove(member)
        self._sweep(key, stored.order)
        return [member, _format(score)]

    def do_zrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
        stored = self._get(key, SortedSet)
        return _scored(stored.order[_slice(len(stored.order), first, last)], options)

    def do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
        if key not in self.data:
            return []  # what a reaper mostly finds
        stored = self._get(key, SortedSet)
        start, end = self._between(stored, low, high)
        return _scored(_limited(stored.order[start:end], options), options)

    def do_zrevrangebyscore(self, key: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
        stored = self._get(key, SortedSet)
        start, end = self._between(stored, low, high)
        return _scored(_limited(stored.order[start:end][::-1], options), options)

    def do_zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> Reply:
        stored = self._get(key, SortedSet)
        start, end = self._between(stored, low, high)
        for _, member in stored.order[start:end]:
            stored.remove(member)
        self._sweep(key, stored.order)
        return end - start

    def _between(self, stored: SortedSet, low: bytes, high: bytes) -> tuple[int, int]:
        order = stored.order
        if not order:
            return 0, 0
        (first, after), (last, before) = _bound(low), _bound(high)
        start = (bisect_right if after else bisect_left)(order, first, key=_score)
        return start, max(start, (bisect_left if before else bisect_right)(order, last, key=_score))

    def do_zrangebylex(self, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
        members = [member for _, member in self._get(key, SortedSet).order]
        found = [member for member in members if _is_above(member, low) and _is_below(member, high)]
        return _limited(found, options)

    def do_zlexcount(self, key: bytes, low: bytes, high: bytes) -> Reply:
        return len(self.do_zrangebylex(key, low, high))

    # -- streams -----------------------------------------------------------------------------------------------------

    def do_xadd(self, key: bytes, name: bytes, *fields: bytes) -> Reply:
        stored: Stream = self._get(key, Stream, make=True)
        ms, _, seq = name.partition(b"-")
        if seq == b"*":
            at = (int(ms), stored.last[1] + 1 if int(ms) == stored.last[0] else 0)
        else:
            at = (int(ms), int(seq))
        if at <= stored.last:
            raise CommandError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
        stored.last = at
        stored.entries.append((at, list(fields)))
        return b"%d-%d" % at

    def do_xlen(self, key: bytes) -> Reply:
        return len(self._get(key, Stream).entries)

    def do_xrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
        entries = self._get(key, Stream).entries
        start = bisect_left(entries, (_stream_id(first, 0), []))
        end = bisect_right(entries, (_stream_id(last, 2**63), [b"\xff"]))
        count = int(options[1]) if options else len(entries)
        return [[b"%d-%d" % at, list(fields)] for at, fields in entries[start:end][:count]]

    def do_xtrim(self, key: bytes, what: bytes, how: bytes, name: bytes) -> Reply:
        entries = self._get(key, Stream).entries
        count = bisect_left(entries, (_stream_id(name, 0), []))
        del entries[:count]
        return count

    def do_xdel(self, key: bytes, *names: bytes) -> Reply:
        stored: Stream = self._get(key, Stream)
        gone = {_stream_id(name, 0) for name in names}
        before = len(stored.entries)
        stored.entries = [entry for entry in stored.entries if entry[0] not in gone]
        return before - len(stored.entries)

    def do_xsetid(self, key: bytes, name: bytes) -> Reply:
        stored: Stream = self._get(key, Stream)
        stored.last = _stream_id(name, 0)
        return b"OK"

    def do_xinfo(self, what: bytes, key: bytes) -> Reply:
        stored: Stream = self._get(key, Stream)
        return [b"length", len(stored.entries), b"last-generated-id", b"%d-%d" % stored.last]


class _Set(dict[bytes, None]):
    """A set that keeps the order of insertion."""


_score = itemgetter(0)


def _slice(length: int, first: bytes, last: bytes) -> slice:
    start, end = int(first), int(last)
    start = max(0, start + length if start < 0 else start)
    end = max(-1, end + length) if end < 0 else end
    return slice(start, end + 1)


def _limited(found: list[Any], options: tuple[bytes, ...]) -> list[Any]:
    if b"LIMIT" not in options:
        return found
    at = options.index(b"LIMIT")
    skip, count = int(options[at + 1]), int(options[at + 2])
    return found[skip:] if count < 0 else found[skip : skip + count]


def _scored(found: list[tuple[float, bytes]], options: tuple[bytes, ...]) -> list[bytes]:
    if b"WITHSCORES" in options:
        return [part for score, member in found for part in (member, _format(score))]
    return [member for _, member in found]


def _is_above(member: bytes, bound: bytes) -> bool:
    if bound in (b"-", b"+"):
        return bound == b"-"
    return member > bound[1:] if bound.startswith(b"(") else member >= bound[1:]


def _is_below(member: bytes, bound: bytes) -> bool:
    if bound in (b"-", b"+"):
        return bound == b"+"
    return member < bound[1:] if bound.startswith(b"(") else member <= bound[1:]
