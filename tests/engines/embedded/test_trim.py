"""Streams have an end (S17)."""

from __future__ import annotations

from greenroom.engines.base import EventLimits
from greenroom.testing.engine_world import APP, EmbeddedWorld


def limited(**limits: int) -> EmbeddedWorld:
    """A world that keeps few events."""
    world = EmbeddedWorld()
    world.event_limits = EventLimits(**limits)
    return world


async def test_s17_more_events_than_the_limit_leave_a_gap_of_their_number() -> None:
    async with limited(count=50) as w:
        await w.open("first")
        start = (await w.engine.outbox.read(APP, None, 1)).cursor
        for number in range(60):
            await w.open(f"user-{number}")
        await w.advance(1)
        page = await w.engine.outbox.read(APP, start, 1000)
        assert len(page.items) == 50
        assert page.gap == 122 - 50 - 1
        assert page.items[-1].data["externalId"] == "user-59"
        assert (await w.engine.outbox.read(APP, page.cursor)).gap == 0


async def test_s17_more_bytes_than_the_limit_go_oldest_first() -> None:
    async with limited(size=20_000) as w:
        for number in range(40):
            await w.open(f"user-{number}", name="x" * 1000)
        await w.advance(1)
        events = await w.events()
        assert 10_000 < sum(len(repr(event)) for event in events) < 40_000
        assert events[-1].data["externalId"] == "user-39"


async def test_s17_one_tenants_events_never_push_out_anothers() -> None:
    async with limited(count=20) as w:
        await w.open("quiet", app="app-2")
        for number in range(30):
            await w.open(f"user-{number}")
        await w.advance(1)
        assert len(await w.events()) == 20
        assert len(await w.events("app-2")) == 2
