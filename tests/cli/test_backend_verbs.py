"""Verbs of an app's backend: participants, sessions, events, webhooks, against a running service."""

from __future__ import annotations

import json
from typing import Any

from greenroom.cli.exits import Exit
from tests.cli.running import Ran, run
from tests.server.harness import House, Tenant, running_service
from tests.server.webhooks.receiver import answer, receiver

LOOPBACK: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}


async def verb(house: House, tenant: Tenant, *arguments: str) -> Ran:
    return await run(*arguments, "--url", house.url, "--key", tenant.key, "--secret", tenant.secret)


async def test_participants_and_sessions() -> None:
    async with running_service() as house, house.connect() as client:
        tenant = await house.new_application()
        assert "There is nobody." in (await verb(house, tenant, "participants", "list")).out
        opened = await client.open(tenant.token("anna"), participant={"name": "[bold]Anna[/]"})
        table = (await verb(house, tenant, "participants", "list", "--presence", "online")).out
        assert "[bold]Anna[/]" in table
        assert (await verb(house, tenant, "participants", "show", "ext:anna", "--json")).json["sessions"] == 1
        assert opened.id in (await verb(house, tenant, "sessions", "list", "--external-id", "anna")).out
        assert "opened" in (await verb(house, tenant, "sessions", "show", opened.id)).out
        assert "kicked" in (await verb(house, tenant, "sessions", "end", opened.id, "--reason", "bye")).out
        assert (await client.notified("session.ended"))["message"] == "bye"
        assert (await verb(house, tenant, "participants", "kick", "ext:anna", "--json")).json["ended"] == []
        assert "Blocked for good." in (await verb(house, tenant, "participants", "block", "ext:anna")).out
        assert len((await verb(house, tenant, "participants", "blocks", "--json")).json) == 1
        assert (await verb(house, tenant, "participants", "unblock", "ext:anna")).code == 0
        assert (await verb(house, tenant, "participants", "unblock", "ext:anna")).code == Exit.NOT_FOUND
        assert "Erased" in (await verb(house, tenant, "participants", "erase", "ext:anna", "--yes")).out
        assert (await verb(house, tenant, "participants", "show", "ext:anna")).code == Exit.NOT_FOUND
        assert (await verb(house, tenant, "participants", "list", "--presence", "asleep")).code == Exit.USAGE
        assert (await run("participants", "list", "--url", house.url)).code == Exit.USAGE


async def test_events() -> None:
    async with running_service() as house:
        tenant = await house.new_application()
        async with house.connect() as client:
            await client.open(tenant.token("anna"))
            await client.call("session.close")
        ran = await verb(house, tenant, "events", "--type", "session.*", "--json")
        assert [json.loads(line)["type"] for line in ran.out.splitlines()] == ["session.opened", "session.ended"]
        assert "session.ended" in (await verb(house, tenant, "events")).out


async def test_webhooks() -> None:
    async with running_service(**LOOPBACK) as house, receiver() as there:
        tenant = await house.new_application()
        made = (await verb(house, tenant, "webhooks", "add", there.url, "--event", "session.*", "--json")).json
        endpoint = made["endpoint"]["id"]
        assert made["secret"].startswith("whsec_")
        assert there.url in (await verb(house, tenant, "webhooks", "list")).out
        assert "Delivered" in (await verb(house, tenant, "webhooks", "test", endpoint)).out
        there.answer = answer(500)
        failed = await verb(house, tenant, "webhooks", "test", endpoint)
        assert (failed.code, "status 500" in failed.out) == (1, True)
        there.answer = answer(200)
        async with house.connect() as client:
            await client.open(tenant.token("anna"))
            await there.wait_for(3)
        assert (await verb(house, tenant, "webhooks", "replay", endpoint, "--from", "0", "--json")).json["queued"] >= 1
        await there.wait_for(4)
        assert "no dead letters" in (await verb(house, tenant, "webhooks", "dead-letters", endpoint)).out
        assert "whsec_" in (await verb(house, tenant, "webhooks", "rotate-secret", endpoint)).out
        assert (await verb(house, tenant, "webhooks", "enable", endpoint)).code == 0
        assert (await verb(house, tenant, "webhooks", "remove", endpoint)).code == 0
        assert (await verb(house, tenant, "webhooks", "test", endpoint)).code == Exit.NOT_FOUND
