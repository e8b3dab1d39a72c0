"""``greenroom webhooks``: endpoints, tests, dead letters, replay, and watching deliveries."""

from __future__ import annotations

from functools import partial
from typing import Any

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend, following
from tests.server.harness import running_service
from tests.server.webhooks.receiver import answer, receiver

LOOPBACK: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}


async def test_webhooks() -> None:
    async with running_service(**LOOPBACK) as running, receiver() as there:
        tenant = await running.new_application()
        made = (await as_backend(running, tenant, "webhooks", "add", there.url, "--event", "session.*", "--json")).json
        endpoint = made["endpoint"]["id"]
        assert made["secret"].startswith("whsec_")
        assert there.url in (await as_backend(running, tenant, "webhooks", "list")).out
        assert "Delivered" in (await as_backend(running, tenant, "webhooks", "test", endpoint)).out
        there.answer = answer(500)
        failed = await as_backend(running, tenant, "webhooks", "test", endpoint)
        assert (failed.code, "status 500" in failed.out) == (1, True)
        there.answer = answer(200)
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await there.wait_for(3)
        assert (await as_backend(running, tenant, "webhooks", "replay", endpoint, "--from", "0", "--json")).json[
            "queued"
        ] >= 1
        await there.wait_for(4)
        assert "no dead letters" in (await as_backend(running, tenant, "webhooks", "dead-letters", endpoint)).out
        assert "whsec_" in (await as_backend(running, tenant, "webhooks", "rotate-secret", endpoint)).out
        assert (await as_backend(running, tenant, "webhooks", "enable", endpoint)).code == 0
        assert (await as_backend(running, tenant, "webhooks", "remove", endpoint)).code == 0
        assert (await as_backend(running, tenant, "webhooks", "test", endpoint)).code == Exit.NOT_FOUND


async def test_deliveries_are_watched_as_they_are_made() -> None:
    async with running_service(**LOOPBACK) as running, receiver() as there:
        tenant = await running.new_application()
        made = (await as_backend(running, tenant, "webhooks", "add", there.url, "--json")).json
        endpoint = made["endpoint"]["id"]
        tail = following(running, tenant, "webhooks", "tail", endpoint)
        async with tail as deliveries, running.connect() as client:
            await client.open(tenant.token("anna"))
            line = await deliveries.line()
        assert [word in line for word in ("session.opened", "attempt 1  200", there.got[0].event["id"])] == [True] * 3


async def test_events_between_two_instants_are_sent_again() -> None:
    async with running_service(**LOOPBACK) as running, receiver() as there:
        tenant = await running.new_application()
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
        made = (
            await as_backend(running, tenant, "webhooks", "add", there.url, "--event", "session.opened", "--json")
        ).json
        webhooks = partial(as_backend, running, tenant, "webhooks")
        again = await webhooks("replay", made["endpoint"]["id"], "--from", "0")
        assert (again.code, again.out) == (Exit.DONE, "2 events are queued; the endpoint gets those of its types.\n")
        await there.wait_for(1)
        assert [one.event["type"] for one in there.got] == ["session.opened"]
        assert (await webhooks("replay", made["endpoint"]["id"])).out == "0 dead letters will be sent again.\n"


async def test_an_endpoint_whose_messages_are_signed_with_a_key_pair() -> None:
    async with running_service(**LOOPBACK) as running:
        tenant = await running.new_application()
        added = await as_backend(running, tenant, "webhooks", "add", "http://127.0.0.1:1/", "--asymmetric")
        assert (added.code, "public key" in added.out, "The secret is shown" in added.out) == (Exit.DONE, True, False)
        assert "whpk_" in added.out


async def test_what_is_no_endpoint() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        webhooks = partial(as_backend, running, tenant, "webhooks")
        assert (await webhooks("list")).out == "There are no endpoints.\n"
        assert "must begin with https://" in (await webhooks("add", "app.example")).err
        unknown = await webhooks("add", "https://app.example/", "--event", "session.flown")
        assert (unknown.code, "The event type 'session.flown' does not exist." in unknown.err) == (Exit.USAGE, True)
        for verb in ("remove", "test", "enable", "rotate-secret", "dead-letters", "replay", "tail"):
            ran = await webhooks(verb, "wh_nope")
            assert (ran.code, ran.err.count("\n")) == (Exit.NOT_FOUND, 1), verb
