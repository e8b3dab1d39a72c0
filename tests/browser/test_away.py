"""`away` by itself while a page is hidden or nobody uses it: real Chromium, real service."""

from __future__ import annotations

import json

import pytest

from tests.browser.chromium import Page
from tests.browser.lobby import Lobby, open_lobby

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

STATUS = "sdk.session.status"


async def app(lobby: Lobby, options: str, scopes: tuple[str, ...] = ("*",)) -> Page:
    """A bare page with the SDK, and a session of anna's."""
    page = await lobby.browser.open(lobby.running.url + "/sdk/greenroom.json")
    token = lobby.tenant.token("anna", scopes=scopes)
    await page.evaluate(
        f"""(async () => {{
            const {{ Greenroom }} = await import('/sdk/greenroom.js');
            const sdk = window.sdk = new Greenroom(location.origin, {options});
            sdk.initializeToken({json.dumps(token)});
            await sdk.session.open();
            window.statuses = [];
            setInterval(() => sdk.session.status !== statuses.at(-1) && statuses.push(sdk.session.status), 20);
        }})()"""
    )
    return page


async def hide(page: Page, state: str) -> None:
    """Minimise the page's window, or show it again."""
    found = await page.browser.call("Browser.getWindowForTarget", targetId=page.target)
    await page.browser.call("Browser.setWindowBounds", windowId=found["windowId"], bounds={"windowState": state})


def problems_of(page: Page) -> list[str]:
    """But for the icon that a bare page does not have."""
    return [problem for problem in page.problems if not problem.endswith("/favicon.ico")]


async def status_after(page: Page, milliseconds: int) -> str:
    wait = f"new Promise((done) => setTimeout(() => done({STATUS}), {milliseconds}))"
    status: str = await page.evaluate(wait)
    return status


async def move_pointer(page: Page, x: int = 50) -> None:
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=50)


async def test_a_page_that_is_not_used_is_away_and_comes_back() -> None:
    async with open_lobby() as lobby, lobby.running.connect() as watcher:
        await watcher.open(lobby.tenant.token("watcher"))
        await watcher.call("participants.watch", externalIds=["anna"])
        page = await app(lobby, "{ autoAway: { idle: 0.5, hidden: null } }")
        await page.until("statuses.join() === 'available,away'")
        while (await watcher.notified("participants.changed"))["participants"][-1].get("status") != "away":
            pass
        await move_pointer(page)
        await page.until("statuses.join() === 'available,away,available,away'")
        await page.evaluate("sdk.session.setStatus('in surgery')")
        await move_pointer(page, 90)
        assert await status_after(page, 1500) == "in surgery"
        await page.evaluate("sdk.session.setStatus('available')")
        await page.until(f"{STATUS} === 'away'")
        await page.evaluate("sdk.dispose()")
        assert problems_of(page) == []


async def test_a_hidden_page_is_away_until_it_is_seen() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "{ autoAway: { hidden: 0.5, idle: null } }")
        await hide(page, "minimized")
        await page.until("document.visibilityState === 'hidden'")
        await page.until(f"{STATUS} === 'away'")
        await hide(page, "normal")
        await page.until(f"{STATUS} === 'available'")
        assert problems_of(page) == []


async def test_it_is_off_by_default_and_harmless_without_the_right_to() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "{}")
        await hide(page, "minimized")
        await page.until("document.visibilityState === 'hidden'")
        assert await status_after(page, 1500) == "available"
        other = await app(lobby, "{ autoAway: { idle: 0.2 } }", ("notifications:set",))
        assert await status_after(other, 1500) == "available"
        assert [problems_of(page), problems_of(other)] == [[], []]
