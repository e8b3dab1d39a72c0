"""One version, of the package that is installed; everything that is asked says it. Files: tests/deploy/test_lint.py."""

from __future__ import annotations

import tomllib
from pathlib import Path

from greenroom.server.http.wheel import wheel
from greenroom.server.version import version
from tests.cli.running import run_here
from tests.server.http_service import http_site

ROOT = Path(__file__).resolve().parents[2]


async def test_everything_says_the_same_version() -> None:
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version() == expected, "run: make venv"
    assert wheel().file.split("-")[1] == expected
    assert run_here("--version").out == f"greenroom {expected}\n"
    async with http_site() as site:
        for path in ("/openapi.json", "/asyncapi.json"):
            assert (await site.send("GET", path)).json["info"]["version"] == expected
        assert f"Version {expected}." in (await site.send("GET", "/")).body.decode()
