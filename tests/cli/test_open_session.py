"""``greenroom open``: open a session from the terminal. What it prints while it is open: `test_opening.py`."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli.exits import Exit
from tests.cli.running import end, line_of, run_here, started
from tests.server.harness import running_service
from tests.support.patience import PATIENCE


@pytest.mark.slow
async def test_open_shows_the_participant_and_what_happens_and_closes_at_ctrl_c(tmp_path: Path) -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        arguments = ("open", "--url", running.url, "--name", "Žofie", "--json")
        async with started(*arguments, cwd=tmp_path, GREENROOM_TOKEN=tenant.token("demo")) as session:
            events: list[dict[str, Any]] = []
            while not events or events[-1]["event"] != "open":
                events.append(json.loads(await line_of(session)))
            participant = events[-1]["participant"]
            assert (participant["name"], participant["externalId"]) == ("Žofie", "demo")
            assert participant["presence"] == "online"
            assert {"event": "state", "state": "connected"} in events
            code, out, err = await end(session, signal.SIGINT)
        assert (code, err) == (Exit.DONE, "")
        assert json.loads(out.splitlines()[-1]) == {"event": "closed"}


@pytest.mark.slow
async def test_open_with_key_and_secret_and_an_external_id(tmp_path: Path) -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        own = {"GREENROOM_URL": running.url, "GREENROOM_APP_KEY": tenant.key, "GREENROOM_APP_SECRET": tenant.secret}
        async with started("open", "--external-id", "bob", cwd=tmp_path, **own) as session:
            said = ""
            while "bob, id " not in said:
                said += await line_of(session)
            assert "online, 1 session" in said
            code, out, _ = await end(session, signal.SIGTERM)
        assert (code, "the session is closed" in out) == (Exit.DONE, True)
        async with started("open", cwd=tmp_path, **own | {"GREENROOM_APP_SECRET": "no"}) as session:
            _, err = await asyncio.wait_for(session.communicate(), PATIENCE)
            assert session.returncode == Exit.CREDENTIALS
            assert err.decode().count("\n") == 1


def test_open_needs_a_token_or_key_and_secret() -> None:
    ran = run_here("open", "--key", "x")
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)


def test_open_without_a_service_says_so_in_one_line() -> None:
    ran = run_here("open", "--token", "nonsense", "--url", "http://127.0.0.1:1")
    assert ran.code == Exit.CREDENTIALS
    assert ran.err.count("\n") == 1


def test_open_at_what_is_no_url() -> None:
    ran = run_here("open", "--token", "x", "--url", "greenroom.example")
    assert (ran.code, ran.out, ran.err.count("\n")) == (Exit.USAGE, "", 1)
