"""One room: its roster and how it changes, messages, and what is checked before anything is sent."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import msgspec
import pytest

from greenroom import IllegalArgumentError, Member, NotAMemberError, RoomChange
from greenroom.core.client.effects import RoomLeftEvent, RoomUnwatchedEvent
from greenroom.core.client.rosters import LocalRoom
from greenroom.core.rooms.names import MAX_MESSAGE_BYTES
from greenroom.messages import RoomMembersResult, WireMember
from greenroom.sdk.callbacks import CallbackQueue
from greenroom.sdk.room import EARLY_MESSAGES, MAX_WAITING, MemberLeft, Room, merge_changes
from greenroom.testing.fake_service import FakeService
from tests.support.patience import until
from tests.support.sdk import ADA, BOB, EVE, people


async def test_join_roster_message_leave() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room = await ada.rooms.join("standup")
        assert (room.name, room.count, set(room.members), room.is_member) == ("standup", 1, {ADA}, True)
        assert room.id == service.rooms["standup"].id
        changes = room.changes()
        theirs = await bob.rooms.join("standup")
        change = await anext(changes)
        assert [one.id for one in change.joined] == [BOB] == [one for one in room.members if one != ADA]
        assert (change.count, change.version) == (2, room.version)
        received: list[tuple[Member | None, Any]] = []
        theirs.on_message(lambda sender, message: received.append((sender, message)))
        await room.send({"hand": "up"})
        await room.send("for eve", to=[EVE])
        await until(lambda: received)
        assert [(sender.id if sender else None, message) for sender, message in received] == [(ADA, {"hand": "up"})]
        await theirs.leave()
        change = await anext(changes)
        assert change.left == (MemberLeft(change.left[0].member, "left"),)
        assert (change.left[0].member.id, theirs.is_member, theirs.reason) == (BOB, False, "left")
        await theirs.leave()
        assert service.methods().count("rooms.leave") == 1


async def test_a_slow_reader_gets_several_changes_as_one() -> None:
    async with FakeService() as service, people(service, "ada", "bob", "eve") as (ada, bob, eve):
        room = await ada.rooms.join("r")
        changes, versions = room.changes(), [room.version]
        room.on_change(lambda change: versions.append(change.version))
        await (await bob.rooms.join("r")).leave()
        await eve.rooms.join("r")
        await until(lambda: len(versions) == 4)
        change = await anext(changes)
        assert ([one.id for one in change.joined], change.left, change.version) == ([EVE], (), room.version)
        await room.leave()
        assert [one async for one in changes] == []
        assert [one async for one in room.changes()] == []


def test_two_changes_as_one() -> None:
    ada, bob, eve, max_ = (Member(id=name) for name in ("ada", "bob", "eve", "max"))
    busy = Member(id="bob", shared_status="busy")
    first = RoomChange((ada,), (bob,), (MemberLeft(eve, "left"),), 2, 5)
    second = RoomChange((eve, max_), (busy,), (MemberLeft(ada, "left"),), 3, 6)
    assert merge_changes(first, second) == RoomChange((eve, max_), (busy,), (MemberLeft(eve, "left"),), 3, 6)
    gone = RoomChange((), (), (MemberLeft(bob, "kicked"),), 1, 7)
    assert merge_changes(first, gone) == RoomChange(
        (ada,), (), (MemberLeft(eve, "left"), MemberLeft(bob, "kicked")), 1, 7
    )
    again = RoomChange((), (Member(id="ada", shared_status="away"),), (), 2, 8)
    assert merge_changes(first, again).joined == again.changed


async def test_an_iterator_that_nobody_keeps_costs_nothing() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")
        room.changes()
        gc.collect()
        assert len(room._changes) == 0


async def test_messages_before_the_first_callback_are_kept_for_it() -> None:
    async with FakeService() as service, people(service, "ada", "bob") as (ada, bob):
        room = await ada.rooms.join("r")
        theirs = await bob.rooms.join("r")
        for number in range(EARLY_MESSAGES + 5):
            service.rooms.say("r", number, to=[ADA])
        await theirs.send("last")
        await until(lambda: len(room._early) == EARLY_MESSAGES and room._early[-1][1] == "last")
        received: list[Any] = []
        unsubscribe = room.on_message(lambda sender, message: received.append(message))
        await until(lambda: len(received) == EARLY_MESSAGES)
        assert (received[0], received[-1]) == (6, "last")
        unsubscribe()
        unsubscribe()
        service.rooms.say("r", "kept again")
        await until(lambda: len(room._early) == 1)


async def test_what_the_callbacks_are_too_slow_for_is_missed_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")
        missed: list[int] = []
        received: list[Any] = []
        going_on = asyncio.Event()

        async def slow(sender: Member | None, message: Any) -> None:
            received.append(message)
            await going_on.wait()

        room.on_message(slow)
        room.on_missed(missed.append)
        for number in range(MAX_WAITING + 20):
            service.rooms.say("r", number)
        await until(lambda: room.local.last_number == MAX_WAITING + 20)
        going_on.set()
        await until(lambda: sum(missed) and len(received) + sum(missed) == MAX_WAITING + 20)
        assert received == list(range(len(received)))
        caplog.clear()


async def test_what_the_service_did_not_send_is_missed() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")
        missed: list[int] = []
        room.on_missed(missed.append)
        service.notify(service.only_session, "rooms.missed", {"room": "r", "count": 7})
        await until(lambda: missed)
        assert missed == [7]


async def test_a_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")

        def broken(sender: Member | None, message: Any) -> None:
            raise RuntimeError("as meant")

        room.on_message(broken)
        with caplog.at_level(logging.ERROR, "greenroom.sdk"):
            service.rooms.say("r", 1)
            await until(lambda: caplog.records)
        assert "broken" in caplog.text
        caplog.clear()


async def test_arguments_are_checked_before_anything_is_sent() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        room = await ada.rooms.join("r")
        sent = len(service.calls)
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        for message in (object(), {1, 2, object()}, "\ud800", cyclic):
            with pytest.raises(IllegalArgumentError, match="message"):
                await room.send(message)
        with pytest.raises(IllegalArgumentError, match="16,385 bytes"):
            await room.send("x" * (MAX_MESSAGE_BYTES - 1))
        with pytest.raises(IllegalArgumentError, match="to must hold|participant's id"):
            await room.send(1, to=["bob"])
        await room.send(1, to=[])
        with pytest.raises(IllegalArgumentError, match="participant's id"):
            await room.kick("bob")
        with pytest.raises(IllegalArgumentError, match="text"):
            await room.invite([BOB], text="é" * 513)
        await room.invite()
        for ttl in (-1, 601):
            with pytest.raises(IllegalArgumentError, match="ttl"):
                await ada.rooms.create("s", ttl=ttl)
        with pytest.raises(IllegalArgumentError, match="callback"):
            room.on_message("print")  # type: ignore[arg-type]
        assert len(service.calls) == sent


async def test_a_room_that_was_left_before_its_join_returned_is_closed() -> None:
    async with FakeService() as service, people(service, "ada") as (ada,):
        joining = asyncio.create_task(ada.rooms.join("r"))
        await service.called("rooms.join")
        service.rooms.end("r")
        room = await joining
        await until(lambda: room.is_closed)
        assert room.reason in ("lost", "ended")
        assert repr(room).startswith("<Room 'r': ")


# -- without a service ------------------------------------------------------------------------------------------------


class Asked:
    """`RoomCalls` that answer nothing, and what was asked of them."""

    def __init__(self) -> None:
        self.session_id = "p1-s"
        self.ended: list[Room] = []
        self.pages: list[RoomMembersResult] = []

    async def send(self, name: str, message: bytes, to: list[str]) -> None: ...

    async def request(self, method: str, params: msgspec.Struct) -> object:
        return self.pages.pop(0)

    async def end(self, room: Room) -> None:
        self.ended.append(room)


def a_room(*, is_joined: bool = True) -> tuple[Room, Asked]:
    calls = Asked()
    return Room(calls, LocalRoom("r"), CallbackQueue(), is_joined=is_joined), calls


@pytest.mark.parametrize(
    ("is_joined", "event", "reason"),
    [
        (True, RoomLeftEvent("r", "kicked"), "kicked"),
        (False, RoomLeftEvent("r", "kicked"), None),
        (True, RoomUnwatchedEvent("r", "permission_lost"), None),
        (False, RoomUnwatchedEvent("r", "permission_lost"), "permission_lost"),
    ],
)
async def test_a_room_is_closed_by_what_is_of_its_kind(
    is_joined: bool, event: RoomLeftEvent | RoomUnwatchedEvent, reason: str | None
) -> None:
    """A room that is joined and watched has two objects: each has its own end."""
    room, _ = a_room(is_joined=is_joined)
    room.report(event, "p1-s")
    assert (room.is_closed, room.reason) == (reason is not None, reason)
    room.close("closed")
    assert room.reason == (reason or "closed"), "the first reason stays"


async def test_leaving_asks_once_and_is_over_at_once() -> None:
    room, calls = a_room()
    async with room:
        assert room.is_member
    await room.leave()
    assert (calls.ended, room.is_member, room.reason) == ([room], False, "left")
    with pytest.raises(NotAMemberError, match="The room is closed: left"):
        await room.send(1)
    seen, _ = a_room(is_joined=False)
    with pytest.raises(NotAMemberError, match="only watched"):
        await seen.invite([BOB])


async def test_members_of_a_counted_room_come_page_by_page() -> None:
    room, calls = a_room()
    calls.pages = [
        RoomMembersResult(version=1, count=2, members=[WireMember(id=ADA, joined_at=1)], cursor="next"),
        RoomMembersResult(version=1, count=2, members=[], cursor="more"),
        RoomMembersResult(version=1, count=2, members=[WireMember(id=BOB, joined_at=2)]),
    ]
    assert [one.id async for one in room.all_members()] == [ADA, BOB]
