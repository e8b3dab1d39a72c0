"""``greenroom backup`` and ``greenroom restore``."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from greenroom.cli.exits import Exit
from greenroom.engines.embedded.schema import open_writer
from tests.cli.running import run, started
from tests.server.harness import running_service


async def test_backed_up_while_it_runs_killed_and_put_back(tmp_path: Path) -> None:
    file, data = str(tmp_path / "b.tar"), str(tmp_path / "data")
    serve = ("serve", "--port", "0", "--data", data, "--json")
    async with started(*serve, cwd=tmp_path) as process:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        where = ("--url", url, "--data", data)
        kept = (await run("apps", "create", "Kept", "--json", *where)).json["appKey"]
        made = (await run("backup", file, "--data", data, "--json")).json
        assert made["bytes"] > 10_000
        lost = (await run("apps", "create", "After it", "--json", *where)).json["appKey"]
        refused = await run("restore", file, "--data", data)
        assert (refused.code, "uses the data directory" in refused.err) == (Exit.TRY_LATER, True)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    restored = (await run("restore", file, "--data", data, "--json")).json
    assert restored["kept"].startswith(data)
    async with started(*serve, cwd=tmp_path) as process:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        listed = (await run("apps", "list", "--json", "--url", url, "--data", data)).json
        # The signing keys open too: the master key travelled with them.
        assert [one["appKey"] for one in listed] == [kept]
        assert lost != kept
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_where_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    ran = await run("backup", str(tmp_path / "b.tar"), "--data", str(tmp_path))
    assert (ran.code, "no database" in ran.err) == (Exit.NOT_FOUND, True)
    async with running_service() as running:
        await run("backup", str(tmp_path / "b.tar"), "--data", running.data_dir)
        again = await run("backup", str(tmp_path / "b.tar"), "--data", running.data_dir)
    assert (again.code, "exists" in again.err) == (Exit.CONFLICT, True)


async def test_the_doctor_names_a_damaged_database(tmp_path: Path) -> None:
    async with running_service() as running:
        well = await run("doctor", "--url", running.url, "--data", running.data_dir)
        assert (well.code, "Nothing is wrong." in well.out) == (0, True)
    database = tmp_path / "greenroom.db"
    open_writer(str(database)).close()
    content = bytearray(database.read_bytes())
    content[4_096:8_192] = b"\xff" * 4_096
    database.write_bytes(content)
    damaged = await run("doctor", "--engine", "embedded", "--data", str(tmp_path))
    assert (damaged.code, str(database) in damaged.err, "greenroom restore FILE" in damaged.err) == (
        Exit.TRY_LATER, True, True,
    )  # fmt: skip
