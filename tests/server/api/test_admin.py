"""The operators' API on real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.http_service import ADMIN_TOKEN, Site, basic, http_site


async def created(site: Site, name: str = "Test") -> dict[str, Any]:
    """A new application's key and secret."""
    reply = await site.admin("POST", "/applications", {"name": name})
    assert reply.status == 201, reply
    assert reply.headers["cache-control"] == "no-store"
    body: dict[str, Any] = reply.json
    assert body.keys() == {"appKey", "appSecret", "name"}
    return body


async def can_sign_in(site: Site, app: dict[str, Any]) -> bool:
    """Whether key and secret get a token."""
    authorization = basic(app["appKey"], app["appSecret"])
    reply = await site.form("/v1/auth/token", "grant_type=client_credentials", Authorization=authorization)
    return reply.status == 200


ROUTES = [
    ("GET", "/applications"),
    ("POST", "/applications"),
    ("GET", "/applications/x"),
    ("POST", "/applications/x/rotate-secret"),
    ("POST", "/applications/x/disable"),
    ("POST", "/applications/x/enable"),
    ("PATCH", "/applications/x/settings"),
    ("GET", "/keys"),
    ("POST", "/keys/rotate"),
    ("GET", "/status"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_everything_needs_the_admin_token(method: str, path: str) -> None:
    async with http_site() as site:
        missing = await site.json(method, "/admin/v1" + path)
        assert (missing.status, missing.headers["www-authenticate"]) == (401, 'Bearer realm="greenroom"')
        wrong = await site.json(method, "/admin/v1" + path, Authorization="Bearer wrong")
        assert (wrong.status, wrong.error["error"]) == (401, "invalid_token")
        as_basic = await site.json(method, "/admin/v1" + path, Authorization=basic("admin", ADMIN_TOKEN))
        assert as_basic.status == 401


async def test_an_api_token_is_no_admin_token() -> None:
    async with http_site() as site:
        app = await created(site)
        authorization = basic(app["appKey"], app["appSecret"])
        reply = await site.form("/v1/auth/token", "grant_type=client_credentials", Authorization=authorization)
        token = reply.json["access_token"]
        assert (await site.json("GET", "/admin/v1/keys", Authorization=f"Bearer {token}")).status == 401


async def test_failed_attempts_on_the_admin_token_are_limited() -> None:
    async with http_site() as site:
        statuses = [(await site.json("GET", "/admin/v1/keys", Authorization="Bearer wrong")).status for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        # Applications' own sign-ins count apart.
        app, secret = await site.service.tenants.create_application("Test")
        assert await can_sign_in(site, {"appKey": app.key, "appSecret": secret})


async def test_create_list_and_read() -> None:
    async with http_site() as site:
        two, one = await created(site, "Two"), await created(site, "One")
        assert await can_sign_in(site, one)
        items = (await site.admin("GET", "/applications")).json["items"]
        assert [item["name"] for item in items] == ["One", "Two"]
        assert items[1]["appKey"] == two["appKey"]
        reply = await site.admin("GET", f"/applications/{one['appKey']}")
        assert reply.json == items[0]
        assert reply.json["state"] == "enabled"
        assert site.service.announced == 2


async def test_no_answer_but_the_first_holds_a_secret_or_its_hash() -> None:
    async with http_site() as site:
        app = await created(site)
        stored = site.service.fake_engine.directory.stored[app["appKey"]]
        for path in ("/applications", f"/applications/{app['appKey']}", "/keys", "/status"):
            body = (await site.admin("GET", path)).body.decode()
            assert app["appSecret"] not in body
            assert stored.secrets[0].digest not in body


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", None, 1])
async def test_bad_names(name: Any) -> None:
    async with http_site() as site:
        reply = await site.admin("POST", "/applications", {"name": name})
        assert (reply.status, reply.error["error_code"]) == (400, 90)


async def test_rotate_secret_keeps_the_old_one_for_the_overlap() -> None:
    async with http_site() as site:
        old = await created(site)
        reply = await site.admin("POST", f"/applications/{old['appKey']}/rotate-secret", {"overlap": 60})
        new = reply.json
        assert new["appKey"] == old["appKey"]
        assert new["appSecret"] != old["appSecret"]
        assert [await can_sign_in(site, app) for app in (old, new)] == [True, True]
        site.service.clock.now += 61
        assert [await can_sign_in(site, app) for app in (old, new)] == [False, True]
        view = (await site.admin("GET", f"/applications/{old['appKey']}")).json
        assert len(view["secrets"]) == 1


@pytest.mark.parametrize("overlap", [-1, 2_592_001, "60", None])
async def test_rotate_secret_with_a_bad_overlap(overlap: Any) -> None:
    async with http_site() as site:
        app = await created(site)
        reply = await site.admin("POST", f"/applications/{app['appKey']}/rotate-secret", {"overlap": overlap})
        assert reply.status == 400


async def test_disable_and_enable() -> None:
    async with http_site() as site:
        app = await created(site)
        path = f"/applications/{app['appKey']}"
        assert (await site.admin("POST", f"{path}/disable")).json["state"] == "disabled"
        assert not await can_sign_in(site, app)
        assert (await site.admin("POST", f"{path}/disable")).status == 200
        assert (await site.admin("POST", f"{path}/enable")).json["state"] == "enabled"
        assert await can_sign_in(site, app)


@pytest.mark.parametrize("method_and_action", ["GET ", "POST /rotate-secret", "POST /disable", "PATCH /settings"])
@pytest.mark.parametrize("key", ["unknown", "__proto__", "%2e%2e", "a%2Fb"])
async def test_unknown_applications_are_404(method_and_action: str, key: str) -> None:
    method, _, action = method_and_action.partition(" ")
    async with http_site() as site:
        reply = await site.admin(method, f"/applications/{key}{action}", None if action in ("", "/disable") else {})
        assert (reply.status, reply.error["error_reason"]) == (404, "Not_found")


async def test_settings_are_changed_one_by_one() -> None:
    async with http_site() as site:
        app = await created(site)
        path = f"/applications/{app['appKey']}"
        before = (await site.admin("GET", path)).json["settings"]
        patch = {
            "policy": {"maxSessions": 3},
            "allowedOrigins": ["https://app.example", "http://localhost:5173"],
            "maxApplicationSessions": 500,
            "openProfile": "scope",
        }
        after = (await site.admin("PATCH", f"{path}/settings", patch)).json["settings"]
        assert after == before | {
            "policy": before["policy"] | {"maxSessions": 3},
            "allowedOrigins": ["https://app.example", "http://localhost:5173"],
            "maxApplicationSessions": 500,
            "openProfile": "scope",
        }
        undone = (await site.admin("PATCH", f"{path}/settings", {"maxApplicationSessions": None})).json["settings"]
        assert undone == after | {"maxApplicationSessions": None}
        assert (await site.admin("GET", path)).json["settings"] == undone


@pytest.mark.parametrize(
    "patch",
    [
        {"unknown": 1},
        {"policy": {"maxSessions": 0}},
        {"policy": {"whenFull": "explode"}},
        {"policy": None},
        {"maxWatched": -1},
        {"openProfile": "maybe"},
        {"allowExternalIdFromClient": "yes"},
        {"keepOfflineParticipants": -1},
        {"allowedOrigins": "https://app.example"},
        {"allowedOrigins": ["app.example"]},
        {"allowedOrigins": ["https://app.example/"]},
        {"allowedOrigins": ["https://app.example/path"]},
        {"allowedOrigins": ["https://*"]},
        {"allowedOrigins": ["*"]},
        {"allowedOrigins": ["https://me@app.example"]},
        {"allowedOrigins": ["https://"]},
    ],
)
async def test_settings_that_are_none_are_refused_and_nothing_is_changed(patch: dict[str, Any]) -> None:
    async with http_site() as site:
        app = await created(site)
        path = f"/applications/{app['appKey']}"
        before = (await site.admin("GET", path)).json
        reply = await site.admin("PATCH", f"{path}/settings", patch)
        assert (reply.status, reply.error["error_code"]) == (400, 90)
        assert (await site.admin("GET", path)).json == before


async def test_keys_are_listed_and_rotated() -> None:
    async with http_site() as site:
        (first,) = (await site.admin("GET", "/keys")).json["items"]
        assert first["state"] == "current"
        reply = await site.admin("POST", "/keys/rotate")
        assert reply.status == 201
        assert [key["state"] for key in reply.json["items"]] == ["upcoming", "current"]
        site.service.clock.now += 600
        items = (await site.admin("GET", "/keys")).json["items"]
        assert [key["state"] for key in items] == ["current", "previous"]
        assert items[1]["kid"] == first["kid"]


async def test_status() -> None:
    async with http_site() as site:
        assert (await site.admin("GET", "/status")).json["node"] == "test"
