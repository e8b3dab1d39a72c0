"""The SDK's rooms and a real service, over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from greenroom import (
    Greenroom,
    KeptOutError,
    NotAMemberError,
    NotFoundError,
    ParticipantInfo,
    Room,
    RoomPermissionError,
    ScopeMissingError,
)
from greenroom.codes import CloseCode
from greenroom.model import Presence
from tests.sdk.test_rooms import true
from tests.server.harness import RunningService, Tenant, running_service
from tests.support.sdk import Notes


@asynccontextmanager
async def people(running: RunningService, tenant: Tenant, *names: str, **claims: Any) -> AsyncIterator[list[Greenroom]]:
    """An SDK with an open session for each."""
    sdks = []
    for name in names:
        sdk = Greenroom(running.url)
        sdk.initialize_token(tenant.token(name, **claims))
        sdk.session.delegate = Notes()
        await sdk.session.open(ParticipantInfo(name=name.title()))
        sdks.append(sdk)
    try:
        yield sdks
    finally:
        for sdk in sdks:
            await sdk.aclose()


def notes_of(sdk: Greenroom) -> Notes:
    assert isinstance(sdk.session.delegate, Notes)
    return sdk.session.delegate


def cut(sdk: Greenroom) -> None:
    """The connection is lost; the SDK dials again by itself."""
    for connection in sdk._runner._connections.values():
        connection.disconnect(CloseCode.COME_BACK)


def names(room: Room) -> list[str]:
    return sorted(one.info.name or "" for one in room.members.values())


async def test_a_room_from_the_first_member_to_the_last() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room = await ada.rooms.join("stand/up é")
            assert (names(room), room.count, room.is_member) == (["Ada"], 1, True)
            changes = room.changes()
            theirs = await bob.rooms.join("stand/up é")
            assert names(theirs) == ["Ada", "Bob"]
            change = await asyncio.wait_for(anext(changes), 5)
            assert [one.info.name for one in change.joined] == ["Bob"]
            assert theirs.id == room.id
            assert await bob.rooms.find(room.id or "") == "stand/up é"
            received: list[Any] = []
            theirs.on_message(lambda sender, message: received.append((sender and sender.info.name, message)))
            for number in range(20):
                await room.send({"number": number})
            await room.send("not for bob", to=[room.members[ada.session.participant.id].id])  # type: ignore[union-attr]
            await true(lambda: len(received) >= 20)
            assert received == [("Ada", {"number": number}) for number in range(20)]
            await bob.session.set_status("busy")
            change = await asyncio.wait_for(anext(changes), 5)
            assert [one.availability for one in change.changed] == ["busy"]
            assert {one.info.name async for one in room.all_members()} == {"Ada", "Bob"}
            await bob.session.close()
            change = await asyncio.wait_for(anext(changes), 5)
            assert [(one.member.info.name, one.reason) for one in change.left] == [("Bob", "closed")]
            assert (theirs.reason, room.count) == ("closed", 1)
            with pytest.raises(NotAMemberError):
                await theirs.send(1)
            await room.leave()
            seen = await ada.rooms.watch("stand/up é")
            assert (seen.count, seen.members) == (0, {})


async def test_a_lost_connection_is_the_same_member_and_learns_what_changed() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob", "eve") as (ada, bob, eve):
            room, seen = await ada.rooms.join("r"), await ada.rooms.watch("seen")
            theirs = await bob.rooms.join("r")
            await true(lambda: room.count == 2)
            joined_at = room.members[ada.session.participant.id].joined_at  # type: ignore[union-attr]
            for _ in range(3):
                cut(ada)
                await notes_of(ada).comes("reconnecting", 1)
                await theirs.leave()
                others = await eve.rooms.join("r")
                await eve.rooms.join("seen")
                await true(lambda: names(room) == ["Ada", "Eve"] and names(seen) == ["Eve"])
                await others.leave()
                theirs = await bob.rooms.join("r")
                await true(lambda: names(room) == ["Ada", "Bob"])
            mine = theirs.members[ada.session.participant.id]  # type: ignore[union-attr]
            assert (mine.joined_at, mine.sessions) == (joined_at, 1)
            await true(lambda: theirs.members[mine.id].presence is Presence.ONLINE)
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(message))
            await theirs.send("still here")
            await true(lambda: received)
            assert room.is_member


async def test_two_sessions_of_one_participant_are_one_member() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "ada") as (one, other):
            room, theirs = await one.rooms.join("r"), await other.rooms.join("r")
            await true(lambda: [member.sessions for member in room.members.values()] == [2])
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(("own", message)))
            theirs.on_message(lambda sender, message: received.append(("sibling", message)))
            await room.send("hello")
            await true(lambda: received)
            await room.leave()
            await true(lambda: [member.sessions for member in theirs.members.values()] == [1])
            assert received == [("sibling", "hello")]


async def test_kicks_invitations_and_counted_rooms() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room_id = await ada.rooms.create("team", ttl=5)
            room = await ada.rooms.join("team")
            assert (room.id, room.is_detailed) == (room_id, True)
            await room.invite(external_ids=["bob", "nobody"], text="come")
            await true(lambda: bob.rooms.invitations)
            (invitation,) = bob.rooms.invitations
            assert (invitation.room, invitation.inviter_name, invitation.text) == ("team", "Ada", "come")
            theirs = await bob.rooms.accept(invitation)
            _, answer = await notes_of(ada).first("answered")
            assert (answer.accepted, answer.room) == (True, "team")
            with pytest.raises(NotFoundError):
                await bob.rooms.decline(invitation)
            with pytest.raises(RoomPermissionError):
                await theirs.kick(ada.session.participant.id)  # type: ignore[union-attr]
            await room.kick(bob.session.participant.id, seconds=30)  # type: ignore[union-attr]
            await true(lambda: theirs.is_closed)
            assert theirs.reason == "kicked"
            with pytest.raises(KeptOutError):
                await bob.rooms.join("team")
            await ada.rooms.create("hall", detailed=False)
            hall = await ada.rooms.join("hall")
            await bob.rooms.join("hall")
            await true(lambda: hall.count == 2)
            assert hall.members == {}
            assert len([one async for one in hall.all_members()]) == 2


async def test_a_cancelled_join_leaves() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            seen = await bob.rooms.watch("r")
            for _ in range(5):
                joining = asyncio.create_task(ada.rooms.join("r"))
                await asyncio.sleep(0)
                joining.cancel()
                await asyncio.gather(joining, return_exceptions=True)
            other = await ada.rooms.join("other")
            await true(lambda: seen.count == 0)
            assert other.is_member


async def test_scopes_say_who_may_create_and_watch() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", scopes=("session:update",)) as (ada,):
            with pytest.raises(ScopeMissingError):
                await ada.rooms.create("r")
            with pytest.raises(ScopeMissingError):
                await ada.rooms.watch("r")
            room = await ada.rooms.join("r")
            assert (room.is_member, room.count, room.members) == (True, 0, {})  # who is there is not hers to know
            cut(ada)
            await notes_of(ada).comes("connected", 2)
            await room.send("still a member")


@pytest.mark.slow
async def test_a_session_that_timed_out_is_opened_again_and_joins_what_was_not_left() -> None:
    async with running_service(grace=1.0, grace_going_away=1.0, grace_unconfirmed=1.0) as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room, seen = await ada.rooms.join("r"), await ada.rooms.watch("seen")
            theirs = await bob.rooms.join("r")
            await (await ada.rooms.join("left")).leave()
            ada._runner.machine.offline(ada._runner.now())  # no network
            cut(ada)
            await true(lambda: names(theirs) == ["Bob"], 15.0)
            ada._runner.machine.online(ada._runner.now())
            ada._runner.pump()
            await true(lambda: names(theirs) == ["Ada", "Bob"], 15.0)
            await notes_of(ada).first("reopened")
            await bob.rooms.join("seen")
            await true(lambda: names(room) == ["Ada", "Bob"] and names(seen) == ["Bob"])
            assert room.is_member
            assert [one.name for one in (room, seen) if one.is_closed] == []


@pytest.mark.slow
async def test_a_service_that_is_killed_and_started_again_has_the_members() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room, theirs = await ada.rooms.join("r"), await bob.rooms.join("r")
            await running.restart(kill=True)
            await notes_of(ada).comes("connected", 2, 20.0)
            await notes_of(bob).comes("connected", 2, 20.0)
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(message))
            await theirs.send("back")
            await true(lambda: received, 10.0)
            await true(lambda: names(room) == names(theirs) == ["Ada", "Bob"], 10.0)
            assert (room.is_member, theirs.is_member) == (True, True)
