"""``greenroom events``: what happened, and what happens."""

from __future__ import annotations

import json

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend, following
from tests.server.harness import running_service


async def test_events() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await client.call("session.close")
        ran = await as_backend(running, tenant, "events", "--type", "session.*", "--json")
        assert [json.loads(line)["type"] for line in ran.out.splitlines()] == ["session.opened", "session.ended"]
        assert "session.ended" in (await as_backend(running, tenant, "events")).out


async def test_no_event_is_missed_between_the_first_page_and_what_follows() -> None:
    async with running_service() as running, running.connect() as anna:
        tenant = await running.new_application()
        await anna.open(tenant.token("anna"))
        async with following(running, tenant, "events", "--follow", "--type", "session.*", "--json") as events:
            opened = json.loads(await events.line())
            assert (opened["type"], opened["participantId"]) == ("session.opened", tenant.participant_id("anna"))
            await anna.call("session.close")
            assert json.loads(await events.line())["type"] == "session.ended"


async def test_a_cursor_that_is_none_is_refused() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        ran = await as_backend(running, tenant, "events", "--after", "yesterday")
        assert (ran.code, ran.err.startswith("greenroom: Invalid cursor.")) == (Exit.USAGE, True)
        assert (await as_backend(running, tenant, "events", "--after", "now")).out == ""
