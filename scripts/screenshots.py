"""Makes the pictures of the README from the running service: lobby and console side by side, by day and by night.

usage: python -m scripts.screenshots

Starts `greenroom serve --dev` on a free port with an empty data directory, fills the lobby in Chromium, and writes
docs/images/first-look-light.png and -dark.png.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.browser.chromium import Browser, Page, chromium
from tests.browser.lobby import is_presence, sign_in

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PEOPLE = ("Anna", "Ben", "Chloé", "Dmitri", "Esra", "Noor")
WIDTH, HEIGHT, GAP = 820, 720, 20
BACKGROUND = {"light": "#e8ecec", "dark": "#0b1211"}


@asynccontextmanager
async def dev_service() -> AsyncIterator[dict[str, str]]:
    """What a fresh `greenroom serve --dev` prints, by its label: Lobby, Console, App key, App secret."""
    with tempfile.TemporaryDirectory(prefix="greenroom-screenshots-") as data:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "greenroom", "serve", "--dev", "--port", "0", "--data", data,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        printed: dict[str, str] = {}
        try:
            while not {"Lobby", "Console", "App key", "App secret"} <= printed.keys():
                line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
                if not line:
                    raise RuntimeError("greenroom serve --dev ended before it was ready")
                if found := re.match(r"  (\w+(?: \w+)?) +(\S+)", line):
                    printed[found[1]] = found[2]
            yield printed
        finally:
            process.terminate()
            await process.communicate()


async def fill(browser: Browser, lobby: str) -> list[Page]:
    """Everybody in the lobby, each in a tab with a face of their own; one is cut off."""
    pages = []
    for number, name in enumerate(PEOPLE):
        page = await browser.open(lobby, width=WIDTH, height=HEIGHT)
        await page.until("document.querySelectorAll('#faces input').length > 1")
        await page.evaluate(f"document.querySelectorAll('#faces input')[{number + 1}]?.click()")
        await sign_in(page, name)
        pages.append(page)
    await pages[3].evaluate("document.getElementById('plug').click()")
    await pages[0].until(is_presence(PEOPLE[3], "unreachable"))
    return pages


async def open_console(browser: Browser, printed: dict[str, str]) -> Page:
    page = await browser.open(printed["Console"], width=WIDTH, height=HEIGHT)
    await page.until("!!document.getElementById('sign-in')")
    for field, label in (("key", "App key"), ("secret", "App secret")):
        await page.evaluate(f"document.getElementById('{field}').value = {json.dumps(printed[label])}")
    await page.evaluate("document.getElementById('sign-in').requestSubmit()")
    await page.until("document.getElementById('state').dataset.state === 'connected'")
    return page


async def side_by_side(browser: Browser, pages: list[Page], scheme: str) -> bytes:
    """A PNG of both pages in this colour scheme."""
    pictures = []
    for page in pages:
        await page.scheme(scheme)
        await page.evaluate("scrollTo(0, 0)")
        await page.evaluate("new Promise((done) => setTimeout(done, 1000))")  # transitions of colour
        captured = await page.call("Page.captureScreenshot", format="png")
        pictures.append(f'<img src="data:image/png;base64,{captured["data"]}">')
    width, height = 2 * WIDTH + 3 * GAP, HEIGHT + 2 * GAP
    sheet = await browser.open("about:blank", width=width, height=height)
    await sheet.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
    )
    style = (
        f"body {{ margin: 0; padding: {GAP}px; display: flex; gap: {GAP}px; background: {BACKGROUND[scheme]} }}"
        f"img {{ width: {WIDTH}px; border-radius: 10px; box-shadow: 0 2px 12px #0004 }}"
    )
    html = f"<style>{style}</style>{''.join(pictures)}"
    await sheet.evaluate(f"document.documentElement.innerHTML = {json.dumps(html)}")
    await sheet.evaluate("Promise.all([...document.images].map((one) => one.decode()))")
    picture = await sheet.call("Page.captureScreenshot", format="png")
    await sheet.close()
    return base64.b64decode(picture["data"])


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with dev_service() as printed, chromium() as browser:
        console = await open_console(browser, printed)  # first, so that it sees everybody come
        lobby, *_ = await fill(browser, printed["Lobby"])
        await console.until(f"document.querySelectorAll('#people > li').length >= {len(PEOPLE)}")
        for scheme in ("light", "dark"):
            picture = await side_by_side(browser, [lobby, console], scheme)
            path = IMAGES / f"first-look-{scheme}.png"
            path.write_bytes(picture)
            print(f"{path.relative_to(ROOT)}: {len(picture) // 1024} KiB")


if __name__ == "__main__":
    asyncio.run(main())
