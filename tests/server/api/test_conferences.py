"""The platform's API for conferences: a conference is the room of its alias."""

from __future__ import annotations

import pytest

from greenroom.model import RoomSettings
from tests.server.api_service import api_of, api_service
from tests.server.harness import RefusedError


async def test_tokens_of_a_conference_grant_it_and_nothing_else() -> None:
    async with api_service() as (running, _tenant, _api):
        tenant = await running.new_application(rooms=RoomSettings(access="granted"))
        api = api_of(running, tenant)
        invitees = {"bob": {}, "eve": {"permissions": ["JOIN", "KICK"]}}
        made = await api.good(
            "POST", "/v2/conferences/create", {"alias": "standup", "ownerExternalId": "anna", "participants": invitees}
        )
        async with running.connect() as anna, running.connect() as bob, running.connect() as eve:
            await anna.open(made["ownerToken"])
            await bob.open(made["usersTokens"]["bob"])
            await eve.open(made["usersTokens"]["eve"])
            for client in (anna, bob, eve):
                await client.call("rooms.join", room="standup")
                with pytest.raises(RefusedError, match="does not grant join"):
                    await client.call("rooms.join", room="standup2")
            await bob.call("rooms.send", room="standup", messageId="m1", message="Hello")
            with pytest.raises(RefusedError, match="does not grant send"):
                await eve.call("rooms.send", room="standup", messageId="m2", message="Hello")


async def test_a_conference_whose_alias_ends_like_a_pattern_is_not_granted_as_one() -> None:
    async with api_service() as (running, _tenant, _api):
        tenant = await running.new_application(rooms=RoomSettings(access="granted"))
        made = await api_of(running, tenant).good(
            "POST", "/v2/conferences/create", {"alias": "team*", "ownerExternalId": "anna"}
        )
        async with running.connect() as anna:
            await anna.open(made["ownerToken"])
            with pytest.raises(RefusedError, match="does not grant join"):
                await anna.call("rooms.join", room="team secrets")


async def test_a_conference_is_the_room_of_its_alias_and_is_found_by_its_id() -> None:
    async with api_service() as (running, tenant, api), running.connect() as anna, running.connect() as bob:
        first = await api.good("POST", "/v2/conferences/create", {"alias": "#Stand#Up"})
        assert (first["conferenceAlias"], first["ownerToken"], first["usersTokens"]) == ("standup", None, {})
        again = await api.good("POST", "/v2/conferences/create", {"alias": "standup"})
        assert again["conferenceId"] == first["conferenceId"]
        path = f"/v2/conferences/{first['conferenceId']}"
        for client, name in ((anna, "anna"), (bob, "bob")):
            await client.open(tenant.token(name), participant={"name": name.title()})
            await client.call("rooms.join", room="standup")
        found = (await api.good("GET", f"{path}/participants"))["participants"]
        assert sorted((one["externalId"], one["name"], one["nbSession"]) for one in found) == [
            ("anna", "Anna", 1),
            ("bob", "Bob", 1),
        ]
        await api.good("POST", f"{path}/message", {"from": "eve", "message": "Hello", "to": ["anna"]})
        assert (await anna.notified("rooms.message"))["message"] == "Hello"
        await api.good("POST", f"{path}/kick", {"externalIds": ["bob"]})
        assert (await bob.notified("rooms.left"))["reason"] == "kicked"


async def test_one_without_an_alias_has_a_name_of_its_own() -> None:
    async with api_service() as (_, _tenant, api):
        one, other = [await api.good("POST", "/v2/conferences/create", {}) for _ in range(2)]
        assert one["conferenceAlias"] != other["conferenceAlias"]
        assert len(one["conferenceAlias"]) == 36


async def test_what_is_no_conference_is_not_found_and_no_alias_is_refused() -> None:
    async with api_service() as (running, _, api):
        other = api_of(running, await running.new_application("Other"))
        made = await api.good("POST", "/v2/conferences/create", {"alias": "standup"})
        for asked, conference in ((api, "standup"), (api, "r1-unknown"), (other, made["conferenceId"])):
            path = f"/v2/conferences/{conference}/participants"
            assert await asked.refused("GET", path) == (404, "Not_found"), conference
        for alias in ("###", "a\nb", ""):
            assert (await api.refused("POST", "/v2/conferences/create", {"alias": alias}))[0] == 400, alias
