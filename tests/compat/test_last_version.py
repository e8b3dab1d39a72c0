"""SDKs of the version before against this service, and this SDK against the service of the version before."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom.backend import Backend
from tests.browser.node import BROWSER, node
from tests.compat.last_version import unpack
from tests.server.harness import running_service

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "compat" / "drivers" / "session_life.py"
THIS = ROOT / "src"
Process = asyncio.subprocess.Process


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("before"))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def _process(tree: Path, *arguments: str) -> AsyncIterator[Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**kept, "PYTHONPATH": str(tree)},
        cwd=tree,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _said(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    found: dict[str, Any] = json.loads(line or b'{"step": "the program ended"}')
    return found


async def _tell(process: Process, word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")
    await process.stdin.drain()


@pytest.mark.slow
@pytest.mark.parametrize("newer", ["the service", "the SDK"])
async def test_a_session_from_open_over_a_restart_to_a_kick(newer: str, before: Path, tmp_path: Path) -> None:
    service, sdk = (THIS, before) if newer == "the service" else (before, THIS)
    port = str(_free_port())
    serve = ("-m", "greenroom", "serve", "--port", port, "--data", str(tmp_path / "data"), "--json", "--dev")
    async with _process(service, *serve) as first:
        ready = await _said(first)
        async with Backend(ready["url"], ready["appKey"], ready["appSecret"]) as backend:
            tokens = [await backend.client_token(external_id=name) for name in ("anna", "ben")]
        async with _process(sdk, str(DRIVER), ready["url"], *tokens) as program:
            assert await _said(program) == {"step": "open", "name": "Anna", "external_id": "anna"}
            assert await _said(program) == {"step": "conflict"}
            assert await _said(program) == {"step": "watched", "name": "Benjamin", "same": True}
            assert await _said(program) == {"step": "get", "names": ["Benjamin", None]}
            first.kill()
            await first.wait()
            async with _process(service, *serve) as second:
                again = await _said(second)
                await _tell(program, "restarted")
                resumed = await _said(program)
                assert (resumed["step"], resumed["name"]) == ("resumed", "Anna B.")
                async with Backend(again["url"], again["appKey"], again["appSecret"]) as backend:
                    (session,) = [one async for one in backend.sessions(external_id="anna")]
                    assert session.generation == 2
                    assert len((await backend.kick(external_id="anna")).ended) == 1
                await _tell(program, "kicked")
                assert await _said(program) == {"step": "ended", "reason": "kicked"}
                assert await _said(program) == {"step": "closed", "open": False}
                assert await asyncio.wait_for(program.wait(), 10) == 0


@pytest.mark.slow
async def test_the_browser_sdk_of_the_version_before(before: Path) -> None:
    """Its own end-to-end program, unchanged, in Node."""
    source = before.parent / "source"
    script = BROWSER / "e2e" / ".last-version-client.mjs"
    shutil.copy(source / "browser" / "e2e" / "client.mjs", script)
    try:
        async with running_service() as running:
            tenant = await running.new_application()
            argument = {
                "url": running.url,
                "tokens": {name: tenant.token(name) for name in ("ada", "ben")},
                "module": str(before / "greenroom" / "server" / "static_files" / "greenroom.js"),
            }
            assert (await node(script.name, argument)).splitlines()[-1] == "ok"
    finally:
        script.unlink()
