"""Bodies made to hurt a JSON reader, at every route that takes one: always a clean 400, and the service lives on."""

from __future__ import annotations

import pytest

from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.routes import Auth, Body, Route
from tests.server.api_service import api_service
from tests.server.harness import RunningService

ROUTES = [
    route for route in API_ROUTES if route.has_body and Body.JSON in route.body_forms and route.auth is not Auth.BASIC
]
BODIES = {
    "nested lists": b"[" * 8_000 + b"]" * 8_000,
    "nested objects": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "lone surrogate": b'{"reason":"\\ud800","name":"\\udc00x","url":"\\ud83d"}',
    "raw surrogate": b'{"name":"\xed\xa0\x80"}',
    "not UTF-8": b'{"name":"\xff\xfe"}',
    "cut": b'{"name":"An',
    "twice": b'{"name":"a","name":"b"}',
    "NaN": b'{"expires_in":NaN}',
    "huge number": b'{"expires_in":1e999999}',
    "no object": b'"x"',
    "nothing": b"",
}


@pytest.mark.parametrize("what", BODIES)
async def test_every_route_answers_400(what: str) -> None:
    async with api_service(failed_auth_per_minute=1_000_000) as (running, _tenant, api):
        for route in ROUTES:
            headers = {"Content-Type": "application/json", "Authorization": _credentials(route, api.token, running)}
            path = route.path.replace("{id}", "x").replace("{app_key}", "x").replace("{eventId}", "x")
            async with running.http.request(
                route.method, running.url + path, data=BODIES[what], headers=headers
            ) as reply:
                body = await reply.json()
                assert reply.status == 400, (route.method, route.path, reply.status, body)
                assert body["type"] == "ErrorResponse"
        await api.good("GET", "/v1/counts")


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"0" + b"}" * 100_000]
)
async def test_nesting_of_ten_to_the_fifth(deep: bytes) -> None:
    async with api_service() as (running, _tenant, api):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api.token}"}
        paths = [
            (one.method, one.path.replace("{id}", "x")) for one in API_ROUTES if one.has_body and one.auth is Auth.API
        ]
        for method, path in [*paths]:
            async with running.http.request(method, running.url + path, data=deep, headers=headers) as reply:
                assert (reply.status, (await reply.json())["error_reason"]) in (
                    (400, "Illegal_argument"), (413, "Body_too_large")
                )  # fmt: skip
        await api.good("GET", "/v1/counts")


def _credentials(route: Route, token: str, running: RunningService) -> str:
    admin = running.service.admin_token
    return f"Bearer {admin if route.auth is Auth.ADMIN else token}"
