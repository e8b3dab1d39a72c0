"""/readyz is public, and asks the engine for a write."""

from __future__ import annotations

import asyncio
import time

import pytest

from greenroom.engines.embedded import EmbeddedEngine
from greenroom.server.cluster.readiness import KEPT
from tests.server.harness import running_service


async def test_a_flood_of_readyz_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    healthy = EmbeddedEngine.healthy

    async def counted(engine: EmbeddedEngine) -> None:
        nonlocal asked
        asked += 1
        await healthy(engine)

    monkeypatch.setattr(EmbeddedEngine, "healthy", counted)
    async with running_service() as running:

        async def status() -> int:
            async with running.http.get(running.url + "/readyz") as reply:
                return reply.status

        began = time.monotonic()
        assert await asyncio.gather(*(status() for _ in range(50))) == [200] * 50
        assert asked <= 1 + (time.monotonic() - began) / KEPT
