"""The browser SDK and the React Native bridge in Node, against the real service."""

from __future__ import annotations

import pytest

from tests.browser.node import ROOT, node
from tests.server.harness import running_service

pytestmark = pytest.mark.slow

SERVED = ROOT / "src" / "greenroom" / "server" / "http" / "static_files" / "greenroom.js"


async def test_the_module_that_is_served_runs_in_node() -> None:
    async with running_service() as house:
        app = await house.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben")}
        printed = await node("client.mjs", {"url": house.url, "tokens": tokens, "module": SERVED.as_uri()})
        assert printed.splitlines()[-1] == "ok"


async def test_the_unchanged_session_layer_of_the_platforms_react_native_sdk() -> None:
    async with running_service() as house:
        app = await house.new_application()
        argument = {
            "url": house.url,
            "token": app.token("ada", life=6),
            "next": app.token("ada"),
            "key": app.key,
            "secret": app.secret,
        }
        printed = await node("react-native.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"


async def test_code_of_the_platforms_web_sdk_runs_over_web_compat() -> None:
    async with running_service() as house:
        app = await house.new_application()
        argument = {"url": house.url, "token": app.token("ada"), "key": app.key, "secret": app.secret}
        printed = await node("web-compat.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"


async def test_react_in_strict_mode_has_one_session() -> None:
    async with running_service() as house:
        app = await house.new_application()
        tokens = {name: app.token(name) for name in ("ada", "ben")}
        argument = {"url": house.url, "tokens": tokens}
        printed = await node("react.mjs", argument, "--import", "./test/support/resolve.mjs")
        assert printed.splitlines()[-1] == "ok"
