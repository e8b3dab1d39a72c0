"""The console in a real Chromium, against the real service."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from greenroom.engines.base import Headcount
from tests.browser.chromium import Browser, Page, ScriptError, chromium
from tests.cli.running import run
from tests.server.api_service import api_of
from tests.server.crowds import crowd, name_of
from tests.server.harness import Client, Opened, RunningService, Tenant, running_service
from tests.server.issuers import signer

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

NASTY = ("<img src=x onerror=\"document.title='owned'\">", "__proto__", "constructor", "</script><b>bold", "{{7*7}}")
"""Names that are just names."""


@dataclass
class Site:
    """A service, an application, and a console that is signed in to it."""

    running: RunningService
    tenant: Tenant
    browser: Browser
    page: Page
    clients: list[Client] = field(default_factory=list)

    async def arrive(self, external_id: str, called: str, **device: str) -> tuple[Client, Opened]:
        """Someone opens a session."""
        client = await self.running.dial()
        self.clients.append(client)  # one that nobody holds is collected, and lost
        return client, await client.open(
            self.tenant.token(external_id), participant={"name": called}, device=device or {}
        )

    async def choose(self, name: str) -> None:
        """Click on someone in the list."""
        await self.page.until(is_here(name))
        await self.page.evaluate(f"({row(name)}).querySelector('button').click()")
        await self.page.until(f"document.querySelector('#detail .portrait .name bdi')?.textContent === {quoted(name)}")


def quoted(text: str) -> str:
    return json.dumps(text)


def row(name: str) -> str:
    """An expression: the item of the list that shows the name."""
    return (
        "[...document.querySelectorAll('#people > li')]"
        f".find((one) => one.querySelector('bdi').textContent === {quoted(name)})"
    )


def is_here(name: str, presence: str = "online") -> str:
    return f"({row(name)})?.dataset.presence === {quoted(presence)}"


def said(name: str, verb: str) -> str:
    """An expression: whether the stream reports it."""
    return (
        "[...document.querySelectorAll('#events > li')].some((one) =>"
        f" one.dataset.verb === {quoted(verb)} && one.querySelector('bdi')?.textContent === {quoted(name)})"
    )


async def sign_in(page: Page, tenant: Tenant, *, look_only: bool = False, secret: str = "") -> None:
    await page.until("!!document.getElementById('sign-in')")
    await page.evaluate(f"document.getElementById('key').value = {quoted(tenant.key)}")
    await page.evaluate(f"document.getElementById('secret').value = {quoted(secret or tenant.secret)}")
    await page.evaluate(f"document.getElementById('look-only').checked = {json.dumps(look_only)}")
    await page.evaluate("document.getElementById('sign-in').requestSubmit()")


@asynccontextmanager
async def signed_in(
    *, look_only: bool = False, width: int = 1280, height: int = 900, **more: Any
) -> AsyncIterator[Site]:
    """more: settings of the application."""
    async with running_service() as running, chromium() as browser:
        tenant = await running.new_application("Studio", **more)
        page = await browser.open(running.url + "/console/", width=width, height=height)
        await sign_in(page, tenant, look_only=look_only)
        await page.until("document.getElementById('state').dataset.state === 'connected'")
        yield Site(running, tenant, browser, page)


async def test_who_comes_and_goes_is_seen_at_once() -> None:
    async with signed_in() as site:
        page = site.page
        anna, opened = await site.arrive("anna", "Anna Karlsson", name="Anna's phone")
        ben, _ = await site.arrive("ben", "Ben Okafor")
        await page.until(is_here("Anna Karlsson"))
        await page.until(is_here("Ben Okafor"))
        await page.until(said("Anna Karlsson", "opened"))
        await ben.call("session.updateParticipantInfo", updateId="1", name="Benjamin Okafor")
        await page.until(is_here("Benjamin Okafor"))
        anna.abort()
        await page.until(is_here("Anna Karlsson", "unreachable"))
        async with site.running.connect() as again:
            await again.resume(opened)
            await page.until(is_here("Anna Karlsson"))
            await again.call("session.close")
            await page.until(f"!({row('Anna Karlsson')}) || {is_here('Anna Karlsson', 'offline')}")
            await page.until(f"!({row('Anna Karlsson')})")
        await page.until(said("Anna Karlsson", "ended"))
        await ben.drop()
        assert page.problems == []


async def test_attributes_and_statuses_are_shown() -> None:
    async with signed_in() as site:
        page = site.page
        anna, _ = await site.arrive("anna", "Anna Karlsson", name="Anna's phone")
        await anna.call("session.updateParticipantInfo", updateId="1", attributes={"<b>role": "<i>nurse"})
        await anna.call("session.setStatus", status="in <u>surgery")
        await page.until(f"{row('Anna Karlsson')}?.textContent.includes('in <u>surgery')")
        await site.choose("Anna Karlsson")
        await page.until("document.querySelector('#detail .facts')?.textContent.includes('<b>role<i>nurse')")
        await page.until("document.querySelector('#detail .session')?.textContent.includes('in <u>surgery')")
        await anna.drop()
        assert page.problems == []


async def test_issuers_are_shown_where_there_are_some() -> None:
    async with signed_in() as site:
        hidden = "document.getElementById('issuers-card').hidden"
        assert await site.page.evaluate(hidden) is True
        key = signer("ES256")
        body = {
            "issuer": "https://<b>id</b>.example",
            "audience": "my-app",
            "algorithms": ["ES256"],
            "keys": [key.public],
        }
        await api_of(site.running, site.tenant).good("POST", "/v1/issuers", {**body, "keys": [key.public]})
        await site.page.reload()
        await sign_in(site.page, site.tenant)
        await site.page.until(f"{hidden} === false")
        shown = await site.page.evaluate("document.getElementById('issuers').textContent")
        assert "https://<b>id</b>.example" in shown
        assert "my-app · ES256 key-1" in shown


def in_room(room: str, member: str) -> str:
    """An expression: the member's line in the card of rooms."""
    return (
        f"[...document.querySelectorAll('#rooms [data-room={quoted(room)}] [data-id]')]"
        f".find((one) => one.querySelector('bdi').textContent === {quoted(member)})"
    )


async def test_rooms_and_their_members_are_shown_kicked_and_ended() -> None:
    async with signed_in() as site:
        page = site.page
        await page.until("document.querySelector('#rooms').textContent === 'No room is open.'")
        anna, _ = await site.arrive("anna", "Anna")
        bob, _ = await site.arrive("bob", "Bob")
        for client in (anna, bob):
            await client.call("rooms.join", room="standup")
        room = "document.querySelector('#rooms [data-room=\"standup\"]')"
        await page.until(f"({room})?.textContent.includes('2 members')")
        await page.evaluate(f"({room}).querySelector('button').click()")
        await page.until(f"Boolean(({in_room('standup', 'Anna')}) && ({in_room('standup', 'Bob')}))")
        await page.evaluate(f"({in_room('standup', 'Bob')}).querySelectorAll('button')[1].click()")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        assert await bob.notified("rooms.left") == {"room": "standup", "reason": "kicked"}
        await page.until(f"!({in_room('standup', 'Bob')})")
        await page.evaluate(f"[...({room}).querySelectorAll('.buttons button')][0].click()")
        await page.evaluate("document.querySelector('#ask-reason').value = 'Two minutes left'")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        assert (await anna.notified("rooms.message"))["message"] == "Two minutes left"
        await page.evaluate(f"[...({room}).querySelectorAll('.buttons button')][1].click()")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        assert await anna.notified("rooms.left") == {"room": "standup", "reason": "ended"}
        await page.until("document.querySelector('#rooms').textContent === 'No room is open.'")


async def test_a_kick_and_a_block_are_confirmed_and_happen() -> None:
    async with signed_in() as site:
        page = site.page
        anna, _ = await site.arrive("anna", "Anna Karlsson", name="Anna's phone")
        await site.choose("Anna Karlsson")
        await page.until("document.querySelectorAll('#detail .timeline li').length > 0")
        assert "Anna's phone" in await page.evaluate("document.querySelector('#detail .session').textContent")
        await page.evaluate("document.getElementById('kick').click()")
        await page.until("document.getElementById('ask').open")
        await page.screenshot("console-kick")
        # Cancelled, nothing happens.
        await page.evaluate("document.getElementById('ask-cancel').click()")
        assert await anna.call("session.getParticipant")
        # Asked, cancelled, and asked again before the first dialog's `close` has come.
        clicks = ("kick", "ask-cancel", "kick")
        await page.evaluate("".join(f"document.getElementById('{one}').click();" for one in clicks))
        await page.evaluate("document.getElementById('ask-reason').value = 'The show is over'")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        ended = await anna.notified("session.ended")
        assert (ended["reason"], ended["message"]) == ("kicked", "The show is over")
        await page.until("document.querySelector('#detail .session')?.dataset.state === 'closed'")
        await page.until("document.getElementById('toast').textContent.includes('was kicked')")
        ben, _ = await site.arrive("ben", "Ben Okafor")
        await site.choose("Ben Okafor")
        await page.evaluate("document.getElementById('block').click()")
        await page.evaluate("document.getElementById('ask-term').value = ''")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        assert (await ben.notified("session.ended"))["reason"] == "blocked"
        await page.until("document.querySelector('#blocks .name')?.textContent === 'Ben Okafor'")
        await page.screenshot("console-blocked")
        await page.evaluate("document.querySelector('#blocks button').click()")
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        await page.until("document.getElementById('blocks').textContent === 'Nobody.'")
        assert page.problems == []


async def test_one_session_is_ended_and_the_other_goes_on() -> None:
    async with signed_in() as site:
        page = site.page
        phone, _ = await site.arrive("anna", "Anna", id="phone", name="Phone")
        desk, _ = await site.arrive("anna", "Anna", id="desk", name="Desk")
        await site.choose("Anna")
        await page.until("document.querySelectorAll('#detail .session').length === 2")
        await page.evaluate(
            "[...document.querySelectorAll('#detail .session')].find((one) => one.textContent.includes('Phone'))"
            ".querySelector('button').click()"
        )
        await page.evaluate("document.getElementById('ask-form').requestSubmit()")
        assert (await phone.notified("session.ended"))["reason"] == "kicked"
        assert await desk.call("session.getParticipant")
        assert page.problems == []


async def test_names_are_just_names() -> None:
    async with signed_in() as site:
        page = site.page
        for name in NASTY:
            client, _ = await site.arrive(name, name)
            # Nothing is loaded but over TLS: others on the way would read who is looked at.
            avatar = "http://avatars.example.com/a.png"
            await client.call("session.updateParticipantInfo", updateId="1", avatarUrl=avatar)
            await page.until(is_here(name))
            await site.choose(name)
        await page.until(said(NASTY[0], "opened"))
        await page.screenshot("console-names")
        assert await page.evaluate("document.title") == "Greenroom console"
        assert await page.evaluate("document.querySelectorAll('#console img, #console script, #console b').length") == 0
        assert await page.evaluate("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")
        assert page.problems == []


async def test_the_policy_stops_scripts_in_the_page() -> None:
    """What a hole would be used for does not run either; and what is asked for at sign-in is kept nowhere."""
    async with signed_in() as site:
        page = site.page
        assert page.problems == []
        stored = await page.evaluate(
            "JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie + location"
        )
        assert site.tenant.secret not in stored
        assert "eyJ" not in stored
        assert await page.evaluate("document.getElementById('secret').value") == ""
        for attempt in (
            "document.createElement('div').innerHTML = '<b>x</b>'",
            "document.body.setAttribute('onclick', 'document.title = 1')",
        ):
            with pytest.raises(ScriptError, match="Trusted|Content Security Policy"):
                await page.evaluate(attempt)
        await page.evaluate(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://a.invalid'}))"
        )
        assert await page.evaluate("document.title") == "Greenroom console"
        assert any("Content Security Policy" in problem for problem in page.problems)


async def test_who_looks_only_can_do_nothing() -> None:
    async with signed_in(look_only=True) as site:
        await site.arrive("anna", "Anna")
        await site.choose("Anna")
        await site.page.until("document.querySelectorAll('#detail .session').length === 1")
        assert await site.page.evaluate("document.querySelectorAll('#detail button').length") == 0
        assert site.page.problems == []


async def test_a_wrong_secret_is_said_and_signing_out_forgets() -> None:
    async with signed_in() as site:
        page = site.page
        await site.arrive("anna", "Anna")
        await page.until(is_here("Anna"))
        await page.evaluate("document.getElementById('sign-out').click()")
        assert await page.evaluate("document.getElementById('console').hidden")
        assert await page.evaluate("document.getElementById('people').children.length") == 0
        await sign_in(page, site.tenant, secret="wrong")
        await page.until("!document.getElementById('sign-in-problem').hidden")
        problem = await page.evaluate("document.getElementById('sign-in-problem').textContent")
        assert "app key or the app secret is wrong" in problem
        await page.screenshot("console-sign-in")
        # Its session has ended: it is nobody's ghost.
        counts = await site.running.service.engine.statistics.count(site.tenant.key)
        assert counts.attached == 1


async def test_it_begins_with_what_was_before_it_was_opened() -> None:
    async with running_service() as running, chromium() as browser:
        tenant = await running.new_application("Studio")
        statistics = running.service.engine.statistics
        now = int(running.service.clocks.wall() * 1000)
        past = [Headcount(now - 30_000 * ago, online=40 + ago, attached=60 + ago) for ago in range(70, 0, -1)]
        for headcount in [Headcount(now - 2 * 3_600_000, attached=9_999), *past]:
            await statistics.keep(tenant.key, headcount)
        async with running.connect() as client:
            await client.open(tenant.token("anna"), participant={"name": "Anna Karlsson"})
            await client.call("session.close")
        page = await browser.open(running.url + "/console/")
        await sign_in(page, tenant)
        await page.until("document.querySelector('#chart polyline.sessions')?.points.numberOfItems >= 70")
        label = await page.evaluate("document.querySelector('#chart svg').getAttribute('aria-label')")
        assert label == "0 sessions of 0 participants now; in the last hour at most 130 sessions"
        top = await page.evaluate("[...document.querySelectorAll('#chart text')].map((one) => one.textContent)")
        assert top[:3] == ["0", "100", "200"]
        await page.until(said("Anna Karlsson", "opened"))
        await page.until(said("Anna Karlsson", "ended"))
        await page.until("document.getElementById('n-opens').textContent === '1'")
        verbs = await page.evaluate("[...document.querySelectorAll('#events > li')].map((one) => one.dataset.verb)")
        assert sorted(verbs[:2]) == ["ended", "offline"]
        assert sorted(verbs[2:]) == ["online", "opened"]
        assert page.problems == []


async def test_an_empty_service_says_what_to_do_first_and_it_works() -> None:
    async with signed_in() as site:
        page = site.page
        await page.until("!document.getElementById('first-steps').hidden")
        card, steps = (
            f"Math.max(...[...document.querySelectorAll('{one}')].map((one) => one.getBoundingClientRect().right))"
            for one in (".people", "#first-steps *")
        )
        assert await page.evaluate(f"{steps} < {card}")
        for scheme in ("light", "dark"):
            await page.scheme(scheme)
            await page.screenshot(f"console-empty-{scheme}")
        received = {step: await page.evaluate(f"document.getElementById('step-{step}').textContent") for step in STEPS}
        verb, *arguments = shlex.split(received["token"].replace("APP SECRET", site.tenant.secret))
        assert verb == "greenroom"
        token = (await run(*arguments)).out.strip()
        app = await site.browser.open(site.running.url + "/console/icon.svg")
        await app.evaluate(in_async_function(received["open"].replace("ACCESS TOKEN", token)))
        await page.until(is_here("Anna"))
        assert await page.evaluate("document.getElementById('first-steps').hidden")
        assert received["cli"].replace("greenroom open", "greenroom token client") == received["token"] + " --name Anna"
        assert page.problems == []


STEPS = ("token", "open", "cli")


def in_async_function(module: str) -> str:
    """A module as an expression, with its import as a call."""
    head, _, body = module.partition("\n")
    url = head.split('"')[1]
    return f"(async () => {{ const {{ Greenroom }} = await import({quoted(url)}); {body}; return true; }})()"


async def test_where_there_are_many_the_service_searches_and_pages() -> None:
    count = "document.getElementById('people').children.length"
    note = "document.getElementById('people-note').textContent"
    async with running_service() as running, chromium() as browser:
        tenant = await running.new_application("Studio")
        async with crowd(tenant, 1300):
            page = await browser.open(running.url + "/console/")
            await sign_in(page, tenant)
            await page.until(f"{note} === '300 of more than 1,000.'")
            assert await page.evaluate(count) == 300
            # Who is not among those that are listed is found all the same, also in the other case.
            ids = sorted((tenant.participant_id(f"user-{number}"), number) for number in range(1300))
            # A Turkish name has no other case that leads back: its ı is an I.
            last = next(
                number for _, number in reversed(ids) if name_of(number).upper().lower() == name_of(number).lower()
            )
            assert not await page.evaluate(row(name_of(last)))
            await search(page, name_of(last).upper())
            await page.until(is_here(name_of(last)))
            await page.until(f"{note} === ''")
            await search(page, "user-")
            await page.until(f"{note}.startsWith('300 of ')")
            await search(page, "nobody at all")
            await page.until(f"{note}.startsWith('Nobody who is online matches.')")
            await page.screenshot("console-many")
            await search(page, "")
            for _ in range(4):
                await page.evaluate("document.getElementById('people-more').click()")
                await asyncio.sleep(0.1)
            await page.until(f"{count} === 1300")
            assert await page.evaluate("document.getElementById('people-more').hidden")
            assert page.problems == []


async def search(page: Page, text: str) -> None:
    await page.evaluate(f"document.getElementById('search').value = {quoted(text)}")
    await page.evaluate("document.getElementById('search').dispatchEvent(new Event('input'))")


async def test_nobody_is_counted_because_an_operator_looks() -> None:
    """An application whose pages may come from elsewhere only has a console all the same."""
    async with signed_in(allowed_origins=("https://app.example.com",)) as site:
        api = api_of(site.running, site.tenant)
        assert (await api.good("GET", "/v1/participants"))["items"] == []
        assert (await api.good("GET", "/v1/counts"))["sessions"] == {"attached": 0, "detached": 0}
        assert (await api.good("GET", "/v1/events"))["items"] == []
        client, _ = await site.arrive("anna", "Anna")
        await site.page.until(is_here("Anna"))
        await client.call("session.updateParticipantInfo", updateId="1", name="Anna Two")
        await site.page.until(is_here("Anna Two"))


async def test_a_proxy_may_serve_it_below_a_path() -> None:
    async with running_service() as running, below_a_path(running.url, "/rt") as url, chromium() as browser:
        tenant = await running.new_application("Studio")
        page = await browser.open(url + "/console")
        await sign_in(page, tenant)
        await page.until("document.getElementById('state').dataset.state === 'connected'")
        assert await page.evaluate("location.pathname") == "/rt/console/"
        client = await running.dial()
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        await page.until(is_here("Anna"))
        assert page.problems == []


async def test_a_form_goes_nowhere_without_its_script() -> None:
    """Key and secret must not end up in an address, should a proxy lose the scripts."""
    async with running_service() as running, chromium() as browser:
        page = await browser.open(running.url + "/console/")
        await page.until("!!document.getElementById('sign-in')")
        before = await page.evaluate("location.href")
        await page.evaluate(
            "{const form = document.getElementById('sign-in').cloneNode(true);"
            " document.body.append(form); form.querySelector('#key').value = 'k';"
            " form.querySelector('#secret').value = 's'; form.requestSubmit();}"
        )
        assert await page.evaluate("location.href") == before
        assert await page.evaluate(
            "[...document.forms].every((form) => form.method === 'dialog' && !form.hasAttribute('action'))"
        )


@asynccontextmanager
async def below_a_path(url: str, prefix: str) -> AsyncIterator[str]:
    """A proxy that serves the service at `url` below `prefix`, and nothing else."""

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if not path.startswith(prefix + "/"):
            return web.Response(status=404)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        async with session.request(
            request.method, url + path.removeprefix(prefix), headers=headers, data=await request.read(),
            allow_redirects=False,
        ) as reply:  # fmt: skip
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=reply.status, headers=kept, body=await reply.read())

    server = web.Server(forward)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        try:
            yield "http://{}:{}{}".format(*listener.sockets[0].getsockname(), prefix)
        finally:
            listener.close()
            await server.shutdown(1.0)


HOP_BY_HOP = frozenset(("connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"))


STILL = "!document.getAnimations().some((one) => one instanceof CSSTransition)"
"""An expression: whether nothing fades any more."""
PEOPLE = (
    "Anna Karlsson", "Ben Okafor", "Chloé Dubois", "Dmitri Volkov", "Esra Yılmaz", "Farid Haddad", "Grace Lin",
    "Hiroshi Tanaka", "李小龍", "Ngozi Adeyemi", "Ola Nordmann", "Zoë van der Berg",
)  # fmt: skip
DEVICES = ("iPhone", "Firefox on Linux", "Studio iPad", "Chrome on Windows")


@pytest.mark.parametrize(("size", "width", "height"), [("desktop", 1280, 1500), ("phone", 390, 844)])
async def test_how_it_looks(size: str, width: int, height: int) -> None:
    """By day and night, at a desk and on a phone: nothing sticks out, and the pictures are kept."""
    async with signed_in(width=width, height=height) as site:
        page = site.page
        for number, name in enumerate(PEOPLE):
            await site.arrive(f"user-{number}", name, name=DEVICES[number % len(DEVICES)])
        site.clients[3].abort()
        await site.arrive("user-0", "Anna Karlsson", name="MacBook")
        await page.until(is_here("Dmitri Volkov", "unreachable"))
        await site.choose("Anna Karlsson")
        await page.until("document.querySelectorAll('#detail .session').length === 2")
        await page.until("document.getElementById('n-sessions').textContent === '13'")
        await page.until(
            "document.querySelector('#chart svg').getAttribute('aria-label').startsWith('13 sessions of 12')"
        )
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for scheme in ("light", "dark"):
            await page.scheme(scheme)
            await page.evaluate("scrollTo(0, 0)")
            await page.until(STILL)
            await page.screenshot(f"console-{size}-{scheme}")
        if size == "phone":
            for part in ("detail", "events", "bounds"):
                await page.evaluate(f"document.querySelector('.{part}').scrollIntoView()")
                await page.screenshot(f"console-phone-{part}")
        assert page.problems == []


async def test_it_is_usable_with_the_keyboard_alone() -> None:
    async with signed_in() as site:
        page = site.page
        client, _ = await site.arrive("anna", "Anna")
        await page.until(is_here("Anna"))
        await page.evaluate(f"({row('Anna')}).querySelector('button').focus()")
        await press(page, "Enter")
        await page.until("!!document.getElementById('kick')")
        await page.evaluate("document.getElementById('kick').focus()")
        await press(page, "Enter")
        await page.until("document.activeElement.id === 'ask-reason'")
        # What is behind the dialog is drawn again: the focus goes back all the same.
        await client.call("session.updateParticipantInfo", updateId="1", name="Anna B.")
        await page.until("document.querySelector('#detail .portrait .name bdi').textContent === 'Anna B.'")
        await press(page, "Escape")
        await page.until("!document.getElementById('ask').open && document.activeElement.id === 'kick'")
        await press(page, "Enter")
        await page.until("document.activeElement.id === 'ask-reason'")
        await press(page, "Enter")
        assert (await client.notified("session.ended"))["reason"] == "kicked"
        assert page.problems == []


async def press(page: Page, key: str) -> None:
    code = {"Enter": 13, "Escape": 27}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        more = text if kind == "keyDown" else {}
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
