"""Verbs of an app's backend: participants, sessions, events, webhooks, against a running service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli.exits import Exit
from tests.cli.running import Ran, run, started
from tests.server.harness import RefusedError, RunningService, Tenant, running_service
from tests.server.issuers import AUDIENCE, ISSUER, SECRET, signer
from tests.server.webhooks.receiver import answer, receiver
from tests.support.patience import PATIENCE

LOOPBACK: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}


async def verb(running: RunningService, tenant: Tenant, *arguments: str) -> Ran:
    return await run(*arguments, "--url", running.url, "--key", tenant.key, "--secret", tenant.secret)


async def test_participants_and_sessions() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        assert "There is nobody." in (await verb(running, tenant, "participants", "list")).out
        opened = await client.open(tenant.token("anna"), participant={"name": "[bold]Anna[/]"})
        table = (await verb(running, tenant, "participants", "list", "--presence", "online")).out
        assert "[bold]Anna[/]" in table
        assert "[bold]Anna[/]" in (await verb(running, tenant, "participants", "list", "--search", "ANNA")).out
        assert "There is nobody." in (await verb(running, tenant, "participants", "list", "--search", "ben")).out
        assert (await verb(running, tenant, "participants", "show", "ext:anna", "--json")).json["sessions"] == 1
        assert opened.id in (await verb(running, tenant, "sessions", "list", "--external-id", "anna")).out
        assert "opened" in (await verb(running, tenant, "sessions", "show", opened.id)).out
        assert (await verb(running, tenant, "sessions", "list", "--ended")).out == "None has ended.\n"
        assert "kicked" in (await verb(running, tenant, "sessions", "end", opened.id, "--reason", "bye")).out
        ended = await verb(running, tenant, "sessions", "list", "--ended", "--external-id", "anna")
        assert opened.id in ended.out
        assert "kicked: bye" in ended.out
        assert opened.id not in (await verb(running, tenant, "sessions", "list")).out
        both = await verb(running, tenant, "sessions", "list", "--ended", "--state", "attached")
        assert (both.code, "leave --state out" in both.err) == (2, True)
        assert (await client.notified("session.ended"))["message"] == "bye"
        assert (await verb(running, tenant, "participants", "kick", "ext:anna", "--json")).json["ended"] == []
        assert "Blocked for good." in (await verb(running, tenant, "participants", "block", "ext:anna")).out
        assert len((await verb(running, tenant, "participants", "blocks", "--json")).json) == 1
        assert (await verb(running, tenant, "participants", "unblock", "ext:anna")).code == 0
        assert (await verb(running, tenant, "participants", "unblock", "ext:anna")).code == Exit.NOT_FOUND
        assert "Erased" in (await verb(running, tenant, "participants", "erase", "ext:anna", "--yes")).out
        assert (await verb(running, tenant, "participants", "show", "ext:anna")).code == Exit.NOT_FOUND
        assert (await verb(running, tenant, "participants", "list", "--presence", "asleep")).code == Exit.USAGE
        assert (await run("participants", "list", "--url", running.url)).code == Exit.USAGE


async def test_a_participant_is_changed() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna", "attributes": {"team": "blue"}})
        change = ("--attribute", "role=head=nurse", "--attribute", "note=", "--remove-attribute", "team")
        changed = await verb(
            running, tenant, "participants", "update", "ext:anna", "--name", "Anna B.", *change, "--json"
        )
        assert (changed.json["name"], changed.json["attributes"]) == ("Anna B.", {"role": "head=nurse", "note": ""})
        shown = (await verb(running, tenant, "participants", "show", "ext:anna")).out
        assert "attributes.role" in shown
        assert "head=nurse" in shown
        late = ("--attribute", "role=late", "--if-revision", "1")
        assert (await verb(running, tenant, "participants", "update", "ext:anna", *late)).code != 0
        wrong = await verb(running, tenant, "participants", "update", "ext:anna", "--attribute", "role")
        assert (wrong.code, "NAME=VALUE" in wrong.err) == (Exit.USAGE, True)
        assert (await verb(running, tenant, "participants", "show", "ext:anna", "--json")).json["revision"] == 2


async def test_events() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await client.call("session.close")
        ran = await verb(running, tenant, "events", "--type", "session.*", "--json")
        assert [json.loads(line)["type"] for line in ran.out.splitlines()] == ["session.opened", "session.ended"]
        assert "session.ended" in (await verb(running, tenant, "events")).out


async def test_webhooks() -> None:
    async with running_service(**LOOPBACK) as running, receiver() as there:
        tenant = await running.new_application()
        made = (await verb(running, tenant, "webhooks", "add", there.url, "--event", "session.*", "--json")).json
        endpoint = made["endpoint"]["id"]
        assert made["secret"].startswith("whsec_")
        assert there.url in (await verb(running, tenant, "webhooks", "list")).out
        assert "Delivered" in (await verb(running, tenant, "webhooks", "test", endpoint)).out
        there.answer = answer(500)
        failed = await verb(running, tenant, "webhooks", "test", endpoint)
        assert (failed.code, "status 500" in failed.out) == (1, True)
        there.answer = answer(200)
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await there.wait_for(3)
        assert (await verb(running, tenant, "webhooks", "replay", endpoint, "--from", "0", "--json")).json[
            "queued"
        ] >= 1
        await there.wait_for(4)
        assert "no dead letters" in (await verb(running, tenant, "webhooks", "dead-letters", endpoint)).out
        assert "whsec_" in (await verb(running, tenant, "webhooks", "rotate-secret", endpoint)).out
        assert (await verb(running, tenant, "webhooks", "enable", endpoint)).code == 0
        assert (await verb(running, tenant, "webhooks", "remove", endpoint)).code == 0
        assert (await verb(running, tenant, "webhooks", "test", endpoint)).code == Exit.NOT_FOUND


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


async def test_a_block_without_ext_says_what_was_meant() -> None:
    # "Blocked until …" was printed, and Anna stayed online.
    async with running_service() as running:
        tenant = await running.new_application()
        for words in (("block", "anna"), ("kick", "anna"), ("show", "anna"), ("erase", "anna", "--yes")):
            refused = await verb(running, tenant, "participants", *words)
            assert (refused.code, "ext:anna" in refused.err) == (Exit.USAGE, True), words
        blocked = await verb(running, tenant, "participants", "block", "ext:anna", "--for", "2h", "--json")
        async with running.connect() as client:
            with pytest.raises(RefusedError) as refusal:
                await client.open(tenant.token("anna"))
        assert refusal.value.data["reason"] == "Participant_blocked"
        assert blocked.json["blockedUntil"] is not None
        assert (
            "is not a duration" in (await verb(running, tenant, "participants", "block", "ext:a", "--for", "soon")).err
        )


async def test_an_emoji_on_a_terminal_that_cannot_show_it(tmp_path: Path) -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna 🎉"})
        for more in ((), ("--json",)):
            arguments = ("participants", "list", "--url", running.url, "--key", tenant.key, "--secret", tenant.secret)
            async with started(*arguments, *more, cwd=tmp_path, PYTHONIOENCODING="cp1252", PYTHONUTF8="0") as process:
                out, err = await process.communicate()
            assert (process.returncode, err) == (0, b"")
            assert b"Anna \\U0001f389" in out


async def test_issuers_are_added_listed_tested_and_removed(tmp_path: Path) -> None:
    key = signer("ES256")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [key.public]}))
    add = ("apps", "issuers", "add", ISSUER, "--audience")
    async with running_service() as running:
        tenant = await running.new_application()
        assert "There are no issuers." in (await verb(running, tenant, "apps", "issuers", "list")).out
        added = await verb(
            running, tenant, *add, AUDIENCE, "--algorithm", "ES256", "--jwks", str(keys), "--name-claim", "name",
            "--scope", "session:update", "--max-life", "2h", "--json",
        )  # fmt: skip
        assert (added.json["maxLife"], added.json["sessionScopes"]) == (7200, ["session:update"])
        one = tmp_path / "jwk.json"
        one.write_text(json.dumps(key.public))
        assert (
            "ES256 key-1" in (await verb(running, tenant, *add, "two", "--algorithm", "ES256", "--jwks", str(one))).out
        )
        secret = await run(
            *add, "three", "--url", running.url, "--key", tenant.key, "--secret", tenant.secret,
            GREENROOM_ISSUER_SECRET=SECRET,
        )  # fmt: skip
        assert (secret.code, "a shared secret" in secret.out, SECRET in secret.out) == (0, True, False)
        listed = (await verb(running, tenant, "apps", "issuers", "list")).out
        assert [name in listed for name in (AUDIENCE, "two", "three", "HS256")] == [True] * 4
        tested = await verb(running, tenant, "apps", "issuers", "test", key.token())
        assert (tested.code, "A session opens with this token." in tested.out) == (0, True)
        assert tenant.participant_id("auth0|anna") in tested.out
        bad = await verb(running, tenant, "apps", "issuers", "test", key.token()[:-4] + "AAAA")
        assert (bad.code, "signature is not good" in bad.out) == (1, True)
        assert (await verb(running, tenant, "apps", "issuers", "remove", added.json["id"])).out == "Removed.\n"
        assert AUDIENCE not in (await verb(running, tenant, "apps", "issuers", "list")).out
        nothing = await verb(running, tenant, *add, "four", "--jwks", str(tmp_path / "nothing"))
        assert (nothing.code, "cannot be read as JSON" in nothing.err) == (Exit.USAGE, True)
        away = await verb(running, tenant, *add, "five", "--jwks-url", "https://127.0.0.1/jwks")
        assert (away.code != 0, "private address" in away.err) == (True, True)


async def test_rooms() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()

        async def rooms(*arguments: str) -> Ran:
            return await verb(running, tenant, "rooms", *arguments)

        assert (await rooms("list")).out == "No room is open.\n"
        assert (await rooms("show", "stand/up")).code == Exit.NOT_FOUND
        opened = await client.open(tenant.token("anna"), participant={"name": "[bold]Anna[/]"})
        await client.call("rooms.join", room="stand/up")
        (listed,) = (await rooms("list", "--search", "STAND", "--json")).json
        assert (listed["name"], listed["count"]) == ("stand/up", 1)
        assert "stand/up" in (await rooms("list", "--participant", "ext:anna")).out
        assert (await rooms("list", "--participant", "ext:ben")).out == "No room is open.\n"
        assert "[bold]Anna[/]" in (await rooms("show", "stand/up")).out
        (member,) = (await rooms("show", "stand/up", "--json")).json["members"]
        assert (member["id"], member["externalId"]) == (opened.participant["id"], "anna")
        assert (await rooms("send", "stand/up", '{"n": 1}', "--to", "ext:anna")).code == 0
        assert (await client.notified("rooms.message"))["message"] == {"n": 1}
        sent = (await rooms("send", "stand/up", "not JSON", "--to", opened.participant["id"], "--json")).json
        received = await client.notified("rooms.message")
        assert (received["message"], received["number"]) == ("not JSON", sent["number"])
        assert (await rooms("send", "stand/up", "1", "--to", "anna")).code == Exit.USAGE
        assert (await rooms("send", "stand/up", "x" * 16_382)).code == 0  # with quotation marks 16 KiB
        assert len((await client.notified("rooms.message"))["message"]) == 16_382
        assert (await rooms("send", "stand/up", "x" * 16_383)).code == Exit.USAGE
        assert "1 session was put out." in (await rooms("kick", "stand/up", "ext:anna", "--for", "1h")).out
        assert (await client.notified("rooms.left"))["reason"] == "kicked"
        assert (await rooms("kick", "stand/up", "ext:anna", "--json")).json["sessions"] == []
        await client.call("rooms.join", room="other")
        assert "Its members leave." in (await rooms("end", "other")).out
        assert (await client.notified("rooms.left"))["reason"] == "ended"
        assert (await rooms("end", "nothing")).out == "It is not open.\n"
        assert (await rooms("end", "nothing", "--json")).json == {"state": "absent"}


@pytest.mark.slow
async def test_a_room_is_watched(tmp_path: Path) -> None:
    async with running_service() as running, running.connect() as client, running.connect() as other:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        await other.open(tenant.token("ben"))
        await client.call("rooms.join", room="r")
        credentials = ("--url", running.url, "--key", tenant.key, "--secret", tenant.secret)
        async with started("rooms", "watch", "r", "--json", *credentials, cwd=tmp_path) as process:
            assert process.stdout is not None

            async def next_line() -> dict[str, Any]:
                assert process.stdout is not None
                async with asyncio.timeout(PATIENCE):
                    line: dict[str, Any] = json.loads(await process.stdout.readline())
                return line

            first = await next_line()
            assert (first["what"], first["externalId"], first["name"]) == ("is here", "anna", "Anna")
            await other.call("rooms.join", room="elsewhere")
            await other.call("rooms.join", room="r")
            second = await next_line()
            assert (second["what"], second["externalId"]) == ("joined", "ben")
            await other.call("rooms.leave", room="r")
            third = await next_line()
            assert (third["what"], third["reason"]) == ("left", "left")
            process.kill()
