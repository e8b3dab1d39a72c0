"""The browser SDK and the React Native bridge in Node, against the real service."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.server.http.static import NPM_PACKAGES
from greenroom.server.version import version
from tests.browser.node import ROOT, node, node_program, output_of
from tests.server.harness import running_service
from tests.server.http.test_wheel import unpacked
from tests.server.sessions.test_sessions_redis import two_nodes
from tests.support.patience import until

pytestmark = pytest.mark.slow

SERVED = ROOT / "src" / "greenroom" / "server" / "http" / "static_files" / "greenroom.js"


async def test_the_module_that_is_served_runs_in_node() -> None:
    async with running_service() as running:
        app = await running.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben")}
        printed = await node("client.mjs", {"url": running.url, "tokens": tokens, "module": SERVED.as_uri()})
        assert printed.splitlines()[-1] == "ok"


async def test_rooms_of_the_module_that_is_served() -> None:
    async with running_service() as running:
        app = await running.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben", "eve")}
        printed = await node("rooms.mjs", {"url": running.url, "tokens": tokens, "module": SERVED.as_uri()})
        assert printed.splitlines()[-1] == "ok"


async def test_rooms_of_three_clients_on_two_nodes() -> None:
    async with two_nodes() as (one, other, _):
        app = await one.new_application()
        await one.service.control.announce_directory()
        await until(lambda: other.service.tenants.get(app.key) is not None)
        tokens = {name: app.token(name) for name in ("ada", "ben", "eve")}
        argument = {"urls": [one.url, other.url, one.url], "tokens": tokens, "module": SERVED.as_uri()}
        printed = await node("rooms.mjs", argument)
        assert printed.splitlines()[-1] == "ok"


async def test_the_packages_that_are_served_are_made_of_these_sources(tmp_path: Path) -> None:
    await output_of(await node_program(), "scripts/pack.mjs", tmp_path)
    for name in NPM_PACKAGES:
        served = (SERVED.parent / f"greenroom-{name}.tgz").read_bytes()
        made = (tmp_path / f"greenroom-{name}-{version()}.tgz").read_bytes()
        assert unpacked(served) == unpacked(made), "run: npm run build in browser/"


async def test_the_unchanged_session_layer_of_the_platforms_react_native_sdk() -> None:
    async with running_service() as running:
        app = await running.new_application()
        argument = {
            "url": running.url,
            "token": app.token("ada", life=6),
            "next": app.token("ada"),
            "key": app.key,
            "secret": app.secret,
        }
        printed = await node("react-native.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"


async def test_three_apps_of_the_platforms_react_native_sdk_and_a_page_of_its_web_sdk_in_conferences() -> None:
    async with running_service() as running:
        app = await running.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben", "eve", "web")}
        argument = {"url": running.url, "key": app.key, "secret": app.secret, "tokens": tokens}
        printed = await node("conferences.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"


async def test_code_of_the_platforms_web_sdk_runs_over_web_compat() -> None:
    async with running_service() as running:
        app = await running.new_application()
        argument = {"url": running.url, "token": app.token("ada"), "key": app.key, "secret": app.secret}
        printed = await node("web-compat.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"


async def test_react_in_strict_mode_has_one_session() -> None:
    async with running_service() as running:
        app = await running.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben")}
        argument = {"url": running.url, "tokens": tokens}
        printed = await node("react.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"
