"""The world in which the Redis engine is judged by the contract suite: a real Redis whose time the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from greenroom.engines.base import RestoreRequest
from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.store import Store
from greenroom.testing.engine_world import RecordingListener, World
from tests.support.patience import PATIENCE

START_MS = 1_700_000_000_000
PROBE = b"probe"
RECOVERY = 21_000
"""Milliseconds after which a new engine no longer takes an unknown session for one that may still come back (S15)."""


class RedisWorld(World):
    """The engine on the Redis at ``url``, which ``empty`` empties; ``store`` in its place where that is given.

    timeout: seconds for one call.
    """

    def __init__(
        self,
        url: str,
        empty: Callable[[], object],
        *,
        store: Callable[[], Store] | None = None,
        timeout: float = PATIENCE,
    ) -> None:
        super().__init__()
        self._empty = empty
        self.url = url
        self.restartable = True
        self._make_store = store
        self._timeout = timeout
        self._now_ms = START_MS
        self._probes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._pairs: set[tuple[str, str]] = set()

    async def start(self) -> None:
        self._empty()
        await self._make_engine()
        # As on a first start: the node finds no markers and restores nothing.
        nothing = RestoreRequest(node=self.node, lease="lease-before", sessions=(), finish=True)
        await self.engine.registry.restore(nothing)
        for _ in range(RECOVERY // 2000 + 1):
            self._now_ms += 2000
            await self.engine.registry.reap()

    async def _make_engine(self) -> None:
        store = None if self._make_store is None else self._make_store()
        engine = RedisEngine(
            self.url,
            store=store,
            clock_us=lambda: self._now_ms * 1000,
            event_limits=self.event_limits,
            timeout=self._timeout,
        )

        def received(tag: str, channel: str, data: bytes) -> None:
            if data == PROBE:
                self._probes.put_nowait((tag, channel))
            else:
                engine.received(tag, channel, data)

        engine.store.listen(received, engine._bus.lost)
        self.engine = engine
        await engine.start()

    async def stop(self) -> None:
        await self.engine.stop()

    async def step(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)

    def now_ms(self) -> int:
        return self._now_ms

    async def join(self, node: str, lease: str) -> None:
        await super().join(node, lease)
        assert isinstance(self.engine, RedisEngine)
        await self.engine.subscribed()

    async def wait_for_delivery(self) -> None:
        """A message comes after those that were published before it on its channel."""
        engine = self.engine
        assert isinstance(engine, RedisEngine)
        waiting = set(engine.store.subscriptions())
        await asyncio.gather(*(engine.store.publish(tag, channel, PROBE) for tag, channel in waiting))
        async with asyncio.timeout(PATIENCE):
            while waiting:
                waiting.discard(await self._probes.get())

    async def restart(self) -> None:
        await self.engine.stop()
        await self._make_engine()
        self.listener = RecordingListener()
        self.engine.bus.listen(self.listener)
        self.engine.outbox.subscribe(self.ready.append)
        self.lease = f"lease-{self.number()}"
        self._alive.clear()
        await self.join(self.node, self.lease)
        await self.reap()  # a node that comes back under a new lease: what the old one held is detached
