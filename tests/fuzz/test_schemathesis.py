"""schemathesis on the server API of a service that is lived in: with real ids, so that it comes past the 404s.

`tests/server/api/test_schemathesis.py` runs it over everything with made-up ids. There one call of `/v1/tokens/revoke`
turns all that follow into 401; here it has a run of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.test_canaries import SETTINGS
from tests.server.api_service import api_service
from tests.server.harness import RunningService
from tests.server.webhooks.receiver import receiver

pytestmark = pytest.mark.slow

SEED = 20_260_102
SHORT, LONG = 6, 25
"""Random cases of each operation: in `make test` and in `make soak`."""
ALL_PHASES = "coverage,fuzzing"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def _config(session: str, hook: str) -> str:
    """Which ids are real. What ends or removes them is left to the other run: it would end this one."""
    return f"""
[[operations]]
include-path-regex = "^/v1/(participants|blocks)/"
parameters = {{ "path.id" = "ext:anna" }}

[[operations]]
include-path-regex = "^/v1/sessions/"
parameters = {{ "path.id" = "{session}" }}

[[operations]]
include-path-regex = "^/v1/webhooks/"
parameters = {{ "path.id" = "{hook}" }}

[[operations]]
include-path = "/v1/events"
parameters = {{ "query.wait" = 0 }}
"""


async def _run(
    running: RunningService, token: str, folder: Path, config: str, phases: str, cases: int, *paths: str
) -> str:
    """Raises AssertionError with what it says."""
    (folder / "schemathesis.toml").write_text(config)
    command = [str(Path(sys.executable).with_name("st")), "run", f"{running.url}/openapi.json", "--no-color"]
    command += ["--phases", phases, "-n", str(cases), "--seed", str(SEED), "--checks", ",".join(CHECKS)]
    command += ["-H", f"Authorization: Bearer {token}", "--generation-database", "none", *paths]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 500)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize(
    ("phases", "cases"), [("fuzzing", SHORT), pytest.param(ALL_PHASES, LONG, marks=pytest.mark.soak)]
)
async def test_the_server_api_with_real_ids(phases: str, cases: int, tmp_path: Path) -> None:
    async with receiver() as there, api_service(**SETTINGS) as (running, tenant, api):
        client = await running.dial()
        opened = await client.open(tenant.token("anna"), participant={"name": "__proto__"})
        hook = (await api.good("POST", "/v1/webhooks", {"url": there.url}))["endpoint"]["id"]
        config = _config(opened.id, hook)
        only = ("--include-path-regex", "^/v1/(participants|sessions|blocks|counts|events|webhooks)")
        await _run(running, api.token, tmp_path, config, phases, cases, *only, "--exclude-method", "DELETE")
        # They were real to the end: still there, although many have tried to change them.
        assert (await api.good("GET", "/v1/participants/ext:anna"))["externalId"] == "anna"
        assert (await api.good("GET", f"/v1/webhooks/{hook}"))["id"] == hook
        await _run(running, api.token, tmp_path, config, phases, cases, *only, "--include-method", "DELETE")
        await api.refused("GET", "/v1/participants/ext:anna")
        await client.drop()


@pytest.mark.parametrize("path", ["/v1/tokens/revoke", "/v1/settings"])
async def test_what_would_spoil_the_others(path: str, tmp_path: Path) -> None:
    """Revoking ends the token that calls; a keeping of 0 s forgets who is offline."""
    async with api_service() as (running, _tenant, api):
        await _run(running, api.token, tmp_path, "", ALL_PHASES, SHORT, "--include-path", path)
