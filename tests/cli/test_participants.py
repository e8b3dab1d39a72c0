"""``greenroom participants``: who there is; kick, block and erase."""

from __future__ import annotations

from functools import partial

import pytest

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend, run
from tests.server.harness import RefusedError, running_service


async def test_participants_are_listed_kicked_blocked_and_erased() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        participants = partial(as_backend, running, tenant, "participants")
        assert "There are no participants." in (await participants("list")).out
        await client.open(tenant.token("anna"), participant={"name": "[bold]Anna[/]"})
        assert "[bold]Anna[/]" in (await participants("list", "--presence", "online")).out
        assert "[bold]Anna[/]" in (await participants("list", "--search", "ANNA")).out
        assert "There are no participants." in (await participants("list", "--search", "ben")).out
        assert (await participants("show", "ext:anna", "--json")).json["sessions"] == 1
        assert "1 session was ended." in (await participants("kick", "ext:anna", "--reason", "bye")).out
        assert (await client.notified("session.ended"))["message"] == "bye"
        assert (await participants("kick", "ext:anna", "--json")).json["ended"] == []
        assert "Blocked for good." in (await participants("block", "ext:anna")).out
        assert len((await participants("blocks", "--json")).json) == 1
        assert tenant.participant_id("anna") in (await participants("blocks")).out
        assert "The block is lifted." in (await participants("unblock", "ext:anna")).out
        assert (await participants("unblock", "ext:anna")).code == Exit.NOT_FOUND
        assert "Nobody is blocked." in (await participants("blocks")).out
        assert (await participants("erase", "ext:anna", "--yes")).out == "Erased. No sessions were ended.\n"
        assert (await participants("show", "ext:anna")).code == Exit.NOT_FOUND
        assert (await participants("list", "--presence", "asleep")).code == Exit.USAGE
        assert (await run("participants", "list", "--url", running.url)).code == Exit.USAGE


async def test_nobody_is_erased_unless_that_is_confirmed() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        opened = await client.open(tenant.token("anna"))
        refused = await as_backend(running, tenant, "participants", "erase", "ext:anna")
        assert (refused.code, refused.out.strip()) == (Exit.FAILED, "")
        assert "Erase ext:anna? This cannot be undone." in refused.err
        shown = await as_backend(running, tenant, "participants", "show", opened.participant["id"], "--json")
        assert shown.json["sessions"] == 1


async def test_a_participant_is_changed() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna", "attributes": {"team": "blue"}})
        change = ("--attribute", "role=head=nurse", "--attribute", "note=", "--remove-attribute", "team")
        changed = await as_backend(
            running, tenant, "participants", "update", "ext:anna", "--name", "Anna B.", *change, "--json"
        )
        assert (changed.json["name"], changed.json["attributes"]) == ("Anna B.", {"role": "head=nurse", "note": ""})
        shown = (await as_backend(running, tenant, "participants", "show", "ext:anna")).out
        assert "attributes.role" in shown
        assert "head=nurse" in shown
        late = ("--attribute", "role=late", "--if-revision", "1")
        assert (await as_backend(running, tenant, "participants", "update", "ext:anna", *late)).code != 0
        wrong = await as_backend(running, tenant, "participants", "update", "ext:anna", "--attribute", "role")
        assert (wrong.code, "NAME=VALUE" in wrong.err) == (Exit.USAGE, True)
        assert (await as_backend(running, tenant, "participants", "show", "ext:anna", "--json")).json["revision"] == 2


async def test_a_block_without_ext_says_what_was_meant() -> None:
    # "Blocked until …" was printed, and Anna stayed online.
    async with running_service() as running:
        tenant = await running.new_application()
        for words in (("block", "anna"), ("kick", "anna"), ("show", "anna"), ("erase", "anna", "--yes")):
            refused = await as_backend(running, tenant, "participants", *words)
            assert (refused.code, "ext:anna" in refused.err) == (Exit.USAGE, True), words
        blocked = await as_backend(running, tenant, "participants", "block", "ext:anna", "--for", "2h", "--json")
        async with running.connect() as client:
            with pytest.raises(RefusedError) as refusal:
                await client.open(tenant.token("anna"))
        assert refusal.value.data["reason"] == "Participant_blocked"
        assert blocked.json["blockedUntil"] is not None
        assert (
            "is not a duration"
            in (await as_backend(running, tenant, "participants", "block", "ext:a", "--for", "soon")).err
        )
