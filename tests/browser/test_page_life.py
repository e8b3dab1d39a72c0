"""Reload, closed tabs, sleep, the network, tokens, kicks and restarts: real Chromium, real service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from greenroom.engines.base import NOTIFY_AFTER, KickParticipant
from tests.browser.cable import cable_to
from tests.browser.chromium import Page
from tests.browser.lobby import STATE, Lobby, is_presence, open_lobby, sign_in
from tests.server.harness import Client
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

GRACE = 40.0
"""Seconds; five for a page that was closed."""


@asynccontextmanager
async def watcher(lobby: Lobby, external_id: str) -> AsyncIterator[Watcher]:
    """Someone who watches a participant over a raw connection."""
    async with lobby.running.connect() as client:
        await client.open(lobby.tenant.token("watcher"))
        participant = lobby.tenant.participant_id(external_id)
        await client.call("participants.watch", ids=[participant])
        watching = Watcher()
        reader = asyncio.create_task(watching.read(client))
        try:
            yield watching
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader


class Watcher:
    """What a watcher received."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read(self, client: Client) -> None:
        """Until cancelled, so that the service's pings are answered all the time."""
        while True:
            with contextlib.suppress(TimeoutError):  # the client waits only so long for a message
                for participant in (await client.notified("participants.changed"))["participants"]:
                    self._received.put_nowait(participant)

    async def received(self, seconds: float) -> list[dict[str, Any]]:
        """All changes in so many seconds."""
        await asyncio.sleep(seconds)
        return [self._received.get_nowait() for _ in range(self._received.qsize())]

    async def until_presence(self, presence: str) -> None:
        """Wait for it. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while (await self._received.get())["presence"] != presence:
                pass


async def app(lobby: Lobby, external_id: str | None, *, url: str | None = None, **token: Any) -> Page:
    """A bare page with the SDK, as an app would use it, with a session open. url: of the service; None: its own."""
    page = await lobby.browser.open((url or lobby.running.url) + "/sdk/greenroom.json")
    await start_app(lobby, page, external_id, **token)
    return page


async def start_app(lobby: Lobby, page: Page, external_id: str | None, **token: Any) -> None:
    text = lobby.tenant.token(external_id, **token)
    await page.evaluate(
        f"""(async () => {{
            const {{ Greenroom, errors }} = await import('/sdk/greenroom.js');
            const sdk = window.sdk = new Greenroom(location.origin);
            window.errors = errors;
            window.events = [];
            window.tokens = [];
            window.asked = [];
            sdk.session.onStateChanged((state) => events.push(state));
            sdk.session.onEnded((end) => events.push('ended ' + end.reason));
            sdk.session.onReopened((one) => events.push('reopened ' + one.reason));
            sdk.session.onTokenRefreshFailed((one) => events.push('refresh failed ' + one.error.message));
            sdk.initializeToken({json.dumps(text)}, async (isExpired) => {{
                asked.push(isExpired);
                while (!tokens.length) await new Promise((done) => setTimeout(done, 20));
                return tokens.shift();
            }});
            await sdk.session.open();
        }})()"""
    )


async def reloaded(lobby: Lobby, page: Page, external_id: str) -> bool:
    """Whether that was quick enough for nobody to see it, which a busy machine may not be."""
    began = time.monotonic()
    await page.reload()
    await start_app(lobby, page, external_id)
    return time.monotonic() - began < NOTIFY_AFTER


async def sessions_of(lobby: Lobby, external_id: str) -> list[Any]:
    from greenroom.engines.base import SessionQuery

    participant = lobby.tenant.participant_id(external_id)
    query = SessionQuery(app=lobby.tenant.key, participant_id=participant)
    return list((await lobby.running.service.engine.registry.sessions(query)).items)


async def test_a_reload_resumes_the_same_session_and_nobody_sees_a_flicker() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        (before,) = await sessions_of(lobby, "anna")
        async with watcher(lobby, "anna") as watching:
            quick = [await reloaded(lobby, page, "anna") for _ in range(3)]
            received = await watching.received(NOTIFY_AFTER + 1.5)
            assert received == [] or not all(quick)
            assert {one["presence"] for one in received} <= {"unreachable", "online"}
        (after,) = await sessions_of(lobby, "anna")
        assert after.id == before.id
        assert after.generation > before.generation
        assert await page.evaluate("Object.keys(sessionStorage).length") == 0


async def test_an_anonymous_participant_is_the_same_after_a_reload() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, None)
        before = await page.evaluate("sdk.session.participant.id")
        await page.reload()
        await start_app(lobby, page, None)
        assert await page.evaluate("sdk.session.participant.id") == before


async def test_the_lobby_reloads_without_a_flicker() -> None:
    async with open_lobby() as lobby:
        anna = await lobby.enter("Anna")
        ben = await lobby.enter("Ben")
        await anna.until(is_presence("Ben", "online"))
        lines = await anna.evaluate("document.getElementById('log').children.length")
        began = time.monotonic()
        await ben.reload()
        await ben.until(f"{STATE} === 'connected'")
        is_quick = time.monotonic() - began < NOTIFY_AFTER
        await ben.until(is_presence("Anna", "online"))
        await asyncio.sleep(NOTIFY_AFTER + 1)
        assert await anna.evaluate("document.getElementById('log').children.length") == lines or not is_quick


async def test_a_duplicated_tab_has_neither_the_secret_nor_the_device() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        # What the browser copies when a tab is duplicated is its sessionStorage as it is now.
        assert await page.evaluate("JSON.stringify({...sessionStorage})") == "{}"
        other = await app(lobby, "anna")
        first, second = await sessions_of(lobby, "anna")
        assert first.device_id != second.device_id
        assert await page.evaluate("sdk.session.state") == await other.evaluate("sdk.session.state") == "connected"


async def test_another_participant_after_a_reload_is_another_session() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        async with watcher(lobby, "anna") as watching:
            began = time.monotonic()
            await page.reload()
            await start_app(lobby, page, "ben")
            assert await page.evaluate("sdk.session.participant.info.externalId") == "ben"
            await watching.until_presence("offline")
            assert time.monotonic() - began > 4
        (session,) = await sessions_of(lobby, "ben")
        assert session.generation == 1


async def test_who_signed_out_and_in_again_is_there_once_after_a_reload() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        await page.evaluate("sdk.session.close()")
        await start_app(lobby, page, "anna")  # a new object
        before = await page.evaluate("sdk.session.participant.id")
        await page.reload()
        await start_app(lobby, page, "anna")
        assert await page.evaluate("sdk.session.participant.id") == before
        (session,) = await sessions_of(lobby, "anna")
        assert (session.state, session.generation) == ("attached", 2)


async def test_who_signed_in_again_without_signing_out_is_there_once_after_a_reload() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        await page.evaluate("sdk.dispose()")
        await start_app(lobby, page, "anna")
        await page.reload()
        await start_app(lobby, page, "anna")
        (session,) = await sessions_of(lobby, "anna")
        assert session.state == "attached"


async def test_a_closed_tab_is_gone_after_five_seconds() -> None:
    async with open_lobby(grace=GRACE) as lobby:
        page = await app(lobby, "anna")
        async with watcher(lobby, "anna") as watching:
            began = time.monotonic()
            await page.close()
            await watching.until_presence("offline")
        assert 4 < time.monotonic() - began < GRACE


async def test_close_in_the_page_is_published_at_once() -> None:
    async with open_lobby(grace=GRACE, grace_going_away=GRACE) as lobby:
        page = await app(lobby, "anna")
        async with watcher(lobby, "anna") as watching:
            began = time.monotonic()
            await page.evaluate("sdk.session.close()")
            await watching.until_presence("offline")
            assert time.monotonic() - began < GRACE
        assert await page.evaluate("sdk.session.isOpen()") is False


async def test_the_network_goes_and_comes_back() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        (before,) = await sessions_of(lobby, "anna")
        await page.offline(yes=True)
        # Emulation fires `offline`, and lets no new connection through; what is open may live on.
        await page.until("navigator.onLine === false")
        await lobby.running.restart(kill=True)
        await page.until("sdk.session.state === 'reconnecting'")
        await asyncio.sleep(1)
        assert await page.evaluate("sdk.session.state") == "reconnecting"
        await page.offline(yes=False)
        await page.until("sdk.session.state === 'connected'")
        (after,) = await sessions_of(lobby, "anna")
        assert after.id == before.id


async def test_a_cable_that_is_cut_without_a_word() -> None:
    async with (
        open_lobby(grace=GRACE, ping_interval=3.2, pong_timeout=3.0) as lobby,
        cable_to(lobby.running.url) as cable,
        watcher(lobby, "anna") as watching,
    ):
        page = await app(lobby, "anna", url=cable.url)
        (before,) = await sessions_of(lobby, "anna")
        await watching.until_presence("online")
        cable.cut()
        # The tab is looked at: the SDK asks at once whether the connection lives, and waits 8 s for the answer.
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange')), 1")
        await watching.until_presence("unreachable")
        await page.until("sdk.session.state === 'reconnecting'")
        cable.mend()
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange')), 1")
        await page.until("sdk.session.state === 'connected'")
        await watching.until_presence("online")
        (after,) = await sessions_of(lobby, "anna")
        assert after.id == before.id


async def test_sleep_and_wake() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        (before,) = await sessions_of(lobby, "anna")
        await page.freeze()
        await lobby.running.restart(kill=True)
        await asyncio.sleep(3)
        await page.thaw()
        await page.until("sdk.session.state === 'connected' && events.includes('reconnecting')")
        (after,) = await sessions_of(lobby, "anna")
        assert after.id == before.id


async def test_the_token_is_renewed_on_the_open_connection() -> None:
    async with open_lobby(token_warning=1.0) as lobby:
        page = await app(lobby, "anna", life=8)
        await page.until("asked.length === 1")
        assert await page.evaluate("asked[0]") is False
        token = json.dumps(lobby.tenant.token("anna", life=600))
        await page.evaluate(f"tokens.push({token})")
        await asyncio.sleep(8)
        assert await page.evaluate("sdk.session.state") == "connected"
        assert await page.evaluate("events") == ["connecting", "connected"]


async def test_a_token_that_expires_ends_the_session() -> None:
    async with open_lobby(token_grace=1.0) as lobby:
        page = await app(lobby, "anna", life=8)
        # The callback forgets its return.
        await page.evaluate("setInterval(() => tokens.push(undefined), 50)")
        await page.until("events.includes('ended token_expired')")
        assert await page.evaluate("sdk.session.isOpen()") is False
        assert await page.evaluate("asked.includes(true)")


async def test_a_kick_is_final_and_says_so() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        participant = lobby.tenant.participant_id("anna")
        request = KickParticipant(app=lobby.tenant.key, participant_id=participant, reason="spam")
        await lobby.running.service.control.restrict(request)
        await page.until("events.includes('ended kicked')")
        await asyncio.sleep(1)
        assert await page.evaluate("sdk.session.state") == "disconnected"
        error = await page.evaluate("sdk.session.open().catch((error) => [error.name, error.reason])")
        assert error == ["TokenInvalidError", "Token_revoked"]


async def test_a_rolling_restart_ends_nothing_and_nobody_sees_it() -> None:
    async with open_lobby() as lobby:
        anna, ben = await lobby.enter("Anna"), await lobby.enter("Ben")
        await anna.until(is_presence("Ben", "online"))
        await lobby.running.restart()
        for page, other in ((anna, "Ben"), (ben, "Anna")):
            await page.until("document.getElementById('log').textContent.includes('in the same session')")
            await page.until(f"{STATE} === 'connected'")
            await page.until(is_presence(other, "online"))
            log = await page.evaluate("document.getElementById('log').textContent")
            assert "left" not in log


async def test_back_and_forward() -> None:
    async with open_lobby() as lobby:
        page = await app(lobby, "anna")
        (before,) = await sessions_of(lobby, "anna")
        await page.goto(lobby.running.url + "/healthz")
        await page.evaluate("history.back()")
        await page.until("location.pathname === '/sdk/greenroom.json'")
        if not await page.evaluate("'sdk' in window"):  # not from the back-forward cache
            await start_app(lobby, page, "anna")
        await page.until("sdk.session.state === 'connected'")
        (after,) = await sessions_of(lobby, "anna")
        assert (after.id, after.generation) == (before.id, before.generation + 1)
        assert await page.evaluate("Object.keys(sessionStorage).length") == 0


async def test_signing_in_again_after_leaving() -> None:
    async with open_lobby() as lobby:
        page = await lobby.enter("Anna")
        await page.evaluate("document.getElementById('leave').click()")
        await page.until(f"{STATE} === 'disconnected'")
        await sign_in(page, "Anna")
        assert page.problems == []
