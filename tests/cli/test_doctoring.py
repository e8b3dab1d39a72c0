"""``greenroom doctor --engine``: the engine itself is asked, no service has to run."""

from __future__ import annotations

import json
from pathlib import Path

from greenroom.cli.exits import Exit
from tests.cli.running import run, run_here
from tests.server.harness import running_service


async def test_what_a_service_that_has_ended_left() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(tenant.token("anna"))
            await running.service.kill()
        found = await run("doctor", "--engine", "embedded", "--data", running.data_dir, "--json")
        assert found.code == Exit.FAILED, "no node is ready"
        assert (json.loads(found.out)["sessions"], json.loads(found.out)["sockets"]) == (1, None)
        life = await run("doctor", "--engine", "embedded", "--data", running.data_dir, "--session", opened.id)
        assert (life.code, "anna" in life.out, "opened" in life.out) == (Exit.DONE, True, True)
        unknown = await run("doctor", "--engine", "embedded", "--data", running.data_dir, "--session", "nope")
        assert (unknown.code, unknown.err.count("\n")) == (Exit.NOT_FOUND, 1)


async def test_the_directory_of_a_service_that_runs_is_not_waited_for() -> None:
    async with running_service() as running:
        ran = await run("doctor", "--engine", "embedded", "--data", running.data_dir)
        assert (ran.code, "Another process" in ran.err, ran.err.count("\n")) == (Exit.TRY_LATER, True, 1)


def test_to_look_makes_no_data_directory(tmp_path: Path) -> None:
    ran = run_here("doctor", "--engine", "embedded", "--data", str(tmp_path / "data"))
    assert (ran.code, ran.out, ran.err.count("\n")) == (Exit.NOT_FOUND, "", 1)
    assert f"There is no database in {tmp_path / 'data'}." in ran.err
    assert not (tmp_path / "data").exists()


def test_an_engine_that_is_not_there() -> None:
    none = run_here("doctor", "--engine", "nonsense")
    assert (none.code, "Use embedded, or the URL of a Redis." in none.err) == (Exit.USAGE, True)
    away = run_here("doctor", "--engine", "redis://127.0.0.1:1")
    assert (away.code, away.err.count("\n")) == (Exit.TRY_LATER, 1)
    assert "127.0.0.1:1" in away.err
