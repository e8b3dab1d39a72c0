"""S17: an application's events are kept for a time, and up to a number and a size; updates go before ends."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from greenroom.engines.base import EventLimits
from greenroom.engines.redis.arguments import argument, milliseconds
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.errors import ServiceUnavailableError
from greenroom.model import PARTITIONS

AT_ONCE = 500
"""Events that one call looks at: some milliseconds of Redis."""
MOST_ROUNDS = 100
"""Calls for one partition and application in one look: 50,000 events in 30 s."""


class _Held:
    """An application's events in one partition."""

    def __init__(self, number: int, app: str, count: int, size: int, old: bool) -> None:
        self.number = number
        self.app = app
        self.count = count
        self.size = size
        self.old = old

    def dropped(self, count: int, size: int) -> None:
        self.count -= count
        self.size -= size


async def trim(store: Store, limits: EventLimits) -> int:
    """One look at all partitions. How many events went. Several nodes may do it at the same time."""
    held = await _held(store, limits)
    by_app: dict[str, list[_Held]] = {}
    for each in held:
        by_app.setdefault(each.app, []).append(each)
    dropped = await _trim_old(store, [each for each in held if each.old], limits)
    for parts in by_app.values():
        for rank in (0, 1, 2):
            if _surplus(parts, limits) != (0, 0):
                dropped += await _trim_surplus(store, parts, rank, limits)
    return dropped


def _surplus(parts: Iterable[_Held], limits: EventLimits) -> tuple[int, int]:
    """Events, and bytes, that are too many."""
    count, size = sum(each.count for each in parts), sum(each.size for each in parts)
    return max(0, count - limits.count), max(0, size - limits.size)


async def _trim_old(store: Store, parts: list[_Held], limits: EventLimits) -> int:
    total = 0
    for _ in range(MOST_ROUNDS):
        if not parts:
            break
        age = milliseconds(limits.age)
        calls = [
            FunctionCall("trim_old", f"p{each.number}", argument(app=each.app, age=age, limit=AT_ONCE))
            for each in parts
        ]
        more = []
        for each, reply in zip(parts, await store.call_many(calls), strict=True):
            count, size = _answered(reply) or (0, 0)
            each.dropped(count, size)
            total += count
            if count == AT_ONCE:
                more.append(each)
        parts = more
    return total


async def _trim_surplus(store: Store, parts: list[_Held], rank: int, limits: EventLimits) -> int:
    """Each partition gives in proportion to what lies there, as long as it has events of the rank."""
    total = 0
    having = [each for each in parts if each.count]
    for _ in range(MOST_ROUNDS):
        count, size = _surplus(parts, limits)
        if not having or not (count or size):
            break
        counts = _shares(count, [each.count for each in having])
        sizes = _shares(size, [each.size for each in having])
        calls = [_surplus_call(*each, rank) for each in zip(having, counts, sizes, strict=True)]
        more = []
        for each, reply in zip(having, await store.call_many(calls), strict=True):
            gone, length, is_all = _answered(reply) or (0, 0, True)
            each.dropped(gone, length)
            total += gone
            if not is_all and each.count:
                more.append(each)
        having = more
    return total


def _answered(reply: Reply | ServiceUnavailableError) -> Reply | None:
    """None where the partition cannot be asked now: the next look is at it again."""
    try:
        return accepted(reply)
    except ServiceUnavailableError:
        return None


def _shares(total: int, parts: list[int]) -> list[int]:
    """The total in whole numbers, in proportion to the parts."""
    shares, before, whole = [], 0, max(sum(parts), 1)
    for upto in accumulate(parts):
        after = total * upto // whole
        shares.append(after - before)
        before = after
    return shares


def _surplus_call(each: _Held, count: int, size: int, rank: int) -> FunctionCall:
    body = argument(
        app=each.app,
        rank=rank,
        drop=count,
        drop_bytes=size,
        keep=each.count - count,
        keep_bytes=each.size - size,
        limit=AT_ONCE,
    )
    return FunctionCall("trim_surplus", f"p{each.number}", body)


async def _held(store: Store, limits: EventLimits) -> list[_Held]:
    """Everything that is kept."""
    body = argument(age=milliseconds(limits.age))
    held = []
    for number, reply in enumerate(
        await store.call_many([FunctionCall("extents", f"p{n}", body) for n in range(PARTITIONS)])
    ):
        (flat,) = _answered(reply) or ([],)
        for app, count, size, old in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True):
            if count:
                held.append(_Held(number, app.decode(), count, size, bool(old)))
    return held
