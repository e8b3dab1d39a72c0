"""Events of an application as pages: cursors, ranges of time, dead letters, and who delivers them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from greenroom.engines.base import DEAD_LETTERS, EventLimits
from greenroom.engines.embedded.outbox import EmbeddedOutbox, decode_cursor, encode_cursor
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import IllegalArgumentError
from greenroom.model import Event
from greenroom.testing.engine_world import APP, EmbeddedWorld

START = 1_700_000_000_000


def events(*ats: int) -> list[Event]:
    return [Event(id=f"e{number}", type="session.opened", at=at, app=APP) for number, at in enumerate(ats, 1)]


@asynccontextmanager
async def holding(*ats: int) -> AsyncIterator[tuple[EmbeddedWorld, EmbeddedOutbox]]:
    """An application with an event of each instant."""
    async with EmbeddedWorld() as w:
        engine: Any = w.engine

        def emit(tx: Transaction) -> None:
            for event in events(*ats):
                tx.emit(event)

        await engine.writer.submit(emit)
        yield w, engine.outbox


def ids(page: Any) -> list[str]:
    return [event.id for event in page.items]


@pytest.mark.parametrize("seq", [0, 1, 2**63 - 1])
def test_a_cursor_is_a_number(seq: int) -> None:
    assert decode_cursor(encode_cursor(seq)) == seq


@pytest.mark.parametrize("cursor", ["", "é", "AQ", encode_cursor(7)[:-1], encode_cursor(7) + "AA", "Af" + "_" * 10])
def test_what_is_no_cursor_is_said(cursor: str) -> None:
    with pytest.raises(IllegalArgumentError, match="Invalid cursor"):
        decode_cursor(cursor)


async def test_pages_follow_one_another_and_the_end_is_remembered() -> None:
    async with holding(*range(5)) as (_, outbox):
        first = await outbox.read(APP, None, 3)
        rest = await outbox.read(APP, first.cursor, 3)
        assert (ids(first), ids(rest)) == (["e1", "e2", "e3"], ["e4", "e5"])
        assert rest.cursor == await outbox.newest(APP)
        assert ids(await outbox.latest(APP, 2)) == ["e4", "e5"]
        assert not (await outbox.read("app-2", None)).items


async def test_a_page_says_how_many_are_gone() -> None:
    world = EmbeddedWorld()
    world.event_limits = EventLimits(count=2)
    async with world as w:
        engine: Any = w.engine

        def emit(tx: Transaction) -> None:
            for event in events(*range(START, START + 6)):
                tx.emit(event)

        await engine.writer.submit(emit)
        before = (await engine.outbox.read(APP, None, 1)).cursor
        await w.advance(1)
        page = await engine.outbox.read(APP, before)
        assert (ids(page), page.gap, page.reset) == (["e5", "e6"], 3, False)


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(10, 30, ["e1", "e2", "e3", "e4"]), (11, 20, ["e2", "e3"]), (21, 29, []), (0, 9, []), (31, 99, []), (30, 5, [])],
)
async def test_a_range_of_time_is_found_by_halving(first: int, last: int, found: list[str]) -> None:
    async with holding(10, 20, 20, 30) as (_, outbox):
        page = await outbox.replay(APP, first, last)
        assert ids(page) == found


async def test_a_clock_that_steps_back_turns_no_range_around() -> None:
    async with holding(10, 30, 20, 40) as (_, outbox):
        assert ids(await outbox.replay(APP, 30, 40)) == ["e2", "e3", "e4"], "stored at 30, not before"


async def test_dead_letters_are_kept_once_each_and_can_be_dropped() -> None:
    async with holding() as (_, outbox):
        one, two, three = events(1, 2, 3)
        await outbox.set_aside(APP, "hook", [one, two], "first")
        await outbox.set_aside(APP, "hook", [two, three], "again")
        kept = await outbox.aside(APP, "hook")
        assert [(event.id, why) for event, why in kept] == [("e1", "first"), ("e2", "first"), ("e3", "again")]
        assert await outbox.drop_aside(APP, "hook", ["e2", "e9"]) == 1
        assert [event.id for event, _ in await outbox.aside(APP, "hook", 1)] == ["e1"]
        assert not await outbox.aside(APP, "other")


async def test_the_oldest_dead_letters_make_room() -> None:
    async with holding() as (_, outbox):
        await outbox.set_aside(APP, "other", events(1), "kept")
        await outbox.set_aside(APP, "hook", events(*range(DEAD_LETTERS + 2)), "down")
        kept = await outbox.aside(APP, "hook", DEAD_LETTERS + 5)
        assert (len(kept), kept[0][0].id) == (DEAD_LETTERS, "e3")
        assert len(await outbox.aside(APP, "other")) == 1


async def test_one_node_delivers_until_its_claim_is_over() -> None:
    now = 0.0
    async with EmbeddedWorld() as w:
        engine: Any = w.engine
        outbox = EmbeddedOutbox(engine, lambda: now)
        assert await outbox.claim(APP, "hook", "a", 10)
        assert not await outbox.claim(APP, "hook", "b", 10)
        assert await outbox.claim(APP, "other", "b", 10)
        now = 9.0
        assert await outbox.claim(APP, "hook", "a", 10), "renewed"
        now = 18.9
        assert not await outbox.claim(APP, "hook", "b", 10)
        now = 19.0
        assert await outbox.claim(APP, "hook", "b", 10)
        assert not await outbox.claim(APP, "hook", "a", 10)
