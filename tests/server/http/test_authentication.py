"""Whether a request is of this machine itself; and nobody is let in without credentials."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.authentication import is_local
from greenroom.server.http.routes import Auth
from tests.server.harness import running_service


@pytest.mark.parametrize(
    ("address", "headers", "local"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8080"}, True),
        ("127.0.0.1", {"host": "localhost"}, True),
        ("::1", {"Host": "[::1]:8080"}, True),
        ("127.9.9.9", {"Host": "localhost:1"}, True),
        ("192.0.2.1", {"Host": "localhost"}, False),
        ("127.0.0.1", {"Host": "greenroom.example"}, False),
        ("127.0.0.1", {"Host": "localhost.evil.example"}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"Host": "[::1"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, False),
        ("127.0.0.1", {"Host": "localhost", "forwarded": "for=192.0.2.1"}, False),
    ],
)
def test_local_requests(address: str, headers: dict[str, str], local: bool) -> None:
    assert is_local(CIMultiDict(headers), address) is local


async def test_every_route_that_asks_for_credentials_refuses_who_has_none() -> None:
    guarded = [route for route in API_ROUTES if route.auth in (Auth.BASIC, Auth.API, Auth.ADMIN)]
    assert {route.auth for route in guarded} == {Auth.BASIC, Auth.API, Auth.ADMIN}
    async with running_service(failed_auth_per_minute=1_000_000) as running:
        for route in guarded:
            path = route.path.replace("{", "").replace("}", "")
            async with running.http.request(route.method, running.url + path) as reply:
                assert reply.status == 401, (route.method, route.path)
                assert reply.headers["WWW-Authenticate"]
                assert (await reply.json())["type"] == "ErrorResponse"
