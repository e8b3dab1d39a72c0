"""What the console asks of a service with many participants: how long each answer takes, and how long Redis is held.

    python -m benchmarks.console_size                                   100,000 on the embedded engine
    python -m benchmarks.console_size --engine redis --participants 10000

The service runs in this process with the client; a redis-server of its own is started. Figures are medians of five,
those of a search until the whole of it is answered, page after page. CPU is that of service and client, and of Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import aiohttp

from greenroom.engines.base import Engine
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.redis import RedisEngine
from greenroom.server.service import Service
from tests.server.api_service import Api, api_of
from tests.server.crowds import crowd, name_of
from tests.server.harness import RunningService, short_config
from tests.support.redis_server import RedisServer, single

HERE = ["online", "unreachable"]
TIMES = 5
LEASE = 3600.0
"""Seconds: on a busy machine too nothing may be detached while it is counted."""


async def main(kind: str, participants: int) -> None:
    """Fills a service, asks, and prints."""
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="greenroom-console-"))
        server: RedisServer | None = None
        engine: Engine = EmbeddedEngine(data, lease=LEASE)
        if kind == "redis":
            server = stack.enter_context(single())
            server.execute("CONFIG", "SET", "slowlog-log-slower-than", "1000")
            server.execute("CONFIG", "SET", "slowlog-max-len", "10000")
            engine = RedisEngine(server.url, timeout=60.0, lease=LEASE)
        service = Service(short_config(data), engine=engine)
        await service.start()
        try:
            async with aiohttp.ClientSession() as http:
                running = RunningService(service, http, data)
                tenant = await running.new_application()
                began = time.monotonic()
                async with crowd(tenant, participants):
                    print(
                        f"{participants:,} sessions of as many participants, {kind}: {time.monotonic() - began:.0f} s"
                    )
                    if server is not None:
                        server.execute("SLOWLOG", "RESET")
                    await _ask_all(api_of(running, tenant), service, tenant.key, participants, server)
                    if server is not None:
                        print(f"longest function of Redis: {_longest(server):.1f} ms")
        finally:
            await service.kill()


async def _ask_all(api: Api, service: Service, app: str, participants: int, server: RedisServer | None) -> None:
    last = name_of(participants - 1)
    works: dict[str, Callable[[], Awaitable[object]]] = {
        "counts, counted": lambda: service.engine.statistics.count(app),
        "counts, as kept": lambda: api.good("GET", "/v1/counts"),
        "history": lambda: api.good("GET", "/v1/counts/history"),
        "the first 1,000 who are here": lambda: _pages(api, 1000, presence=HERE, limit=500),
        "the last 200 events": lambda: api.good("GET", "/v1/events", latest=200),
        "a search that finds many": lambda: _pages(api, 100, presence=HERE, search="anna", limit=100),
        "a search that finds one": lambda: _pages(api, 100, presence=HERE, search=last.upper(), limit=100),
        "a search that finds nobody": lambda: _pages(api, 100, presence=HERE, search="nobody", limit=100),
    }
    for name, work in works.items():
        lags: list[float] = []
        watching = asyncio.create_task(_watch(lags))
        laps = []
        for _ in range(TIMES):
            before = (time.perf_counter(), time.process_time(), _redis_cpu(server))
            await work()
            after = (time.perf_counter(), time.process_time(), _redis_cpu(server))
            laps.append([1000 * (end - start) for start, end in zip(before, after, strict=True)])
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        wall, cpu, redis = (statistics.median(column) for column in zip(*laps, strict=True))
        print(f"{name:29} {wall:6.0f} ms; CPU {cpu:5.0f} + {redis:4.0f} ms; loop held up {max(lags) * 1000:4.0f} ms")


async def _pages(api: Api, wanted: int, **query: Any) -> int:
    found, cursor = 0, ""
    while found < wanted:
        page = await api.good("GET", "/v1/participants", **query, **({"cursor": cursor} if cursor else {}))
        found += len(page["items"])
        cursor = page["cursor"] or ""
        if not cursor:
            break
    return found


async def _watch(lags: list[float]) -> None:
    """How late the event loop is."""
    lags.append(0.0)
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.002)
        lags.append(time.perf_counter() - began - 0.002)


def _redis_cpu(server: RedisServer | None) -> float:
    """Seconds."""
    if server is None:
        return 0.0
    cpu: Any = server.execute("INFO", "cpu")
    return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])


def _longest(server: RedisServer) -> float:
    """Milliseconds, of those above 1 ms."""
    entries: Any = server.execute("SLOWLOG", "GET", "10000")
    return max((entry[2] for entry in entries), default=1000) / 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("embedded", "redis"), default="embedded")
    parser.add_argument("--participants", type=int, default=100_000)
    given = parser.parse_args()
    asyncio.run(main(given.engine, given.participants))
