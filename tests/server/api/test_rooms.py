"""The server API for rooms, on a real service."""

from __future__ import annotations

from urllib.parse import quote

from greenroom.core.rooms.names import MAX_MESSAGE_BYTES
from greenroom.tokens.scopes import ROOMS_READ
from tests.server.api_service import api_of, api_service

NOBODY = "00000000-0000-5000-8000-000000000000"
"""The id of no participant."""


async def test_a_room_is_opened_read_listed_and_ended() -> None:
    async with api_service() as (_running, _tenant, api):
        assert await api.refused("GET", "/v1/rooms/standup") == (404, "Not_found")
        opened = await api.good("POST", "/v1/rooms/standup", {"ttl": 30})
        assert (opened["name"], opened["count"], opened["ttl"], opened["openedBy"]) == ("standup", 0, 30.0, None)
        assert await api.good("POST", "/v1/rooms/standup", {"ttl": 99, "detailed": False}) == opened
        assert await api.good("GET", "/v1/rooms/standup") == opened
        await api.good("POST", "/v1/rooms/all%20hands", {})
        assert [one["name"] for one in (await api.good("GET", "/v1/rooms"))["items"]] == ["all hands", "standup"]
        assert [one["name"] for one in (await api.good("GET", "/v1/rooms", search="STAND"))["items"]] == ["standup"]
        assert await api.good("DELETE", "/v1/rooms/standup") == {"state": "ending"}
        assert await api.good("DELETE", "/v1/rooms/never") == {"state": "absent"}


async def test_pages_hold_every_room_once() -> None:
    async with api_service() as (_running, _tenant, api):
        for number in range(7):
            await api.good("POST", f"/v1/rooms/r{number}", {})
        names, cursor = [], None
        while True:
            page = await api.good("GET", "/v1/rooms", limit=3, **({} if cursor is None else {"cursor": cursor}))
            names += [one["name"] for one in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert names == [f"r{number}" for number in range(7)]


async def test_members_are_listed_and_kicked() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        opened = await client.open(tenant.token("anna"), participant={"name": "Anna"})
        await client.call("rooms.join", room="standup")
        page = await api.good("GET", "/v1/rooms/standup/members")
        (anna,) = page["items"]
        assert (anna["externalId"], anna["name"], anna["presence"], anna["sessions"]) == ("anna", "Anna", "online", 1)
        assert (page["count"], page["cursor"]) == (1, None)
        assert [one["name"] for one in (await api.good("GET", "/v1/rooms", externalId="anna"))["items"]] == ["standup"]
        assert (await api.good("GET", "/v1/rooms", participantId=NOBODY))["items"] == []
        kicked = await api.good("POST", "/v1/rooms/standup/kick", {"externalId": "anna", "seconds": 30})
        assert kicked == {"participantId": opened.participant["id"], "sessions": [opened.id]}
        assert await client.notified("rooms.left") == {"room": "standup", "reason": "kicked"}
        assert (await api.good("GET", "/v1/rooms/standup/members"))["items"] == []


async def test_a_backends_message_reaches_the_members() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"))
        await client.call("rooms.join", room="standup")
        body = {"message": {"bell": True}, "messageId": "m1"}
        sent = await api.good("POST", "/v1/rooms/standup/messages", body)
        assert await api.good("POST", "/v1/rooms/standup/messages", body) == sent
        assert await client.notified("rooms.message") == {
            "room": "standup",
            "number": sent["number"],
            "message": {"bell": True},
        }
        too_long = {"message": "x" * MAX_MESSAGE_BYTES}
        reply = await api.call("POST", "/v1/rooms/standup/messages", too_long)
        assert reply.status in (400, 413)


async def test_an_invitation_reaches_who_is_here_and_who_comes_later() -> None:
    async with api_service() as (running, tenant, api), running.connect() as anna:
        await anna.open(tenant.token("anna"))
        made = await api.good(
            "POST", "/v1/rooms/standup/invitations", {"externalIds": ["anna", "bob"], "text": "Now?", "ttl": 600}
        )
        assert len(made["items"]) == 2
        invited = await anna.notified("rooms.invited")
        assert (invited["invitation"]["room"], invited["invitation"]["text"]) == ("standup", "Now?")
        async with running.connect() as bob:
            opened = await bob.open(tenant.token("bob"))
            assert [one["room"] for one in opened.result["invitations"]] == ["standup"]


async def test_events_of_rooms_come_with_names() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        await client.call("rooms.join", room="standup")
        await client.call("rooms.leave", room="standup")
        events = (await api.good("GET", "/v1/events", type="room.*"))["items"]
        assert [one["type"] for one in events] == ["room.opened", "room.joined", "room.left", "room.ended"]
        joined, left = events[1:3]
        assert (joined["data"]["room"], joined["data"]["name"], joined["data"]["externalId"]) == (
            "standup",
            "Anna",
            "anna",
        )
        assert left["data"]["reason"] == "left"


async def test_scopes_names_and_bodies_are_checked() -> None:
    async with api_service() as (running, tenant, api):
        reader = api_of(running, tenant, (ROOMS_READ,))
        assert await reader.good("GET", "/v1/rooms") == {"items": [], "cursor": None}
        for method, path, body in (
            ("POST", "/v1/rooms/standup", {}),
            ("DELETE", "/v1/rooms/standup", None),
            ("POST", "/v1/rooms/standup/messages", {"message": 1}),
            ("POST", "/v1/rooms/standup/kick", {"externalId": "anna"}),
            ("POST", "/v1/rooms/standup/invitations", {"externalIds": ["anna"]}),
        ):
            assert await reader.refused(method, path, body) == (403, "Insufficient_scope"), path
        for path in (quote("a\nb"), quote("é" * 126)):
            assert await api.refused("POST", f"/v1/rooms/{path}", {}) == (400, "Illegal_argument")
        assert await api.refused("POST", "/v1/rooms/standup", {"ttl": -1}) == (400, "Illegal_argument")
        assert await api.refused("POST", "/v1/rooms/standup/kick", {}) == (400, "Illegal_argument")
        assert await api.refused("GET", "/v1/rooms/standup/members", cursor="nonsense") == (400, "Illegal_argument")
