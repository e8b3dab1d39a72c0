"""schemathesis on the server API of a service that is lived in: with real ids, so that it comes past the 404s.

`tests/server/api/test_schemathesis.py` runs it over everything with made-up ids. There one call of `/v1/tokens/revoke`
turns all that follow into 401; here it has a run of its own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.fuzz.test_canaries import SETTINGS
from tests.server.api_service import api_service
from tests.server.webhooks.receiver import receiver
from tests.support.schemathesis import ALL_PHASES, schemathesis

pytestmark = pytest.mark.slow

SEED = 20_260_102
SHORT, LONG = 6, 25
"""Random cases of each operation: in `make test` and in `make soak`."""


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
        run = partial(schemathesis, phases=phases, cases=cases, seed=SEED, authorization=f"Bearer {api.token}")
        await run(running, tmp_path, *only, "--exclude-method", "DELETE", config=config)
        # They were real to the end: still there, although many have tried to change them.
        assert (await api.good("GET", "/v1/participants/ext:anna"))["externalId"] == "anna"
        assert (await api.good("GET", f"/v1/webhooks/{hook}"))["id"] == hook
        await run(running, tmp_path, *only, "--include-method", "DELETE", config=config)
        await api.refused("GET", "/v1/participants/ext:anna")
        await client.drop()


@pytest.mark.parametrize("path", ["/v1/tokens/revoke", "/v1/settings"])
async def test_what_would_spoil_the_others(path: str, tmp_path: Path) -> None:
    """Revoking ends the token that calls; a keeping of 0 s forgets who is offline."""
    async with api_service() as (running, _tenant, api):
        run = partial(schemathesis, phases=ALL_PHASES, cases=SHORT, seed=SEED, authorization=f"Bearer {api.token}")
        await run(running, tmp_path, "--include-path", path)
