"""``greenroom serve`` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli.exits import Exit
from tests.cli.running import ROOT, end, line_of, run_here, started
from tests.server.http_service import claims_of
from tests.support.patience import PATIENCE, until


def fetched(url: str) -> Any:
    """The JSON at a URL."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return json.load(response)


@pytest.mark.slow
async def test_serve_dev_prints_one_line_of_json_when_it_is_ready(tmp_path: Path) -> None:
    async with started("serve", "--dev", "--port", "0", "--data", "data", "--json", cwd=tmp_path) as first:
        one = json.loads(await line_of(first))
        assert one.keys() == {"url", "appKey", "appSecret", "token", "externalId"}
        assert claims_of(one["token"])["xid"] == one["externalId"]
        assert claims_of(one["token"])["app"] == one["appKey"]
        assert await asyncio.to_thread(fetched, one["url"] + "/readyz") == {"status": "ready"}
        note = json.loads((tmp_path / "data" / "service.json").read_text())
        assert note == {"url": one["url"], "pid": first.pid}
        code, out, err = await end(first)
    assert (code, out) == (Exit.DONE, "")
    for secret in (one["appSecret"], one["token"], (tmp_path / "data" / "admin-token").read_text().strip()):
        assert secret not in err
    assert "Traceback" not in err
    assert not (tmp_path / "data" / "service.json").exists()


@pytest.mark.slow
async def test_serve_dev_for_people_shows_everything_to_begin_with(tmp_path: Path) -> None:
    async with started("serve", "--dev", "--port", "0", "--data", "data", cwd=tmp_path) as process:
        said = ""
        while "Ctrl-C" not in said:
            said += await line_of(process)
        code, _, _ = await end(process, signal.SIGINT)
    assert code == Exit.DONE
    for wanted in (
        "is ready at http://127.0.0.1:",
        "App key",
        "App secret",
        "Token",
        "import asyncio",
        "greenroom open",
    ):
        assert wanted in said
    snippet = said[said.index("import asyncio") :].partition("asyncio.run(main())")[0]
    compile(snippet, "snippet", "exec")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "greenroom.example"])
def test_serve_dev_listens_on_this_machine_only(host: str, tmp_path: Path) -> None:
    ran = run_here("serve", "--dev", "--host", host, "--data", str(tmp_path / "data"))
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert host in ran.err
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
async def test_serve_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started("serve", "--port", str(port), "--data", "data", cwd=tmp_path) as process:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, out) == (Exit.USAGE, b"")
    assert f"greenroom: Port {port} of 127.0.0.1 cannot be listened on" in err.decode()
    assert b"Traceback" not in err


@pytest.mark.slow
async def test_serve_without_dev_makes_no_demo_and_takes_its_settings(tmp_path: Path) -> None:
    (tmp_path / "greenroom.toml").write_text(
        'port = 0\ndata_dir = "data"\npublic_url = "https://sessions.example.com/"\n'
    )
    options = {"GREENROOM_ADMIN_TOKEN": "an-admin-token-of-mine"}
    async with started("serve", "--config", "greenroom.toml", "--json", cwd=tmp_path, **options) as process:
        ready = json.loads(await line_of(process))
        assert ready == {"url": "https://sessions.example.com"}
        # The token that was given is not kept in a file beside.
        assert not (tmp_path / "data" / "admin-token").exists()
        assert not (tmp_path / "data" / "demo-app").exists()
        code, out, err = await end(process)
    assert (code, out) == (Exit.DONE, "")
    assert "an-admin-token-of-mine" not in err


@pytest.mark.slow
async def test_serve_with_closed_streams_runs_and_stops(tmp_path: Path) -> None:
    """`greenroom serve <&- >&- 2>&-`: the numbers of closed streams went to the first sockets, and libuv aborted."""
    command = f"exec {shlex.quote(sys.executable)} -m greenroom serve --port 0 --data data <&- >&- 2>&-"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    note = tmp_path / "data" / "service.json"
    await until(lambda: note.exists() or process.returncode is not None)
    url = json.loads(note.read_text())["url"]
    assert await asyncio.to_thread(fetched, url + "/readyz") == {"status": "ready"}
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


@pytest.mark.slow
async def test_an_address_in_place_of_the_port_is_ignored_and_said(tmp_path: Path) -> None:
    """What Kubernetes puts into the pods beside a Service called greenroom: a crash loop, before."""
    injected = {
        "GREENROOM_SERVICE_HOST": "10.43.7.9", "GREENROOM_SERVICE_PORT": "7465", "GREENROOM_PORT": "tcp://10.43.7.9:7465",
        "GREENROOM_PORT_7465_TCP": "tcp://10.43.7.9:7465", "GREENROOM_PORT_7465_TCP_ADDR": "10.43.7.9",
        "GREENROOM_GRACEE": "50s",
    }  # fmt: skip
    (tmp_path / "greenroom.toml").write_text("port = 0\n")
    arguments = ("serve", "--data", "data", "--config", "greenroom.toml", "--json")
    async with started(*arguments, cwd=tmp_path, **injected) as process:
        assert json.loads(await line_of(process))["url"].startswith("http://127.0.0.1:")
        _, _, err = await end(process)
    said = [json.loads(line) for line in err.splitlines()]
    warnings = [one["event"] for one in said if one["level"] == "warning"]
    assert len(warnings) == 2
    assert "GREENROOM_GRACEE" in warnings[0]
    assert "GREENROOM_GRACE?" in warnings[0]
    assert "GREENROOM_PORT is 'tcp://10.43.7.9:7465'" in warnings[1]


async def test_a_setting_that_is_wrong_stops_serve_in_one_line(tmp_path: Path) -> None:
    ran = run_here("serve", "--data", str(tmp_path / "data"), GREENROOM_LEASE="5")
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert "renew_interval" in ran.err
    assert not (tmp_path / "data").exists()
