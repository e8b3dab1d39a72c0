"""S17: events are kept at most 72 h, and at most 100,000 or 64 MiB of an application."""

from __future__ import annotations

from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import Call, Store
from greenroom.model import PARTITIONS

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_MS = 72 * 3_600_000
AT_ONCE = 500
"""Events that one call looks at: some milliseconds of Redis."""
MOST_ROUNDS = 100
"""Calls for one partition and application in one look: 50,000 events in 30 s."""


async def trim(store: Store) -> int:
    """One look at all partitions; an application that is over its limits loses the oldest of each partition, in
    proportion to what lies there. How many went. Several nodes may do it at the same time."""
    held = await _held(store)
    events: dict[str, int] = {}
    size: dict[str, int] = {}
    for _, app, count, length in held:
        events[app] = events.get(app, 0) + count
        size[app] = size.get(app, 0) + length
    calls = []
    for number, app, count, _ in held:
        share = min(1.0, MAX_EVENTS / events[app], MAX_BYTES / max(size[app], 1))
        # Within the limits nothing goes but by age: what was counted has grown meanwhile, and is not too much for it.
        keep = int(count * share) if share < 1.0 else MAX_EVENTS * PARTITIONS
        body = argument(app=app, age=MAX_AGE_MS, keep=keep, limit=AT_ONCE)
        calls.append(Call("trim", f"p{number}", body))
    total = 0
    for _ in range(MOST_ROUNDS):
        dropped = [accepted(reply)[0] for reply in await store.call_many(calls)]
        total += sum(dropped)
        calls = [call for call, count in zip(calls, dropped, strict=True) if count == AT_ONCE]
        if not calls:
            break
    return total


async def _held(store: Store) -> list[tuple[int, str, int, int]]:
    """(partition, application, events, bytes) of everything that is kept."""
    held = []
    for number, reply in enumerate(await store.call_many([Call("extents", f"p{n}", b"{}") for n in range(PARTITIONS)])):
        (flat,) = accepted(reply)
        for app, count, length in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            if count:
                held.append((number, app.decode(), count, length))
    return held
