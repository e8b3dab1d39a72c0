"""The service with its example page, and people in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenroom.server.api.demo import DEMO_FILE
from tests.browser.chromium import Browser, Page, chromium
from tests.server.harness import RunningService, Tenant, running_service


@dataclass
class Lobby:
    """A service, a browser, and the demo application."""

    running: RunningService
    tenant: Tenant
    browser: Browser

    async def enter(self, name: str, **size: int) -> Page:
        """A tab in which someone has signed in."""
        page = await self.browser.open(self.running.url + "/lobby/", **size)
        await sign_in(page, name)
        return page


async def sign_in(page: Page, name: str) -> None:
    await page.until("document.querySelectorAll('#faces input').length > 1")
    await page.evaluate(f"document.getElementById('name').value = {json.dumps(name)}")
    await page.evaluate("document.getElementById('sign-in').requestSubmit()")
    await page.until("document.getElementById('state').dataset.state === 'connected'")
    await page.until(f"!!document.querySelector('.person[data-name={json.dumps(name)}]')")


def presence_of(name: str) -> str:
    """An expression: what a page shows of someone, null where nothing."""
    return f"document.querySelector('.person[data-name={json.dumps(name)}]')?.dataset.presence ?? null"


def is_presence(name: str, presence: str) -> str:
    return f"({presence_of(name)}) === {json.dumps(presence)}"


STATE = "document.getElementById('state').dataset.state"


@asynccontextmanager
async def open_lobby(**settings: Any) -> AsyncIterator[Lobby]:
    """settings: of the service."""
    async with running_service(demo_page="on", **settings) as running:
        tenant = await running.new_application("Demo")
        (Path(running.data_dir) / DEMO_FILE).write_text(tenant.key, encoding="utf-8")
        async with chromium() as browser:
            yield Lobby(running, tenant, browser)
