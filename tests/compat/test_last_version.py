"""SDKs of the version before against this service, and this SDK against the service of the version before."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom, ParticipantInfo
from greenroom.backend import Backend
from greenroom.errors import ProtocolError
from tests.browser.node import BROWSER, node, node_program
from tests.compat.last_version import npm_package, unpack
from tests.server.harness import running_service
from tests.server.issuers import AUDIENCE, ISSUER, good_claims, signer
from tests.support.patience import PATIENCE
from tests.support.processes import started
from tests.support.redis_server import free_ports

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "compat" / "drivers" / "session_life.py"
SERVED = ROOT / "src" / "greenroom" / "server" / "http" / "static_files" / "greenroom.js"
BROWSER_DRIVER = DRIVER.with_name("browser_life.mjs")
THIS = ROOT / "src"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("before"))


def _serve(data: Path) -> tuple[str, ...]:
    return ("-m", "greenroom", "serve", "--port", str(free_ports(1)[0]), "--data", str(data), "--json", "--dev")


def _process(tree: Path, *arguments: str, program: str | Path = sys.executable) -> AbstractAsyncContextManager[Process]:
    return started(*arguments, cwd=tree, program=program, stdin=PIPE, environment={"PYTHONPATH": str(tree)})


@asynccontextmanager
async def _script(program: Path) -> AsyncIterator[str]:
    """Its name among the scripts that find the packages of browser/."""
    script = BROWSER / "e2e" / f".compat-{program.name}"
    await asyncio.to_thread(shutil.copy, program, script)
    try:
        yield script.name
    finally:
        script.unlink()


async def _said(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
    found: dict[str, Any] = json.loads(line or b'{"step": "the program ended"}')
    return found


async def _send(process: Process, word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")
    await process.stdin.drain()


@pytest.mark.slow
@pytest.mark.parametrize("newer", ["the service", "the SDK"])
async def test_a_session_from_open_over_a_restart_to_a_kick(newer: str, before: Path, tmp_path: Path) -> None:
    service, sdk = (THIS, before) if newer == "the service" else (before, THIS)
    serve = _serve(tmp_path / "data")
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
                await _send(program, "restarted")
                resumed = await _said(program)
                assert (resumed["step"], resumed["name"]) == ("resumed", "Anna B.")
                async with Backend(again["url"], again["appKey"], again["appSecret"]) as backend:
                    (session,) = [one async for one in backend.sessions(external_id="anna")]
                    assert session.generation == 2
                    assert len((await backend.kick(external_id="anna")).ended) == 1
                await _send(program, "kicked")
                assert await _said(program) == {"step": "ended", "reason": "kicked"}
                assert await _said(program) == {"step": "closed", "open": False}
                assert await asyncio.wait_for(program.wait(), PATIENCE) == 0


async def _next(program: Process, word: str) -> dict[str, Any]:
    await _send(program, word)
    return await _said(program)


@pytest.mark.slow
async def test_the_npm_package_of_the_version_before_among_attributes_statuses_and_issuers(
    before: Path, tmp_path: Path
) -> None:
    """Its app knows none of these: others have them, and nothing that it does takes any away."""
    program = await node_program()
    folder = await asyncio.to_thread(npm_package, before.parent / "source", program, BROWSER / "node_modules")
    script = folder / BROWSER_DRIVER.name
    shutil.copy(BROWSER_DRIVER, script)
    serve = _serve(tmp_path / "data")
    key = signer("ES256")
    async with _process(THIS, *serve) as first:
        ready = await _said(first)
        url = ready["url"]
        async with Backend(url, ready["appKey"], ready["appSecret"]) as backend, Greenroom(url) as ben:
            issuer = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": [key.alg], "keys": [key.public]}
            await backend._call("POST", "/v1/issuers", dict[str, Any], issuer)
            claims = {**good_claims(time.time()), "sub": "carla"}
            tokens = {
                "ada": await backend.client_token(external_id="ada"),
                "issued": key.token(claims={**claims, "app": ready["appKey"]}),
                "issuedWithoutApp": key.token(claims=claims),
            }
            ben.initialize_token(await backend.client_token(external_id="ben"))
            await ben.session.open(ParticipantInfo(name="Ben", attributes={"role": "nurse"}))
            await ben.session.set_status("away")
            argument = json.dumps({"url": url, "tokens": tokens})
            async with _process(folder, str(script), argument, program=program) as app:
                seen = {"name": "Ben", "externalId": "ben", "presence": "online", "sessions": 1}
                own = {"name": "Ada", "externalId": "ada", "presence": "online", "sessions": 1}
                assert await _said(app) == {"step": "open", **own}
                await backend.update_participant(external_id="ada", attributes={"team": "red"})
                assert await _said(app) == {"step": "watching", **seen}
                await ben.session.update_participant_info(attributes={"role": None, "ward": "5"})
                assert await _next(app, "attributes changed") == {"step": "attributes changed", **seen}
                await ben.session.set_status("in surgery")
                assert await _next(app, "status changed") == {"step": "status changed", **seen}
                await ben.session.update_participant_info(name="Benjamin")
                assert await _next(app, "name changed") == {"step": "name changed", **seen, "name": "Benjamin"}
                own["name"] = "Ada B."
                assert await _said(app) == {"step": "updated", **own}
                first.kill()
                await first.wait()
                async with _process(THIS, *serve) as second:
                    await _said(second)
                    assert await _next(app, "restarted") == {"step": "resumed", **own}
                    stored = await backend.participant(external_id="ada")
                    assert (stored.info.name, stored.info.attributes) == ("Ada B.", {"team": "red"})
                    carla = {"name": None, "externalId": "carla", "presence": "online", "sessions": 1}
                    assert await _said(app) == {"step": "issued", **carla}
                    refused = await _said(app)
                    assert (refused["step"], refused["error"]) == ("issuedWithoutApp", "TokenInvalidError")
                    assert "claim app is missing" in refused["message"]
                    assert await asyncio.wait_for(app.wait(), PATIENCE) == 0


@pytest.mark.slow
async def test_these_sdks_say_what_the_service_of_the_version_before_does_not_have(
    before: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve = _serve(tmp_path / "data")
    async with _process(before, *serve) as service:
        ready = await _said(service)
        async with Backend(ready["url"], ready["appKey"], ready["appSecret"]) as backend:
            tokens = [await backend.client_token(external_id=name) for name in ("anna", "ada")]
        async with Greenroom(ready["url"]) as sdk:
            sdk.initialize_token(tokens[0])
            me = await sdk.session.open(ParticipantInfo(name="Anna", attributes={"role": "nurse"}))
            assert (me.info.name, me.attributes) == ("Anna", {})
            assert "it has no attributes, and ignored those of open()" in caplog.text
            with pytest.raises(ProtocolError, match="older than this SDK: it has no attributes"):
                await sdk.session.update_participant_info(attributes={"role": "nurse"})
            with pytest.raises(ProtocolError, match="older than this SDK: it has no status"):
                await sdk.session.set_status("away")
            assert (await sdk.session.update_participant_info(name="Anna B.")).info.name == "Anna B."
        argument = {"url": ready["url"], "token": tokens[1], "module": SERVED.as_uri()}
        async with _script(DRIVER.with_name("newer_browser.mjs")) as name:
            assert (await node(name, argument)).splitlines()[-1] == "ok"


@pytest.mark.slow
async def test_the_browser_sdk_of_the_version_before(before: Path) -> None:
    """Its own end-to-end program, unchanged, in Node."""
    program = before.parent / "source" / "browser" / "e2e" / "client.mjs"
    async with running_service() as running, _script(program) as name:
        tenant = await running.new_application()
        argument = {
            "url": running.url,
            "tokens": {name: tenant.token(name) for name in ("ada", "ben")},
            "module": str(before / "greenroom" / "server" / "static_files" / "greenroom.js"),
        }
        assert (await node(name, argument)).splitlines()[-1] == "ok"
