"""Two tabs of a real Chromium, a real proxy, two real nodes on one Redis: all nodes are restarted, nobody notices.

For `make soak`: in `make test` tabs live through a restart of one node (`test_page_life.py`), SDKs through a restart of
all nodes (`tests/cluster/test_faults.py`) and behind both proxies (`tests/deploy/test_proxies.py`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from greenroom.model import SessionRecord
from tests.browser.chromium import Browser, Page, chromium
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import Cluster
from tests.deploy.test_proxies import nodes_behind

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.soak]

NAMES = ("anna", "ben")


@pytest.fixture(params=["nginx", "haproxy"])
def behind(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, Cluster]]:
    """The nodes, and the proxy, which has their place for browsers."""
    with nodes_behind(request.param, 2) as found:
        yield found


async def _tab(browser: Browser, url: str, token: str, name: str) -> Page:
    """A bare page with the SDK, a session open, that writes down all that the SDK reports."""
    page = await browser.open(url + "/sdk/greenroom.json")
    await page.evaluate(
        f"""(async () => {{
            const {{ Greenroom }} = await import('/sdk/greenroom.js');
            const sdk = window.sdk = new Greenroom(location.origin);
            window.reported = [];
            window.seen = [];
            sdk.session.onStateChanged((state) => reported.push(state));
            sdk.session.onEnded((end) => reported.push('ended ' + end.reason));
            sdk.session.onReopened((one) => reported.push('reopened ' + one.reason));
            sdk.initializeToken({json.dumps(token)});
            await sdk.session.open({{ name: {json.dumps(name)} }}, {{ timeout: 20 }});
        }})()"""
    )
    return page


async def _watch(page: Page, external_id: str) -> None:
    """From now on `seen` has what the page gets of that participant: first how he is, then every change."""
    await page.evaluate(
        f"""(async () => {{
            const keep = (one) => seen.push({{ presence: one.presence, name: one.info.name }});
            window.watch = await sdk.participants.watch({{ externalIds: [{json.dumps(external_id)}] }}, keep);
            seen.unshift(...watch.participants.map((one) => ({{ presence: one.presence, name: one.info.name }})));
        }})()"""
    )


async def _sessions(crowd: Crowd) -> dict[str, SessionRecord]:
    """By external id; each has one."""
    found = await crowd.sessions()
    by_name = {one.external_id or "": one for one in found}
    assert len(by_name) == len(found) == len(NAMES), found
    return by_name


async def _renamed(page: Page, other: Page, name: str) -> None:
    """A change of name here arrives there."""
    await page.evaluate(f"sdk.session.updateParticipantInfo({json.dumps(name)})")
    await other.until(f"seen.at(-1).name === {json.dumps(name)}")


async def _both_arrived(pages: list[Page], suffix: str) -> None:
    anna, ben = pages
    await _renamed(anna, ben, "Anna" + suffix)
    await _renamed(ben, anna, "Ben" + suffix)


async def test_a_rolling_restart_of_all_nodes_ends_nothing_and_no_tab_sees_it(behind: tuple[Cluster, Cluster]) -> None:
    cluster, front = behind
    url = front.nodes[0].url
    async with chromium() as browser, crowd_at(cluster, seed=601) as (crowd,):
        pages = [await _tab(browser, url, crowd.mint(name), name.title()) for name in NAMES]
        for page, other in zip(pages, reversed(NAMES), strict=True):
            await _watch(page, other)
        await _both_arrived(pages, " before")
        before, events = await _sessions(crowd), len(await crowd.events())

        began = time.monotonic()
        await asyncio.to_thread(cluster.rolling_restart)
        print(f"all nodes restarted in {time.monotonic() - began:.1f} s")

        for page in pages:
            await page.until("sdk.session.state === 'connected'")
        await _both_arrived(pages, " after")
        after = await _sessions(crowd)
        for page, name in zip(pages, NAMES, strict=True):
            reported, seen = await page.evaluate("reported"), await page.evaluate("seen")
            print(name, reported, seen, after[name].generation)
            assert not [one for one in reported if one.startswith(("ended", "reopened")) or one == "disconnected"], (
                reported
            )
            assert {one["presence"] for one in seen} == {"online"}, seen
            assert await page.evaluate("sdk.session.state") == "connected"
            assert after[name].id == before[name].id
            assert after[name].generation > before[name].generation, "it was nowhere but on the nodes that went"
        news = {one.type for one in (await crowd.events())[events:]}
        assert news <= {"session.resumed", "session.detached", "participant.updated"}, news
