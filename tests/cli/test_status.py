"""``greenroom status``: how the service is."""

from __future__ import annotations

from greenroom.cli.exits import Exit
from tests.cli.running import as_operator, run, run_here
from tests.server.harness import running_service


async def test_the_status_for_programs_and_for_people() -> None:
    async with running_service() as running:
        status = (await as_operator(running, "status", "--json")).json
        assert (status["url"], status["state"], status["notReady"]) == (running.url, "acting", None)
        people = (await as_operator(running, "status")).out
    lines = [line.split(maxsplit=1) for line in people.splitlines()]
    assert ["url", running.url] in lines
    assert ["notReady", "none"] in lines


async def test_the_health_check_needs_neither_url_nor_token() -> None:
    async with running_service() as running:
        port = running.url.rpartition(":")[2]
        proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        alive = await run("status", "--local", "--json", GREENROOM_PORT=port, GREENROOM_HOST="0.0.0.0", **proxy)
        assert alive.json == {"status": "ok"}
    gone = await run("status", "--local", GREENROOM_PORT=port)
    assert gone.code == Exit.UNREACHABLE


def test_a_health_check_with_settings_that_are_wrong_says_which() -> None:
    ran = run_here("status", "--local", GREENROOM_PORT="a lot")
    assert (ran.code, ran.err.count("\n"), "GREENROOM_PORT" in ran.err) == (Exit.USAGE, 1, True)
