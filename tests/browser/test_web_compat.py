"""`<script src>` of @greenroom/web-compat in Chromium, where apps of the platform have that of its Web SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.browser.chromium import chromium
from tests.browser.node import node_program, output_of
from tests.server.harness import running_service

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

BUNDLE = """
import { bundle } from './scripts/build.mjs';
process.stdout.write(await bundle('web-compat/global.js', 'iife'));
"""
PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<script src="/voxeet-sdk.js" data-url="%s"></script>
<script>
  const main = async () => {
    VoxeetSDK.initializeToken("%s", () => Promise.reject(new Error("not asked")));
    if (!VoxeetSDK.session.isOpen()) await VoxeetSDK.session.open({ name: "Ada" });
    document.title = VoxeetSDK.session.participant.info.name;
    await VoxeetSDK.conference.join(await VoxeetSDK.conference.create({ alias: "X" }), {});
    await VoxeetSDK.conference.startAudio({}).catch((error) => (window.code = error.code));
  };
  main().catch((error) => (document.title = error.message));
</script>
"""


@asynccontextmanager
async def _site(files: dict[str, tuple[str, str]]) -> AsyncIterator[str]:
    """The address of a server of these files: path, then content type and text."""

    async def send(request: web.Request) -> web.Response:
        kind, text = files[request.path]
        return web.Response(text=text, content_type=kind)

    app = web.Application()
    app.router.add_get("/{name:.*}", send)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_a_script_tag_gives_voxeet_sdk_and_opens_a_session_that_outlives_a_reload() -> None:
    script = await output_of(await node_program(), "--input-type=module", "--eval", BUNDLE)
    async with running_service() as running, chromium() as browser:
        app = await running.new_application()
        files = {
            "/": ("text/html", PAGE % (running.url, app.token("ada"))),
            "/voxeet-sdk.js": ("text/javascript", script),
        }
        async with _site(files) as address:
            page = await browser.open(address)
            await page.until("document.title === 'Ada'")
            await page.until("window.code === 'notAvailable'")
            first = await page.evaluate("VoxeetSDK.session.participant.id")
            await page.reload()
            await page.until("document.title === 'Ada' && window.code === 'notAvailable'")
            assert await page.evaluate("VoxeetSDK.session.participant.id") == first
            assert await page.evaluate("VoxeetSDK.conference.current.status") == "joined"
            members = "[...VoxeetSDK.conference.participants.values()].map(({ info }) => info.name).join()"
            assert await page.evaluate(members) == "Ada"
            participants = await page.evaluate("VoxeetSDK.greenroom.session.getParticipant()")
            assert participants["sessions"] == 1
            assert not page.problems
