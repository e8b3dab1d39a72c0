"""Fetching events, on a real service."""

from __future__ import annotations

import asyncio
import time

from tests.server.api_service import api_service
from tests.server.harness import RunningService, Tenant


async def test_events_of_a_session_come_in_order_and_page_by_page() -> None:
    async with api_service() as (running, tenant, api):
        async with running.connect() as client:
            opened = await client.open(tenant.token("anna"), participant={"name": "Anna"})
            await client.call("session.updateParticipantInfo", updateId="u1", name="Anne")
            await client.call("session.close")
        whole = await api.good("GET", "/v1/events", limit=1000)
        received = [item["type"] for item in whole["items"]]
        assert [each for each in received if each.startswith("session.")] == ["session.opened", "session.ended"]
        people = [each for each in received if each.startswith("participant.")]
        assert people[-1] == "participant.offline"
        assert people.index("participant.online") < people.index("participant.offline")
        ended = whole["items"][received.index("session.ended")]
        assert ended["id"] == f"{opened.id}:ended"
        assert ended["data"]["reason"] == "closed"
        assert ended["data"]["duration"] >= 0
        assert ended["appKey"] == tenant.key
        assert ended["timestamp"].endswith("Z")
        pieces = []
        cursor: dict[str, str] = {}
        for _ in range(20):
            page = await api.good("GET", "/v1/events", limit=2, **cursor)
            pieces += page["items"]
            cursor = {"after": page["cursor"]}
            if not page["items"]:
                break
        assert pieces == whole["items"]
        only = await api.good("GET", "/v1/events", type=["session.*", "participant.updated"])
        assert {item["type"] for item in only["items"]} <= {"session.opened", "session.ended", "participant.updated"}


async def test_the_latest_come_without_the_others_and_with_where_to_go_on() -> None:
    async with api_service() as (running, tenant, api):
        nothing = await api.good("GET", "/v1/events", latest=5)
        assert nothing["items"] == []
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            whole = (await api.good("GET", "/v1/events"))["items"]
            latest = await api.good("GET", "/v1/events", latest=1)
            assert latest["items"] == whole[-1:]
            assert (await api.good("GET", "/v1/events", after=nothing["cursor"]))["items"] == whole
            assert (await api.good("GET", "/v1/events", after=latest["cursor"]))["items"] == []
            await client.call("session.close")
            assert (await api.good("GET", "/v1/events", after=latest["cursor"]))["items"][0]["type"] == "session.ended"
            assert (await api.good("GET", "/v1/events", latest=2, type="session.opened"))["items"] == []
        assert await api.refused("GET", "/v1/events", latest=1, after="now") == (400, "Illegal_argument")
        assert await api.refused("GET", "/v1/events", latest=0) == (400, "Illegal_argument")


LONGEST = 30
"""Seconds that a poll may ask for."""


async def test_a_poll_waits_for_what_happens_and_no_longer() -> None:
    async with api_service() as (running, tenant, api):
        start = (await api.good("GET", "/v1/events", after="now"))["cursor"]
        began = time.monotonic()
        assert (await api.good("GET", "/v1/events", after=start, wait=0.2))["items"] == []
        assert 0.2 <= time.monotonic() - began < LONGEST / 2
        waiting = asyncio.create_task(api.good("GET", "/v1/events", after=start, wait=LONGEST))
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            began = time.monotonic()
            page = await waiting
            assert time.monotonic() - began < LONGEST / 2
        assert page["items"][0]["type"] in ("session.opened", "participant.online")


async def test_bad_cursors_and_waits_are_refused() -> None:
    async with api_service() as (_, _tenant, api):
        assert await api.refused("GET", "/v1/events", after="nonsense") == (400, "Illegal_argument")
        assert await api.refused("GET", "/v1/events", wait=31) == (400, "Illegal_argument")
        assert await api.refused("GET", "/v1/events", wait=-1) == (400, "Illegal_argument")


async def test_a_read_is_never_older_than_an_event() -> None:
    async with api_service() as (running, tenant, api):
        cursor = (await api.good("GET", "/v1/events", after="now"))["cursor"]
        changing = asyncio.create_task(_change(running, tenant))
        seen = 0
        while seen < PARTICIPANTS:
            page = await api.good("GET", "/v1/events", after=cursor, wait=5, type="participant.updated")
            cursor = page["cursor"]
            for item in page["items"]:
                seen += 1
                record = await api.good("GET", f"/v1/participants/{item['participantId']}")
                assert record["version"] >= item["data"]["version"]
                assert record["revision"] >= item["data"]["revision"]
        await changing


PARTICIPANTS = 15


async def _change(running: RunningService, tenant: Tenant) -> None:
    """Each changes twice: the first change is an event at once, the second waits for its turn."""
    for number in range(PARTICIPANTS):
        async with running.connect() as client:
            await client.open(tenant.token(f"anna-{number}"), participant={"name": "n0"})
            for turn in (1, 2):
                await client.call("session.updateParticipantInfo", updateId=f"u{turn}", name=f"n{turn}")


async def test_a_poll_whose_client_has_gone_does_not_outlive_the_service() -> None:
    async with api_service() as (_, _tenant, api):
        start = (await api.good("GET", "/v1/events", after="now"))["cursor"]
        waiting = asyncio.create_task(api.good("GET", "/v1/events", after=start, wait=30))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    # The test's runner fails it for tasks that are left.
