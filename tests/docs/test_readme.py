"""The README is short, shows what is there, and its programs run. (Its Python program: test_first_steps.)"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.browser.chromium import chromium
from tests.server.harness import running_service

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150


def test_its_pictures_are_there_and_small_and_say_what_they_show() -> None:
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"|!\[[^\]]+\]\(([^)]+)\)', README)
    assert len(pictures) == 3
    for path in (ROOT / (one or other) for one, other in pictures):
        assert path.stat().st_size < 300 * 1024, path
    assert re.search(r'<img [^>]*alt="[^"]+"', README)
    ElementTree.parse(ROOT / "docs" / "images" / "parts.svg")


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_what_pages_and_error_messages_install_is_there() -> None:
    """Nothing is published yet: a clone, or the service itself, has it."""
    texts = [path.read_text() for path in [*PAGES, *SOURCES]]
    found = [line.strip() for text in texts for line in re.findall(r"pip install [^\n`#]*", text)]
    ours = [line for line in found if "greenroom" in line or "[" in line or line.endswith(" .")]
    assert len(ours) > 5
    assert [
        one
        for one in ours
        if not re.search(r" '?\.(\[|$)| --find-links \S+/sdk/ (greenroom|'greenroom\[backend\]')$", one)
    ] == []
    npm = [
        word
        for page in PAGES
        for line in re.findall(r"npm install ([^\n`]*)", page.read_text())
        for word in line.split()
    ]
    assert [one for one in npm if one.startswith("@greenroom/")] == []
    assert len([one for one in npm if "/sdk/greenroom-client.tgz" in one]) > 2


@pytest.mark.slow
@pytest.mark.waiting
async def test_its_program_for_pages_opens_a_session() -> None:
    (code,) = re.findall(r"```js\n(.*?)```", README, re.DOTALL)
    async with running_service() as running, chromium() as browser:
        app = await running.new_application()
        page = await browser.open(running.url + "/console/")
        code = code.replace("http://127.0.0.1:7465", running.url)
        code = re.sub(r"import (.*) from (.*);", r"const \1 = await import(\2);", code)
        token = f"const token = '{app.token('anna')}', fetchTokenFromYourBackend = () => token;"
        name = await page.evaluate(f"(async () => {{ {token} {code} return sdk.session.participant.info.name }})()")
        assert name == "Anna"
        assert page.problems == []
