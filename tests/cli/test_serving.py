"""What ``greenroom serve`` does when the service is ready: the demo, the note for other verbs, the line of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli.discovery import find_url
from greenroom.cli.serving import announcer, forget_service
from tests.server.harness import RunningService, running_service
from tests.server.http_service import claims_of


async def announced(running: RunningService, capsys: pytest.CaptureFixture[str], *, dev: bool = True) -> dict[str, Any]:
    """The line of JSON."""
    await announcer(Path(running.data_dir), dev=dev, as_json=True)(running.service)
    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    return line


async def test_the_demo_stays_the_same_over_restarts(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        one = await announced(running, capsys)
        assert one.keys() == {"url", "appKey", "appSecret", "token", "externalId"}
        await running.restart()
        two = await announced(running, capsys)
        assert (two["appKey"], two["appSecret"]) == (one["appKey"], one["appSecret"])
        before, after = claims_of(one["token"]), claims_of(two["token"])
        assert (after["sub"], after["iss"]) == (before["sub"], before["iss"])
        assert len(running.service.tenants.applications) == 1
        async with running.connect() as client:
            assert (await client.open(one["token"])).participant["externalId"] == one["externalId"]
        assert (Path(running.data_dir) / "demo-secret").stat().st_mode & 0o777 == 0o600


async def test_a_secret_that_was_lost_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        one = await announced(running, capsys)
        (Path(running.data_dir) / "demo-secret").unlink()
        two = await announced(running, capsys)
        assert two["appKey"] == one["appKey"]
        assert two["appSecret"] != one["appSecret"]
        assert (Path(running.data_dir) / "demo-secret").read_text().strip() == two["appSecret"]


async def test_a_demo_that_was_disabled_is_enabled_again(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        key = (await announced(running, capsys))["appKey"]
        await running.service.tenants.disable(key)
        assert (await announced(running, capsys))["appKey"] == key
        app = running.service.tenants.get(key)
        assert app is not None
        assert not app.disabled


async def test_without_dev_there_is_no_demo(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        assert await announced(running, capsys, dev=False) == {"url": running.url}
        assert running.service.tenants.applications == ()


async def test_other_verbs_find_the_service_until_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        data = Path(running.data_dir)
        await announced(running, capsys, dev=False)
        note = data / "service.json"
        assert json.loads(note.read_text()) == {"url": running.url, "pid": os.getpid()}
        assert find_url(None, data) == running.url
        forget_service(data)
        assert not note.exists()
        note.write_text(json.dumps({"url": running.url, "pid": 1}))
        forget_service(data)
        assert note.exists(), "it is another process's"
        forget_service(data / "nothing")


async def test_a_directory_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    async with running_service() as running:
        await announcer(file, dev=False, as_json=True)(running.service)
        assert json.loads(capsys.readouterr().out) == {"url": running.url}
