"""A real Prometheus scrapes a real service as the how-to says, and each panel of the dashboard is asked of it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_lint import DEPLOY, program
from tests.server.api.test_webhooks import LOOPBACK, add
from tests.server.api_service import api_service
from tests.server.harness import RefusedError, RunningService, Tenant
from tests.server.webhooks.receiver import receiver
from tests.support.patience import PATIENCE
from tests.support.redis_server import free_ports, wait_for

pytestmark = pytest.mark.slow

HOW_TO = DEPLOY.parent / "docs" / "how-to" / "watch-it-run.md"
TOKEN = "prometheus-test-metrics-token-0123456789"
NOT_YET = ("sessions_orphaned", "engine_errors", "silence_seconds", "requests_refused", "webhook_set_aside", "key_set")
"""Metrics of what did not happen while the test ran (faults, issuers with a key set): their panels may be empty."""


def _config(target: str, root: Path) -> Path:
    """The how-to's, for this service, and more often."""
    found = re.search(r"```yaml\n(scrape_configs:.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert found is not None
    config = yaml.safe_load(found[1])
    (job,) = config["scrape_configs"]
    token = root / "metrics-token"
    token.write_text(TOKEN)
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    job["authorization"]["credentials_file"] = str(token)
    job["static_configs"] = [{"targets": [target]}]
    path = root / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def prometheus(target: str) -> Iterator[str]:
    """Its URL; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="greenroom-prometheus-") as directory:
        root, (port,) = Path(directory), free_ports(1)
        command = [program("prometheus"), f"--config.file={_config(target, root)}", "--log.level=warn"]
        command += [f"--storage.tsdb.path={root / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        with (root / "out").open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=root)
        url = f"http://127.0.0.1:{port}"
        try:
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE)


def ask(url: str, expression: str) -> list[Any]:
    """What a query gives now."""
    with urllib.request.urlopen(
        f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=PATIENCE
    ) as it:
        reply = json.load(it)
    assert reply["status"] == "success"
    return list(reply["data"]["result"])


def queries() -> list[tuple[str, str]]:
    """(title, expression) of each panel, with Grafana's variables filled in as its defaults are."""
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "8s").replace("$instance", ".*").replace("$app", ".*")
            found.append((panel["title"], text))
    return found


async def _live(running: RunningService, tenant: Tenant) -> None:
    """A little of everything that panels show."""
    async with running.connect() as watcher:
        await watcher.open(tenant.token("wanda"))
        await watcher.call("participants.watch", externalIds=["anna"])
        async with running.connect() as client:
            opened = await client.open(tenant.token("anna"))
            await client.call("session.updateParticipantInfo", updateId="u1", name="Anna")
            await client.drop()
        async with running.connect() as client:
            await client.resume(opened)
            await client.call("session.close")
        async with running.connect() as client:
            with pytest.raises(RefusedError):
                await client.open("no token")


async def test_each_panel_of_the_dashboard_shows_what_a_real_prometheus_scraped() -> None:
    async with (
        api_service(metrics_token=TOKEN, metrics_from_loopback="off", renew_interval=0.2, **LOOPBACK) as (
            running,
            tenant,
            api,
        ),
        receiver() as there,
    ):
        await add(api, there)
        with prometheus(running.url.removeprefix("http://")) as url:
            await asyncio.to_thread(wait_for, lambda: bool(_up(url)), "prometheus")
            empty: list[tuple[str, str]] = queries()
            async with asyncio.timeout(2 * PATIENCE):
                while empty:
                    await _live(running, tenant)
                    await asyncio.sleep(1.0)
                    empty = [
                        one
                        for one in queries()
                        if not any(name in one[1] for name in NOT_YET) and not await asyncio.to_thread(ask, url, one[1])
                    ]
                    print("still empty:", [title for title, _ in empty])


def _up(url: str) -> list[Any]:
    try:
        return [one for one in ask(url, 'up{job="greenroom"}') if one["value"][1] == "1"]
    except OSError:
        return []
