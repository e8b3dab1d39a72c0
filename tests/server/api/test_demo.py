"""The example page of `serve --dev` signs anybody in, so it is there for this machine alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from greenroom.server.api.demo import DEMO_FILE, files
from tests.server.harness import RunningService, Tenant, running_service

HERE: dict[str, str] = {}
ELSEWHERE = {"Host": "rebound.example.com"}


@asynccontextmanager
async def demo() -> AsyncIterator[tuple[RunningService, Tenant]]:
    async with running_service(demo_page="on") as running:
        tenant = await running.new_application("Demo")
        (Path(running.data_dir) / DEMO_FILE).write_text(tenant.key)
        yield running, tenant


async def sign_in(
    running: RunningService, external_id: object, headers: dict[str, str] = HERE
) -> tuple[int, dict[str, str]]:
    body = {"externalId": external_id}
    async with running.http.post(f"{running.url}/lobby/token", json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def test_a_token_opens_a_session_of_the_external_id_at_the_address_that_was_asked() -> None:
    async with demo() as (running, tenant), running.connect() as client:
        status, answer = await sign_in(running, "anna")
        assert (status, answer["url"]) == (200, running.url)
        opened = await client.open(answer["token"])
        assert opened.participant["id"] == tenant.participant_id("anna")


@pytest.mark.parametrize("external_id", ["", None, 5, "x" * 129, "a\x00b"])
async def test_an_external_id_that_is_none_is_refused(external_id: object) -> None:
    async with demo() as (running, _):
        assert (await sign_in(running, external_id))[0] == 400


@pytest.mark.parametrize("headers", [ELSEWHERE, {"Host": "127.0.0.1.example.com"}, {"Host": "[::1"}])
async def test_no_page_of_elsewhere_reaches_it(headers: dict[str, str]) -> None:
    """Its name may have been made to resolve to this machine."""
    async with demo() as (running, tenant):
        status, answer = await sign_in(running, "anna", headers)
        assert status in (400, 404)
        assert "token" not in answer
        async with running.http.get(running.url + "/lobby/", headers=headers) as reply:
            assert reply.status in (400, 404)
            assert tenant.key not in await reply.text()


async def test_its_files_are_served_with_a_policy_that_lets_nothing_else_in() -> None:
    async with demo() as (running, _):
        assert {"index.html"} < set(files())
        for name, kind in (("", "text/html"), *((name, None) for name in files())):
            async with running.http.get(f"{running.url}/lobby/{name}") as reply:
                assert (reply.status, kind or reply.content_type) == (200, reply.content_type)
                assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        for name in ("nothing.js", "..%2Findex.html", "index.htm"):
            async with running.http.get(f"{running.url}/lobby/{name}") as reply:
                assert reply.status == 404


async def test_without_the_setting_or_an_application_it_is_not_there() -> None:
    async with running_service() as running:
        assert (await sign_in(running, "anna"))[0] == 404
    async with demo() as (running, tenant):
        await running.service.tenants.disable(tenant.key)
        status, answer = await sign_in(running, "anna")
        assert (status, "greenroom serve --dev" in str(answer)) == (404, True)
        (Path(running.data_dir) / DEMO_FILE).unlink()
        assert (await sign_in(running, "anna"))[0] == 404
