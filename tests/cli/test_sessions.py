"""``greenroom sessions``: which sessions there are, what happened to one, and ending it."""

from __future__ import annotations

from functools import partial

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend
from tests.server.harness import running_service


async def test_a_session_is_listed_shown_and_ended() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        sessions = partial(as_backend, running, tenant, "sessions")
        assert (await sessions("list")).out == "There are none.\n"
        opened = await client.open(tenant.token("anna"))
        assert opened.id in (await sessions("list", "--external-id", "anna")).out
        assert (await sessions("list", "--external-id", "ben")).out == "There are none.\n"
        shown = (await sessions("show", opened.id)).out
        assert [word in shown for word in ("anna", "attached", "opened", "127.0.0.1")] == [True] * 4
        assert (await sessions("show", opened.id, "--json")).json["items"][0]["what"] == "opened"
        assert (await sessions("list", "--ended")).out == "None has ended.\n"
        assert "kicked" in (await sessions("end", opened.id, "--reason", "bye")).out
        assert (await client.notified("session.ended"))["message"] == "bye"
        ended = (await sessions("list", "--ended", "--external-id", "anna")).out
        assert opened.id in ended
        assert "kicked: bye" in ended
        assert opened.id not in (await sessions("list")).out
        assert "closed (kicked)" in (await sessions("show", opened.id)).out


async def test_those_that_ended_last_come_first() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        for name in ("anna", "ben", "carl"):
            async with running.connect() as client:
                await client.open(tenant.token(name))
                await client.call("session.close")
        listed = (await as_backend(running, tenant, "sessions", "list", "--ended", "--limit", "2", "--json")).json
        assert [one["externalId"] for one in listed] == ["carl", "ben"]
        assert [one["endReason"] for one in listed] == ["closed", "closed"]


async def test_what_is_no_session_and_no_state() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sessions = partial(as_backend, running, tenant, "sessions")
        both = await sessions("list", "--ended", "--state", "attached")
        assert (both.code, "leave --state out" in both.err) == (Exit.USAGE, True)
        state = await sessions("list", "--state", "asleep")
        assert (state.code, 'It must be "attached" or "closed" or "detached"' in state.err) == (Exit.USAGE, True)
        for verb in ("show", "end"):
            assert (await sessions(verb, "nope")).code == Exit.NOT_FOUND
            assert (await sessions(verb, "")).code == Exit.USAGE
