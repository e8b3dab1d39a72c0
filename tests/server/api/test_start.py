"""What people find who open the address that the service prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.server.api.demo import DEMO_FILE
from greenroom.server.version import version
from tests.server.harness import running_service


async def test_the_start_page_says_what_there_is() -> None:
    async with running_service() as running:
        async with running.http.get(running.url + "/") as reply:
            assert (reply.status, reply.content_type) == (200, "text/html")
            text = await reply.text()
        assert version() in text
        assert 'href="console/"' in text
        assert "lobby" not in text
        for path in ("console/", "console/console.css", "console/icon.svg", "openapi.json", "asyncapi.json", "sdk/"):
            async with running.http.get(f"{running.url}/{path}") as reply:
                assert reply.status == 200, path


async def test_with_the_demo_it_leads_to_the_lobby_and_names_the_key(tmp_path: Path) -> None:
    async with running_service(demo_page="on") as running:
        tenant = await running.new_application("Demo")
        (Path(running.data_dir) / DEMO_FILE).write_text(tenant.key)
        async with running.http.get(running.url + "/") as reply:
            text = await reply.text()
        assert 'href="lobby/"' in text
        assert tenant.key in text
        assert tenant.secret not in text
        # Through a name that resolves to this machine it is no more than anybody's.
        async with running.http.get(running.url + "/", headers={"Host": "rebound.example.com"}) as reply:
            assert tenant.key not in await reply.text()
        async with running.http.get(running.url + "/lobby") as reply:
            assert (reply.status, reply.url.path) == (200, "/lobby/")


@pytest.mark.parametrize(("path", "location"), [("/docs", "./#docs"), ("/console", "console/")])
async def test_what_people_type_leads_there(path: str, location: str) -> None:
    async with running_service() as running, running.http.get(running.url + path, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (308, location)
