"""The browser SDK as the service serves it, and the example page of --dev."""

from __future__ import annotations

import base64
import gzip
import hashlib
from pathlib import Path

import aiohttp
import pytest

from greenroom.server.api.demo import DEMO_FILE, files
from greenroom.server.http.static import packed, sdk_module, send
from tests.server.harness import RunningService, running_service


async def _get(running: RunningService, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(running.url + path, headers=headers) as reply,
    ):
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()


async def test_the_sdk_is_served_with_tag_hash_and_compressed() -> None:
    async with running_service() as running:
        status, headers, body = await _get(running, "/sdk/greenroom.js", **{"Accept-Encoding": "identity"})
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert headers["access-control-allow-origin"] == "*"
        assert "max-age=300" in headers["cache-control"]
        assert "content-encoding" not in headers
        status, zipped_headers, zipped = await _get(
            running, "/sdk/greenroom.js", **{"Accept-Encoding": "br, gzip;q=0.9"}
        )
        assert (zipped_headers["content-encoding"], gzip.decompress(zipped)) == ("gzip", body)
        assert zipped_headers["etag"] != headers["etag"]
        assert zipped_headers["vary"] == headers["vary"] == "Accept-Encoding"
        for one in (headers, zipped_headers):
            encoding = one.get("content-encoding", "identity")
            again = await _get(
                running, "/sdk/greenroom.js", **{"If-None-Match": f'"x", W/{one["etag"]}', "Accept-Encoding": encoding}
            )
            assert (again[0], again[2], again[1]["etag"]) == (304, b"", one["etag"])


async def test_the_integrity_hash_is_that_of_an_address_that_never_changes() -> None:
    async with running_service() as running:
        async with running.http.get(running.url + "/sdk/greenroom.json") as reply:
            said = await reply.json()
        status, headers, body = await _get(running, said["url"], **{"Accept-Encoding": "identity"})
        assert status == 200
        assert "immutable" in headers["cache-control"]
        assert said["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
        assert (await _get(running, "/sdk/000000000000/greenroom.js"))[0] == 404


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("*", True), ("GZIP; q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False), ("br", False)],
)
def test_compressed_only_where_the_client_takes_it(accepted: str, zipped: bool) -> None:
    answer = send(sdk_module(), {"accept-encoding": accepted}, "text/javascript", "no-cache")
    assert ("Content-Encoding" in answer.headers) is zipped


def test_the_same_bytes_in_every_process() -> None:
    assert packed(b"x" * 1000).zipped == packed(b"x" * 1000).zipped


def test_the_page_runs_nothing_inline_and_loads_nothing_from_elsewhere() -> None:
    page = files()["index.html"].raw.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick" not in page
    assert "//" not in page.replace("<!doctype html>", "")
    assert page.count("<script") == page.count('<script type="module" src="')


async def test_the_lobby_is_there_only_where_it_was_asked_for() -> None:
    async with running_service() as running:
        assert (await _get(running, "/lobby/"))[0] == 404
        async with running.http.post(running.url + "/lobby/token", json={"externalId": "x"}) as reply:
            assert reply.status == 404
        async with running.http.get(running.url + "/openapi.json") as reply:
            assert not [path for path in (await reply.json())["paths"] if path.startswith("/lobby")]


async def test_the_lobby_signs_in_whoever_is_on_this_machine() -> None:
    async with running_service(demo_page="on") as running:
        status, headers, _ = await _get(running, "/lobby/")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (await _get(running, "/lobby/lobby.js"))[0] == 200
        assert (await _get(running, "/lobby/..%2fstatic.py"))[0] == 404
        body = {"externalId": "anna", "name": "Anna"}
        async with running.http.post(running.url + "/lobby/token", json=body) as reply:
            assert reply.status == 404  # no demo application yet
        app = await running.new_application("Demo")
        (Path(running.data_dir) / DEMO_FILE).write_text(app.key, encoding="utf-8")
        async with running.http.post(running.url + "/lobby/token", json=body) as reply:
            assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
            signed_in = await reply.json()
        assert signed_in["url"] == running.url
        async with running.connect() as client:
            opened = await client.open(signed_in["token"])
            assert opened.participant["externalId"] == "anna"


@pytest.mark.parametrize("path", ["/lobby/", "/lobby/lobby.js"])
@pytest.mark.parametrize("host", ["evil.example:7465", "127.0.0.1.evil.example", "10.1.2.3"])
async def test_a_name_made_to_resolve_to_this_machine_gets_nothing(path: str, host: str) -> None:
    async with running_service(demo_page="on") as running:
        status, _, body = await _get(running, path, Host=host)
        assert status == 404
        assert b"this machine alone" in body
