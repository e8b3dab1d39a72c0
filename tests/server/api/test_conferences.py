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
