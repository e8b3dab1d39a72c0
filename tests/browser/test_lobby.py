"""The example page in real browsers, against the real service."""

from __future__ import annotations

import pytest

from tests.browser.lobby import STATE, is_presence, open_lobby

pytestmark = [pytest.mark.slow, pytest.mark.waiting]


async def test_five_tabs_see_one_another_and_every_change() -> None:
    names = ["Anna", "Ben", "Chloe", "Dmitri", "Esra"]
    async with open_lobby() as lobby:
        pages = [await lobby.enter(name) for name in names]
        for page in pages:
            for name in names:
                await page.until(is_presence(name, "online"))
        anna, ben, *_ = pages
        await ben.evaluate("document.getElementById('new-name').value = 'Benjamin'")
        await ben.evaluate("document.getElementById('profile').requestSubmit()")
        await ben.evaluate("document.querySelectorAll('#new-faces input')[3].click()")
        for page in pages:
            await page.until(is_presence("Benjamin", "online"))
            await page.until("document.querySelector('.person[data-name=Benjamin] img').src.endsWith('face-3.svg')")
        await ben.evaluate("document.getElementById('plug').click()")
        await ben.until(f"{STATE} === 'reconnecting'")
        await anna.until(is_presence("Benjamin", "unreachable"))
        await anna.screenshot("lobby-light")
        await anna.scheme("dark")
        await anna.screenshot("lobby-dark")
        await ben.screenshot("lobby-unplugged")
        await ben.evaluate("document.getElementById('plug').click()")
        await ben.until(f"{STATE} === 'connected'")
        await anna.until(is_presence("Benjamin", "online"))
        assert [page.problems for page in pages] == [[]] * 5


async def test_a_phone_and_the_door() -> None:
    async with open_lobby() as lobby:
        door = await lobby.browser.open(lobby.running.url + "/lobby/")
        await door.until("document.querySelectorAll('#faces input').length > 1")
        await door.screenshot("door")
        phone = await lobby.enter("Noor", width=390, height=844)
        await lobby.enter("Ola Nordmann")
        await phone.until(is_presence("Ola Nordmann", "online"))
        assert await phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await phone.screenshot("lobby-phone")
        assert phone.problems == door.problems == []
