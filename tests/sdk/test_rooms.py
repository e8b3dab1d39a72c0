"""Rooms of the SDK over the fake service: rosters, changes, messages, invitations."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom import (
    Greenroom,
    IllegalArgumentError,
    InvitationAnswer,
    InvitationAnsweredError,
    KeptOutError,
    Member,
    NotAMemberError,
    NotFoundError,
    ProtocolError,
    RoomFullError,
    RoomPermissionError,
    ScopeMissingError,
    SessionNotOpenError,
)
from greenroom.sdk.room import MemberLeft
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.patience import until
from tests.support.sdk import ADA, BOB, EVE, Notes, notes_of, people


async def test_a_room_that_is_opened_while_it_is_watched_has_its_id() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        seen = await ada.rooms.watch("r")
        assert seen.id is None
        room = await bob.rooms.join("r")
        await until(lambda: seen.count == 1)
        assert seen.id == room.id == service.rooms["r"].id


async def test_a_repeated_join_is_the_same_room_and_one_after_a_leave_is_another() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        first, second = await asyncio.gather(ada.rooms.join("r"), ada.rooms.join("r"))
        assert first is second is await ada.rooms.join("r")
        assert service.methods().count("rooms.join") == 1
        async with first:
            assert first.is_member
        third = await ada.rooms.join("r")
        assert third is not first
        assert (first.is_member, third.is_member) == (False, True)
        with pytest.raises(NotAMemberError, match="closed: left"):
            await first.send(1)


async def test_a_cancelled_join_leaves() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        service.hang.add("rooms.join")
        joining = asyncio.create_task(ada.rooms.join("r"))
        await service.called("rooms.join")
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        service.hang.clear()
        await service.called("rooms.leave")
        room = await ada.rooms.join("r")
        assert room.is_member


async def test_who_watches_sees_the_roster_and_no_messages() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        seen = await ada.rooms.watch("r")
        assert (seen.is_member, seen.count, seen.id) == (False, 0, None)
        assert seen is await ada.rooms.watch("r")
        changes = seen.changes()
        theirs = await bob.rooms.join("r")
        assert [one.id for one in (await anext(changes)).joined] == [BOB]
        received: list[Any] = []
        seen.on_message(lambda sender, message: received.append(message))
        with pytest.raises(NotAMemberError, match="only watched"):
            await seen.send(1)
        mine = await ada.rooms.join("r")
        assert mine is not seen
        assert [one.id for one in (await anext(changes)).joined] == [ADA]
        await mine.leave()
        assert (seen.is_closed, mine.is_closed) == (False, True)
        assert [one.member.id for one in (await anext(changes)).left] == [ADA]
        await theirs.send("not for watchers")
        await seen.leave()
        await service.called("rooms.unwatch")
        assert (received, service.only_session_of("ada").watching_rooms) == ([], set())


async def test_a_roster_of_several_pages_fills_up() -> None:
    async with FakeService() as service, people(service, "ada", "bob", "eve") as (ada, bob, eve):
        service.rooms.page_members = 1
        await bob.rooms.join("r")
        await eve.rooms.join("r")
        room = await ada.rooms.join("r")
        assert room.count == 3
        await until(lambda: len(room.members) == 3)
        assert [one.id async for one in room.all_members()] == sorted([ADA, BOB, EVE])


async def test_a_counted_room_has_a_count_and_its_members_by_page() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room_id = await ada.rooms.create("hall", ttl=30, detailed=False)
        assert (await bob.rooms.find(room_id), service.rooms["hall"].ttl) == ("hall", 30)
        with pytest.raises(NotFoundError):
            await bob.rooms.find("nothing")
        room = await ada.rooms.join("hall")
        changes = room.changes()
        await bob.rooms.join("hall")
        change = await anext(changes)
        assert (change.joined, change.count, room.members, room.is_detailed) == ((), 2, {}, False)
        assert {one.id async for one in room.all_members()} == {ADA, BOB}


async def test_a_lost_connection_keeps_the_membership_and_brings_what_changed() -> None:
    async with FakeService() as service, people(service, "ada", "bob", "eve") as (ada, bob, eve):
        room = await ada.rooms.join("r")
        theirs = await bob.rooms.join("r")
        other = await ada.rooms.join("other")
        await until(lambda: room.count == 2)
        changes = room.changes()
        link = service.only_session_of("ada").link
        assert link is not None
        await link.drop(1006)
        await until(lambda: service.only_session_of("ada").link is None)
        service.rooms.kick("other", ADA)
        await theirs.leave()
        await eve.rooms.join("r")
        change = await anext(changes)
        assert ([one.id for one in change.joined], change.left[0].reason) == ([EVE], None)
        assert (room.is_member, other.is_member, other.reason) == (True, False, "kicked")
        assert service.methods().count("rooms.join") == 4


async def test_a_session_opened_in_place_of_a_lost_one_joins_again_what_is_not_left() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        await bob.rooms.join("r")
        room, full, seen = await ada.rooms.join("r"), await ada.rooms.join("full"), await ada.rooms.watch("seen")
        await (await ada.rooms.join("left")).leave()
        closed: list[str] = []
        full.on_closed(closed.append)
        service.refusals["rooms.join"] = []
        session = service.only_session_of("ada")
        service.rooms.by_name["full"].kept_out[ADA] = 1e12
        session.ended = "timeout"
        service.rooms.session_ended(session)
        link = session.link
        assert link is not None
        await link.drop(1006)
        await until(lambda: closed)
        assert closed == ["kept_out"]
        assert isinstance(full.error, KeptOutError)
        assert (room.is_member, full.is_member, seen.is_closed) == (True, False, False)
        await until(lambda: service.only_session_of("ada").watching_rooms == {"r", "seen"})
        assert set(service.rooms["r"].members) == {ADA, BOB}
        assert ADA not in service.rooms["left"].members
        theirs = service.rooms
        received: list[Any] = []
        room.on_message(lambda sender, message: received.append((sender, message)))
        theirs.say("r", "of the backend")
        await until(lambda: received)
        assert received == [(None, "of the backend")]


async def test_kicked_ended_and_closed_with_the_session() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room, ended = await ada.rooms.join("r"), await ada.rooms.join("ended")
        theirs = await bob.rooms.join("r")
        with pytest.raises(RoomPermissionError):
            await theirs.kick(ADA)
        reasons: list[str] = []
        theirs.on_closed(reasons.append)
        await room.kick(room.members.get(BOB) or BOB, seconds=30)
        await until(lambda: reasons == ["kicked"])
        with pytest.raises(KeptOutError):
            await bob.rooms.join("r")
        service.rooms.end("ended")
        await until(lambda: ended.is_closed)
        assert (ended.reason, ended.error) == ("ended", None)
        seen = await ada.rooms.watch("seen")
        await service.end(service.only_session_of("ada"), "blocked")
        await until(lambda: room.is_closed and seen.is_closed)
        assert (room.reason, seen.reason) == ("blocked", "closed")
        with pytest.raises(SessionNotOpenError):
            await ada.rooms.join("r")
        with pytest.raises(SessionNotOpenError):
            [one async for one in room.all_members()]
        await room.leave()


async def test_close_closes_the_rooms() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")
        waiting = asyncio.ensure_future(anext(room.changes(), None))
        await ada.session.close()
        assert (room.reason, await waiting) == ("closed", None)
        assert service.rooms["r"].members == {}


async def test_two_sessions_of_one_participant_are_one_member() -> None:
    async with FakeService() as service, people(service, "ada", "ada") as (one, other):
        room, theirs = await one.rooms.join("r"), await other.rooms.join("r")
        await until(lambda: room.members[ADA].sessions == 2)
        received: list[Any] = []
        room.on_message(lambda sender, message: received.append(("own", message)))
        theirs.on_message(lambda sender, message: received.append(("sibling", message)))
        await room.send("hello")
        await until(lambda: received)
        assert received == [("sibling", "hello")]
        await room.leave()
        await until(lambda: theirs.members[ADA].sessions == 1)
        assert theirs.count == 1


async def test_invitations() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room = await ada.rooms.join("team")
        await room.invite([BOB], external_ids=["bob"], text="come")
        await notes_of(bob).comes("invited", 2)
        first, second = bob.rooms.invitations
        assert (first.room, first.inviter, first.text) == ("team", ADA, "come")
        theirs = await bob.rooms.accept(first)
        assert theirs.is_member
        _, answer = await notes_of(ada).first("answered")
        assert answer == InvitationAnswer(first.id, "team", BOB, True)
        await bob.rooms.decline(second)
        await notes_of(ada).comes("answered", 2)
        assert (notes_of(ada).calls[-1][1].accepted, bob.rooms.invitations) == (False, [])
        # Again the same way changes nothing, and is not reported again; the opposite answer is refused.
        await bob.rooms.decline(second)
        assert await bob.rooms.accept(first) is theirs
        with pytest.raises(InvitationAnsweredError, match="It was accepted") as refused:
            await bob.rooms.decline(first)
        assert refused.value.accepted is True
        await theirs.leave()
        with pytest.raises(InvitationAnsweredError, match="It was declined"):
            await bob.rooms.accept(second)
        assert bob.rooms.joined == []
        unknown = msgspec.structs.replace(first, id="i0")
        with pytest.raises(NotFoundError):
            await bob.rooms.decline(unknown)
        assert (await bob.rooms.accept(unknown)).is_member
        assert len([one for one in notes_of(ada).calls if one[0] == "answered"]) == 2
        await bob.session.close()
        service.rooms.invite("team", BOB)  # to someone who is not there
        bob.session.delegate = Notes()
        await bob.session.open()
        _, invitation = await notes_of(bob).first("invited")
        assert (invitation.inviter, [one.id for one in bob.rooms.invitations]) == ("", [invitation.id])


async def test_a_full_room_and_scopes() -> None:
    async with (
        FakeService() as service,
        people(service, "ada") as (ada,),
        people(service, "bob", scope="session:update") as (bob,),
    ):
        service.rooms.max_members = 1
        await ada.rooms.join("r")
        with pytest.raises(RoomFullError):
            await bob.rooms.join("r")
        with pytest.raises(ScopeMissingError):
            await bob.rooms.watch("r")
        with pytest.raises(ScopeMissingError):
            await bob.rooms.create("r")
        alone = await bob.rooms.join("alone")  # who is there is not his to know
        assert (alone.is_member, alone.count, service.only_session_of("bob").watching_rooms) == (True, 0, set())


async def test_a_token_that_takes_the_watch_ends_it_with_its_reason() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room, seen = await ada.rooms.join("r"), await ada.rooms.watch("hall")
        theirs = await bob.rooms.join("r")
        await until(lambda: room.count == 2)
        changes = seen.changes()
        received: list[Any] = []
        left: list[MemberLeft] = []
        room.on_message(lambda sender, message: received.append((sender and sender.id, message)))
        room.on_change(lambda change: left.extend(change.left))
        ada.initialize_token(make_token(external_id="ada", scope="session:update", serial=1))
        assert [one async for one in changes] == []
        assert (seen.is_closed, seen.reason, seen.error) == (True, "permission_lost", None)
        await until(lambda: left)
        assert [(one.member.id, one.reason) for one in left] == [(ADA, None), (BOB, None)]
        assert (room.is_member, room.members, room.count) == (True, {}, 0)
        await theirs.send("still there")
        await until(lambda: received)
        assert received == [(BOB, "still there")]
        with pytest.raises(ScopeMissingError):
            await ada.rooms.watch("r")


async def test_a_watch_that_a_resume_does_not_get_back_ends_too() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room, seen = await ada.rooms.join("r"), await ada.rooms.watch("hall")
        service.only_session_of("ada").scopes = ["session:update"]
        await service.drop_all()
        await until(lambda: seen.is_closed)
        assert (seen.reason, room.is_member, room.count) == ("permission_lost", True, 0)


async def test_a_program_that_was_started_again_has_its_rooms(tmp_path: Path) -> None:
    async with FakeService() as service, people(service, "bob") as (bob,):
        theirs, token = await bob.rooms.join("r"), make_token(external_id="ada")
        joined: list[Member] = []
        theirs.on_change(lambda change: joined.extend(change.joined))
        before = Greenroom(service.url, resume_from=tmp_path / "before")
        before.initialize_token(token)
        await before.session.open()
        assert before.rooms.joined == []
        room = await before.rooms.join("r")
        await before.rooms.join("s")
        assert before.rooms.joined[0] is room
        shutil.copy(tmp_path / "before", tmp_path / "again")
        again = Greenroom(service.url, resume_from=tmp_path / "again")
        again.initialize_token(token)
        await again.session.open()
        back, other = again.rooms.joined
        assert (back.name, other.name, set(back.members), back.is_member) == ("r", "s", {ADA, BOB}, True)
        assert back.version == theirs.version
        assert await again.rooms.join("r") is back
        assert service.methods().count("rooms.join") == 3
        assert [one.id for one in joined] == [ADA]
        received: list[Any] = []
        back.on_message(lambda sender, message: received.append(message))
        await theirs.send("hello")
        await until(lambda: received)
        await back.leave()
        assert again.rooms.joined == [other]
        for sdk in (again, before):
            await sdk.aclose()
        assert again.rooms.joined == []


async def test_an_older_service_has_no_rooms() -> None:
    async with FakeService() as service:
        service.capabilities.remove("rooms")
        async with people(service, "ada") as (ada,):
            for call in (ada.rooms.join("r"), ada.rooms.watch("r"), ada.rooms.create("r"), ada.rooms.find("r")):
                with pytest.raises(ProtocolError, match="it has no rooms"):
                    await call
            assert not [one for one in service.methods() if one.startswith("rooms.")]


@pytest.mark.parametrize("name", ["", 5, None, "a\nb", "x" * 251, "é" * 126, "\ud800"])
async def test_names_are_checked_before_anything_is_sent(name: Any) -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        for method in (ada.rooms.join, ada.rooms.watch, ada.rooms.create):
            with pytest.raises(IllegalArgumentError, match="name"):
                await method(name)
        assert service.methods() == ["session.open"]
