"""Rooms in real Chromium tabs: a reload, two tabs of one participant, a network that goes, a tab that is closed."""

from __future__ import annotations

import pytest

from tests.browser.cable import cable_to
from tests.browser.chromium import Page
from tests.browser.lobby import Lobby, open_lobby
from tests.browser.test_page_life import app, start_app

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

JOIN = """(async () => {
    const room = window.room = await sdk.rooms.join('standup');
    window.log = [];
    room.on('joined', ({ info }) => log.push('joined ' + info.externalId));
    room.on('left', ({ member, reason }) => log.push('left ' + member.info.externalId + ' ' + reason));
    room.on('message', (message) => log.push(message));
    room.on('closed', ({ reason }) => log.push('closed ' + reason));
})()"""


async def member(lobby: Lobby, external_id: str) -> Page:
    """A tab in the room `standup`."""
    page = await app(lobby, external_id)
    await page.evaluate(JOIN)
    return page


def roster(*wanted: str) -> str:
    """An expression: who is in the room, with presence and number of sessions."""
    shown = (
        "[...room.members.values()].map((one) => [one.info.externalId, one.presence, one.sessions].join(' ')).sort()"
    )
    return f"({shown}).join() === '{','.join(sorted(wanted))}'"


async def test_a_reload_keeps_the_membership_and_nobody_sees_it() -> None:
    async with open_lobby() as lobby:
        anna, ben = await member(lobby, "anna"), await member(lobby, "ben")
        await anna.until(roster("anna online 1", "ben online 1"))
        for _ in range(2):
            await ben.reload()
            await start_app(lobby, ben, "ben")
            assert await ben.evaluate("sdk.rooms.joined.map(({ name, members }) => `${name} ${members.size}`)") == [
                "standup 2"
            ]
            await ben.evaluate(JOIN)
            assert await ben.evaluate("sdk.rooms.joined[0] === room")
        await ben.until(roster("anna online 1", "ben online 1"))
        await ben.evaluate("room.send('after the reload')")
        await anna.until("log.includes('after the reload')")
        assert await anna.evaluate("log.slice()") == ["joined ben", "after the reload"]


async def test_two_tabs_are_one_member_and_the_last_one_leaves() -> None:
    async with open_lobby() as lobby:
        anna, ben = await member(lobby, "anna"), await member(lobby, "ben")
        tab = await member(lobby, "ben")
        await anna.until(roster("anna online 1", "ben online 2"))
        await ben.evaluate("room.send('to all')")
        await tab.until("log.includes('to all')")  # a sibling gets it, the sender does not
        assert await ben.evaluate("log.includes('to all')") is False
        await tab.close()
        await anna.until(roster("anna online 1", "ben online 1"))
        await ben.close()
        await anna.until(roster("anna online 1"))
        events = await anna.evaluate("log.filter((line) => line !== 'to all')")
        assert events == ["joined ben", "left ben timeout"]  # a tab that is closed is waited for, as after a reload


async def test_a_network_that_goes_leaves_the_member_unreachable_and_comes_back() -> None:
    async with (
        open_lobby(grace=40.0, ping_interval=3.2, pong_timeout=3.0) as lobby,
        cable_to(lobby.running.url) as cable,
    ):
        anna = await member(lobby, "anna")
        ben = await app(lobby, "ben", url=cable.url)
        await ben.evaluate(JOIN)
        cable.cut()
        await anna.until(roster("anna online 1", "ben unreachable 1"))
        await anna.evaluate("room.send('while you were away')")
        await member(lobby, "carl")
        cable.mend()
        await ben.until(roster("anna online 1", "ben online 1", "carl online 1"))
        await anna.until(roster("anna online 1", "ben online 1", "carl online 1"))
        assert await ben.evaluate("room.isMember") is True
        assert "while you were away" not in await ben.evaluate("log.slice()")  # at most once, and not stored
        assert not [line for line in await anna.evaluate("log.slice()") if line.startswith("left")]
