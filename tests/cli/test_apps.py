"""``greenroom apps``: the applications of a service."""

from __future__ import annotations

from greenroom.cli.exits import Exit
from tests.cli.running import as_operator, run
from tests.server.harness import running_service


async def test_apps() -> None:
    async with running_service() as running:
        empty = await as_operator(running, "apps", "list")
        assert (empty.code, "no applications yet" in empty.out) == (0, True)

        app = (await as_operator(running, "apps", "create", "My [bold]app[/]", "--json")).json
        assert app.keys() == {"appKey", "appSecret", "name"}
        assert app["name"] == "My [bold]app[/]"

        (listed,) = (await as_operator(running, "apps", "list", "--json")).json
        assert (listed["appKey"], listed["state"]) == (app["appKey"], "enabled")
        table = (await as_operator(running, "apps", "list")).out
        # A name is never taken for markup.
        assert "My [bold]app[/]" in table
        assert app["appKey"] in table

        rotated = (await as_operator(running, "apps", "rotate-secret", app["appKey"], "--overlap", "60", "--json")).json
        assert rotated["appSecret"] != app["appSecret"]
        for verb, state in (("disable", "disabled"), ("enable", "enabled")):
            assert (await as_operator(running, "apps", verb, app["appKey"], "--json")).json["state"] == state
            assert state in (await as_operator(running, "apps", verb, app["appKey"])).out


async def test_apps_create_for_people_says_that_the_secret_is_not_shown_again() -> None:
    async with running_service() as running:
        ran = await as_operator(running, "apps", "create", "Test")
        assert ran.code == 0
        (app,) = running.service.tenants.applications
        assert app.key in ran.out
        assert "not shown again" in ran.out


async def test_refusals_have_their_exit_codes() -> None:
    async with running_service() as running:
        missing = await as_operator(running, "apps", "disable", "unknown")
        assert (missing.code, missing.out) == (Exit.NOT_FOUND, "")
        assert missing.err.startswith("greenroom: There is no application with that key.")
        assert (await as_operator(running, "apps", "create", "")).code == Exit.USAGE
        wrong = await run("apps", "list", "--url", running.url, GREENROOM_ADMIN_TOKEN="x" * 20)
        assert (wrong.code, wrong.err.count("\n")) == (Exit.CREDENTIALS, 1)


async def test_a_name_that_is_empty_names_no_application() -> None:
    async with running_service() as running:
        for verb in ("disable", "enable", "rotate-secret", "settings"):
            ran = await as_operator(running, "apps", verb, "")
            assert (ran.code, ran.err) == (Exit.USAGE, "greenroom: An id or a name that was given is empty.\n"), verb
