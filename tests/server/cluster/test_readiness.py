"""The engine is asked for a write at most once a second, whoever asks whether the node is ready."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenroom.errors import ServiceUnavailableError
from greenroom.server.cluster.readiness import ReadinessCheck


class FakeEngine:
    """Counts how often it was asked. error: raised by the next."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: ServiceUnavailableError | None = None

    async def healthy(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class World:
    """A clock that stands still, an engine, and a node's own reason not to be ready."""

    def __init__(self) -> None:
        self.now = 100.0
        self.why: str | None = None
        self.engine = FakeEngine()
        node = cast(Any, SimpleNamespace(not_ready=lambda: self.why))
        self.readiness = ReadinessCheck(cast(Any, self.engine), node, lambda: self.now)

    async def crowd(self, size: int) -> list[BaseException | None]:
        """So many ask at once: what each of them was answered."""
        return await asyncio.gather(*(self.readiness.check() for _ in range(size)), return_exceptions=True)


async def test_the_engine_is_asked_once_a_second_whoever_asks() -> None:
    world = World()
    for _ in range(3):
        assert await world.crowd(100) == [None] * 100
    assert world.engine.asked == 1
    world.now += 1.0
    await world.crowd(100)
    assert world.engine.asked == 2


async def test_a_failure_counts_for_a_second_too_and_no_longer() -> None:
    world = World()
    world.engine.error = ServiceUnavailableError("away")
    assert [str(one) for one in await world.crowd(20)] == [str(world.engine.error)] * 20
    assert world.engine.asked == 1
    world.engine.error = None
    world.now += 1.0
    await world.readiness.check()


async def test_what_the_node_knows_of_itself_counts_at_once() -> None:
    world = World()
    await world.readiness.check()
    world.why = "draining"
    with pytest.raises(ServiceUnavailableError, match="draining"):
        await world.readiness.check()
    assert world.engine.asked == 1


async def test_a_client_that_goes_leaves_the_question_to_the_next() -> None:
    world = World()
    first = asyncio.create_task(world.readiness.check())
    await asyncio.sleep(0)
    first.cancel()
    await world.readiness.check()
    assert world.engine.asked == 2
