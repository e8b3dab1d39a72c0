"""The third tutorial: its folder runs, with browsers, and the page prints the files of the folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.browser.chromium import Browser, Page, chromium
from tests.server.harness import RunningService, Tenant, running_service
from tests.support.patience import until
from tests.support.redis_server import free_ports

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "lobby"
TUTORIAL = ROOT / "docs" / "tutorials" / "web-lobby.md"


def test_the_tutorial_prints_every_file_of_the_folder() -> None:
    blocks = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)
    files = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert sorted(name for name, _ in blocks) == [path.relative_to(FOLDER).as_posix() for path in files]
    for name, text in blocks:
        assert text == (FOLDER / name).read_text(encoding="utf-8"), name


@contextlib.asynccontextmanager
async def backend(running: RunningService, tenant: Tenant) -> AsyncIterator[str]:
    """The tutorial's backend as a process; its URL."""
    (port,) = free_ports(1)
    settings = {
        "GREENROOM_URL": running.url,
        "GREENROOM_APP_KEY": tenant.key,
        "GREENROOM_APP_SECRET": tenant.secret,
        "PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FOLDER / "backend.py"), env={**os.environ, **settings}, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await until(lambda: _answers(running.http, url))
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url + "/") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


async def _enter(browser: Browser, url: str, person: str) -> Page:
    page = await browser.open(f"{url}/?{person}")
    await page.until("document.getElementById('state').textContent === 'connected'")
    return page


def _shows(text: str) -> str:
    return f"[...document.querySelectorAll('#others li')].some((line) => line.textContent === '{text}')"


@pytest.mark.slow
async def test_people_see_each_other_change_and_leave() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with backend(running, tenant) as url, chromium() as browser:
            anna, ben = await _enter(browser, url, "anna"), await _enter(browser, url, "ben")
            await anna.until(_shows("Ben: online"))
            await ben.evaluate("document.getElementById('name').value = 'Benjamin'")
            await ben.evaluate("document.getElementById('rename').requestSubmit()")
            await anna.until(_shows("Benjamin: online"))
            await ben.evaluate("document.getElementById('wave').click()")
            await anna.until("document.getElementById('waves').textContent === 'Benjamin waves'")
            await ben.close()
            await anna.until("document.getElementById('count').textContent === '1'")
            await anna.until("document.querySelectorAll('#others li').length === 0")
            assert anna.problems == []
