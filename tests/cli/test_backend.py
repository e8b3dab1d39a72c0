"""The server API for verbs: as the backend of an application, or as an operator."""

from __future__ import annotations

import asyncio
from typing import Any

from greenroom.cli.backend import ServerApi
from greenroom.cli.exits import Exit
from tests.cli.running import as_operator, run, run_here
from tests.server.harness import running_service


async def test_an_operator_needs_no_app_secret() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"))
        operator = ("--url", running.url, "--data", running.data_dir)
        # The only application need not be named.
        assert [one["externalId"] for one in (await run("participants", "list", "--json", *operator)).json] == ["anna"]
        other = await running.new_application()
        unnamed = await run("participants", "list", *operator)
        assert (unnamed.code, tenant.key in unnamed.err, other.key in unnamed.err) == (Exit.USAGE, True, True)
        assert len((await run("sessions", "list", "--app", tenant.key, "--json", *operator)).json) == 1
        assert (await run("sessions", "list", "--app", other.key, "--json", *operator)).json == []
        kicked = await run("participants", "kick", "ext:anna", "--app", tenant.key, "--json", *operator)
        assert len(kicked.json["ended"]) == 1
        token = (await run("token", "client", "--external-id", "ben", "--app", tenant.key, *operator)).out.strip()
        async with running.connect() as ben:
            assert (await ben.open(token)).participant["externalId"] == "ben"
        unknown = await run("sessions", "list", "--app", "no-such-key", *operator)
        assert (unknown.code, "no application no-such-key" in unknown.err) == (Exit.NOT_FOUND, True)
        wrong = await run("sessions", "list", "--app", tenant.key, "--url", running.url, "--admin-token", "x" * 32)
        assert wrong.code == Exit.CREDENTIALS


async def test_as_many_pages_are_read_as_are_wanted() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        for number in range(5):
            async with running.connect() as client:
                await client.open(tenant.token(f"p{number}"))
        api = await asyncio.to_thread(
            ServerApi.find, url=running.url, data=None, key=tenant.key, secret=tenant.secret, app=None,
            admin_token=None, scope="participants:read",
        )  # fmt: skip

        def externals(limit: int, **query: Any) -> list[str]:
            return [one["externalId"] for one in api.pages("/v1/participants", limit, **query)]

        everybody = await asyncio.to_thread(list, api.every("/v1/participants", limit=2))
        assert sorted(one["externalId"] for one in everybody) == ["p0", "p1", "p2", "p3", "p4"]
        assert await asyncio.to_thread(externals, 3) == [one["externalId"] for one in everybody[:3]]
        await asyncio.to_thread(api.renew)
        assert await asyncio.to_thread(externals, 9, search=["P4"]) == ["p4"]


def test_without_key_and_secret_both_ways_are_named() -> None:
    for arguments in ((), ("--key", "k"), ("--secret", "s")):
        ran = run_here("sessions", "list", "--url", "http://127.0.0.1:1", *arguments)
        assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
        assert "GREENROOM_APP_SECRET" in ran.err
        assert "--app KEY" in ran.err


async def test_where_there_is_no_application_it_says_how_to_make_one() -> None:
    async with running_service() as running:
        ran = await as_operator(running, "sessions", "list")
        assert (ran.code, "see greenroom apps create" in ran.err) == (Exit.USAGE, True)
