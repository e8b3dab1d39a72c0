"""The programs of the README and of the tutorials run as they stand, against a real service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from tests.browser.chromium import chromium
from tests.docs.test_site import served
from tests.server.harness import RunningService, Tenant, running_service
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"


def _blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page, also those inside tabs."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for code in found]


def _program(page: str, mark: str, language: str = "python") -> str:
    """The first block of the page with `mark` in it."""
    return next(code for code in _blocks(page, language) if mark in code)


def _filled(code: str, running: RunningService, app: Tenant) -> str:
    code = code.replace("http://127.0.0.1:7465", running.service.url)
    return code.replace("APP KEY", app.key).replace("APP SECRET", app.secret)


async def _run(*command: str, **environment: str) -> str:
    """What a program prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, out.decode()
    return out.decode()


def _saved(folder: Path, name: str, code: str) -> str:
    path = folder / name
    path.write_text(code, encoding="utf-8")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/first-session.md"])
async def test_the_first_program_opens_updates_and_closes(page: str, tmp_path: Path) -> None:
    async with running_service() as running:
        app = await running.new_application()
        out = await _run(
            sys.executable, _saved(tmp_path, "hello.py", _filled(_program(page, "asyncio.run"), running, app))
        )
        assert "Anna B." in out
        first, second = (int(number) for number in re.findall(r"(\d+)$", out, re.MULTILINE)[:2])
        assert second == first + 1


@pytest.mark.slow
async def test_two_people_of_the_first_tutorial_see_each_other(tmp_path: Path) -> None:
    async with running_service() as running:
        app = await running.new_application()
        see = _saved(tmp_path, "see.py", _filled(_program("docs/tutorials/first-session.md", "watch("), running, app))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
        people = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                see,
                *names,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                # Ctrl-C ends it, also where the tests themselves run in the background of a shell.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
            for names in (("anna", "bob"), ("bob", "anna"))
        ]
        try:
            await _until_line(people[0], "bob is online")
            await _until_line(people[1], "anna is online")
            people[1].send_signal(signal.SIGINT)
            await _until_line(people[0], "bob is offline")
        finally:
            for process in people:
                if process.returncode is None:
                    process.kill()
                await process.communicate()


async def _until_line(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while words not in (line := (await process.stdout.readline()).decode()):
            assert line, "the program ended"


@pytest.mark.slow
async def test_the_programs_for_python(tmp_path: Path) -> None:
    page = "docs/tutorials/start-with-python.md"
    async with running_service() as running:
        app = await running.new_application()
        looped = _saved(tmp_path, "hello.py", _filled(_program(page, "asyncio.run"), running, app))
        assert "Anna is online with 1 session" in await _run(sys.executable, looped)
        blocking = _saved(tmp_path, "blocking_hello.py", _filled(_program(page, "greenroom.blocking"), running, app))
        assert await _run(sys.executable, blocking) == "Anna\n"


@pytest.mark.slow
async def test_the_programs_for_a_backend_in_three_languages(tmp_path: Path) -> None:
    page = "docs/tutorials/start-with-a-backend.md"
    node = await _run(str(ROOT / "scripts" / "node"), "--bin-dir")
    async with running_service() as running:
        app = await running.new_application()
        settings = {"URL": running.service.url, "APP_KEY": app.key, "APP_SECRET": app.secret}
        variables = {f"GREENROOM_{name}": value for name, value in settings.items()}
        async with running.connect() as client:
            await client.open(app.token(external_id="anna"), participant={"name": "Anna"})
            python = _saved(tmp_path, "backend.py", _program(page, "Backend("))
            script = _saved(tmp_path, "backend.mjs", _program(page, "fetch(", "js"))
            for command in ([sys.executable, python], [node.strip().splitlines()[-1] + "/node", script]):
                out = await _run(*command, **variables)
                assert re.search(r"token for Anna: eyJ", out)
                assert "Anna is online, sessions: 1" in out
            out = await _run("sh", "-ec", _program(page, "curl", "sh"), **variables)
            assert '"access_token":"eyJ' in out
            assert '"name":"Anna"' in out


@pytest.mark.slow
async def test_kick_and_block_in_three_languages(tmp_path: Path) -> None:
    page = "docs/how-to/kick-and-block.md"
    node = await _run(str(ROOT / "scripts" / "node"), "--bin-dir")
    commands = (
        (sys.executable, _saved(tmp_path, "kick.py", _program(page, "BlockingBackend"))),
        (node.strip().splitlines()[-1] + "/node", _saved(tmp_path, "kick.mjs", _program(page, "fetch(", "js"))),
        ("sh", "-ec", _program(page, "curl", "sh")),
    )
    async with running_service() as running:
        app = await running.new_application()
        settings = {"URL": running.service.url, "APP_KEY": app.key, "APP_SECRET": app.secret}
        variables = {f"GREENROOM_{name}": value for name, value in settings.items()}
        for command in commands:
            async with running.connect() as client:
                # Tokens of the same second as a kick are revoked with it: this one is of the next.
                await client.open(app.token(external_id="anna", now=time.time() + 2))
                out = await _run(*command, **variables)
                assert "Spam" in out
                assert await client.closed() == 4501
            async with running.connect() as client:  # the block is lifted
                await client.open(app.token(external_id="anna", now=time.time() + 2))


@pytest.mark.slow
async def test_the_page_for_a_browser_opens_and_reloads(tmp_path: Path) -> None:
    async with running_service() as running:
        app = await running.new_application()
        page = _program("docs/tutorials/start-with-a-browser.md", "<script", "html")
        _saved(tmp_path, "hello.html", _filled(page, running, app).replace("TOKEN", app.token(external_id="anna")))
        with served(tmp_path) as url:
            async with chromium() as browser:
                tab = await browser.open(f"{url}/hello.html")
                for _ in range(2):
                    await tab.until("document.getElementById('state').textContent === 'connected'")
                    await tab.reload()
                assert tab.problems == []


@pytest.mark.parametrize("page", sorted(TUTORIALS.glob("*.md")), ids=lambda page: str(page.stem))
def test_a_program_is_saved_as_a_file_never_pasted(page: Path) -> None:
    """Python's prompt ends a function at its first blank line."""
    text = page.read_text(encoding="utf-8")
    assert "paste" not in text
    for before, code in re.findall(r"((?:[^\n]*\n){1,3})^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        assert "asyncio.run" not in code or re.search(r"[Ss]ave this as\s+`[\w.]+\.py`", before), before


def test_every_page_that_is_linked_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    missing = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not missing, missing
