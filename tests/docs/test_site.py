"""The documentation as a site: it builds without a warning, loads nothing from elsewhere, and looks right."""

from __future__ import annotations

import asyncio
import atexit
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.browser.chromium import chromium

pytestmark = pytest.mark.xdist_group("site")  # one build for all of them

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / "build" / "test" / f"site-{os.getpid()}"  # of this process: another worker may build its own
# What the theme's script would load for features that no page of ours has: the tests below look at that too.
UNUSED = re.compile(r"/(?:resize-observer-polyfill|mermaid|pyodide|ace-builds|glightbox)\b")
FEATURES = ("mermaid", "pyodide", "glightbox")


@functools.cache
def site() -> Path:
    """The built site. Its configuration is the repository's, with a target folder of this process."""
    atexit.register(shutil.rmtree, SITE, ignore_errors=True)
    shutil.copytree(DOCS, SITE / "docs")  # it builds what lies beside its configuration
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for here, elsewhere in (
        ("site_dir: build/docs", "site_dir: pages"),
        ("paths: [src]", f"paths: [{ROOT / 'src'}]"),
    ):
        assert here in text
        text = text.replace(here, elsewhere)
    config = SITE / "mkdocs.yml"
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(config)]
    done = subprocess.run(command, cwd=SITE, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE / "pages"


def _nav(entry: Any) -> Iterator[str]:
    """Every page of the navigation, in order."""
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from _nav(child)


def _config() -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    config: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    return config


def test_every_page_is_in_the_navigation_once_and_the_tabs_are_in_order() -> None:
    config = _config()
    tabs = [next(iter(entry)) for entry in config["nav"]]
    assert tabs == ["Greenroom", "Tutorials", "How-to", "Reference", "Explanation"]
    named = list(_nav(config["nav"]))
    assert sorted(named) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


TAGS = re.compile(r"<(?:script|img|iframe|source|video|object|embed|link)\b[^>]*>")
NO_ASSET = re.compile(r'rel="?(?:canonical|next|prev)')  # links to pages
ELSEWHERE = re.compile(r"""(?:src|href|data)=["']?(?:https?:)?//""")
IN_STYLE = re.compile(r"""(?:url\(|@import\s*)["']?(?:https?:)?//[^)"']*""")
IN_SCRIPT = re.compile(r"https?://[\w.-]*(?:unpkg|jsdelivr|cdnjs|googleapis|gstatic|cloudflare)[\w./@-]*")


@pytest.mark.slow
def test_no_asset_comes_from_another_host() -> None:
    loaded = []
    for page in site().rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        tags = [tag for tag in TAGS.findall(text) if not NO_ASSET.search(tag)]
        loaded += [(page.name, tag) for tag in tags if ELSEWHERE.search(tag)]
        assert not re.search(rf'class="[^"]*\b(?:{"|".join(FEATURES)})', text), page.name
    for sheet in site().rglob("*.css"):
        loaded += [(sheet.name, found) for found in IN_STYLE.findall(sheet.read_text(encoding="utf-8"))]
    for script in site().rglob("*.js"):
        hosts = IN_SCRIPT.findall(script.read_text(encoding="utf-8"))
        loaded += [(script.name, host) for host in hosts if not UNUSED.search(host)]
    assert not loaded


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server for the files of a folder; its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
async def test_three_pages_in_both_colours_and_at_phone_width() -> None:
    pages = {
        "docs-front": "index.html",
        "docs-tutorial": "tutorials/first-session.html",
        "docs-api": "reference/python-api.html",
    }
    with served(await asyncio.to_thread(site)) as url:
        async with chromium() as browser:
            for name, path in pages.items():
                for width, height, kind in ((1360, 860, ""), (390, 844, "-phone")):
                    page = await browser.open(f"{url}/{path}", width=width, height=height)
                    # The site remembers which colours it showed last.
                    await page.call("Page.addScriptToEvaluateOnNewDocument", source="localStorage.clear()")
                    for scheme, background in (("light", "default"), ("dark", "slate")):
                        await page.scheme(scheme)
                        await page.reload()
                        await page.until(f"document.body.dataset.mdColorScheme === '{background}'")
                        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, kind)
                        await page.screenshot(f"{name}{kind}-{scheme}")
                    loaded = await page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
                    assert len(loaded) > 3
                    assert [name for name in loaded if not name.startswith(url)] == []
                    assert page.problems == []


RESULTS = """(() => {
  const root = [...document.querySelectorAll('*')].map((element) => element.shadowRoot).find(Boolean)
  return [...(root?.querySelectorAll('a[href]') ?? [])].map((link) => link.href)
})()"""


@pytest.mark.slow
async def test_the_search_finds_a_setting() -> None:
    with served(await asyncio.to_thread(site)) as url:
        async with chromium() as browser:
            page = await browser.open(f"{url}/index.html")
            await page.until("!!document.querySelector('label[for=__search]')")
            await page.evaluate("document.querySelector('label[for=__search]').click()")
            await page.until("document.activeElement.shadowRoot?.activeElement?.matches('input')")
            await page.call("Input.insertText", text="trusted_proxies")
            await page.until(f"{RESULTS}.some((link) => link.includes('reference/settings.html'))")
            assert page.problems == []
