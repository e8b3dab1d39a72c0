"""S17: events are kept at most 72 h, and at most 100,000 or 64 MiB of an application."""

from __future__ import annotations

from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import Call, Store
from greenroom.model import PARTITIONS

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_MS = 72 * 3_600_000
_AT_ONCE = 1000
"""Events that one call looks at."""


async def trim(store: Store) -> int:
    """One pass over all partitions; an application that is over its limits loses the oldest of each partition, in
    proportion to what lies there. How many went."""
    extents = await store.call_many([Call("extents", f"p{number}", b"{}") for number in range(PARTITIONS)])
    events: dict[str, int] = {}
    size: dict[str, int] = {}
    held: list[tuple[int, str, int]] = []
    for number, reply in enumerate(extents):
        (flat,) = accepted(reply)
        for app, count, length in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            name = app.decode()
            events[name] = events.get(name, 0) + count
            size[name] = size.get(name, 0) + length
            if count:
                held.append((number, name, count))
    calls = []
    for number, app, count in held:
        part = max(1 - MAX_EVENTS / max(events[app], 1), 1 - MAX_BYTES / max(size[app], 1), 0.0)
        excess = -int(-count * part // 1)
        body = argument(app=app, age=MAX_AGE_MS, excess=excess, limit=_AT_ONCE)
        calls.append(Call("trim", f"p{number}", body))
    replies = await store.call_many(calls)
    return sum(accepted(reply)[0] for reply in replies)
