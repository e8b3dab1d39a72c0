"""Settings of an application, on a real service: what operators allow, and what it may set for itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.api_service import api_service
from tests.server.harness import RefusedError, RunningService


async def _admin(running: RunningService, method: str, path: str, body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {running.service.admin_token}"}
    async with running.http.request(method, running.url + "/admin/v1" + path, json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def test_an_application_cannot_exceed_the_service_s_ceilings() -> None:
    ceilings = {"max_application_sessions_ceiling": 2, "max_watched_ceiling": 5, "max_sessions_ceiling": 3}
    async with api_service(**ceilings) as (running, tenant, api):
        settings = await api.good("GET", "/v1/settings")
        assert (settings["maxApplicationSessions"], settings["maxWatched"]) == (2, 5)
        assert settings["policy"]["maxSessions"] == 3
        for patch in (
            {"maxApplicationSessions": None},
            {"maxApplicationSessions": 3},
            {"maxWatched": 100_000},
            {"policy": {"maxSessions": 4}},
        ):
            reply = await api.call("PATCH", "/v1/settings", patch)
            if patch != {"maxApplicationSessions": None}:
                assert reply.status == 400, patch
                assert "The operators of this service allow at most" in reply.body["error_description"]
            assert (await api.good("GET", "/v1/settings")) == settings
        assert (await api.good("PATCH", "/v1/settings", {"maxWatched": 4}))["maxWatched"] == 4
        async with running.connect() as one, running.connect() as two, running.connect() as three:
            await one.open(tenant.token("a"))
            await two.open(tenant.token("b"))
            with pytest.raises(RefusedError, match="reached its limit of sessions"):
                await three.open(tenant.token("c"))


async def test_an_application_cannot_exceed_its_own_ceilings_and_is_lowered_to_them() -> None:
    async with api_service() as (running, tenant, api):
        path = f"/applications/{tenant.key}/ceilings"
        status, view = await _admin(running, "PATCH", path, {"maxApplicationSessions": 7, "maxWatched": 1})
        assert (status, view["ceilings"]) == (
            200,
            {
                "maxApplicationSessions": 7,
                "maxWatched": 1,
                "maxSessions": None,
                "maxRoomMembers": None,
                "maxRooms": None,
            },
        )
        settings = await api.good("GET", "/v1/settings")
        assert (settings["maxApplicationSessions"], settings["maxWatched"]) == (7, 1)
        assert (await api.refused("PATCH", "/v1/settings", {"maxApplicationSessions": 8}))[0] == 400
        assert (await api.good("PATCH", "/v1/settings", {"maxApplicationSessions": 6}))["maxApplicationSessions"] == 6
        await _admin(running, "PATCH", path, {"maxApplicationSessions": None, "maxWatched": None})
        assert (await api.good("PATCH", "/v1/settings", {"maxWatched": 100}))["maxWatched"] == 100


async def test_settings_for_rooms() -> None:
    ceilings = {"max_room_members_ceiling": 50, "max_rooms_ceiling": 60}
    async with api_service(**ceilings) as (running, tenant, api):
        rooms = (await api.good("GET", "/v1/settings"))["rooms"]
        assert rooms == {
            "access": "open", "rosterAttributes": [], "invitationTtl": 60.0, "maxMembers": 50, "maxRooms": 60,
            "detailedMembers": 1000,
        }  # fmt: skip
        patch = {"access": "granted", "rosterAttributes": ["seat"], "invitationTtl": 30, "maxMembers": 1}
        rooms |= patch
        assert (await api.good("PATCH", "/v1/settings", {"rooms": patch}))["rooms"] == rooms
        assert tenant.application.settings.rooms.roster_attributes == ("seat",)
        for bad in (
            {"maxMembers": 51}, {"maxRooms": 61}, {"maxMembers": 0}, {"access": "closed"}, {"invitationTtl": 0},
            {"invitationTtl": 86401}, {"detailedMembers": 1001}, {"rosterAttributes": [""]}, {"unknown": 1},
        ):  # fmt: skip
            reply = await api.call("PATCH", "/v1/settings", {"rooms": bad})
            assert reply.status == 400, bad
        assert (await api.good("GET", "/v1/settings"))["rooms"] == rooms
        path = f"/applications/{tenant.key}/ceilings"
        await _admin(running, "PATCH", path, {"maxRooms": 5})
        assert (await api.good("GET", "/v1/settings"))["rooms"]["maxRooms"] == 5


async def test_allowed_origins_are_stored_as_browsers_send_them() -> None:
    async with api_service() as (running, tenant, api):
        sent = ["https://App.example.com:443", "https://app.example.com"]
        assert (await api.good("PATCH", "/v1/settings", {"allowedOrigins": sent}))["allowedOrigins"] == [
            "https://app.example.com"
        ]
        async with running.connect(Origin="https://app.example.com") as client:
            await client.open(tenant.token("anna"))
        reply = await api.call("PATCH", "/v1/settings", {"allowedOrigins": ["https://a.example/"]})
        assert reply.status == 400
        assert "Write https://a.example." in reply.body["error_description"]
