"""What tests of metrics share: the page of a running service, and a token for its API."""

from __future__ import annotations

from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.server.harness import RunningService
from tests.server.http_service import basic


async def scrape(running: RunningService, **headers: str) -> dict[str, Metric]:
    """What /metrics says, by name."""
    async with running.http.get(running.url + "/metrics", headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        return {family.name: family for family in text_string_to_metric_families(await reply.text())}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    """Of one sample; 0 where there is none."""
    return next(
        (
            one.value
            for family in found.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        ),
        0.0,
    )


async def api_token(running: RunningService, app: Any) -> str:
    form = {"grant_type": "client_credentials"}
    headers = {"Authorization": basic(app.key, app.secret)}
    async with running.http.post(f"{running.url}/v1/auth/token", data=form, headers=headers) as reply:
        return str((await reply.json())["access_token"])
