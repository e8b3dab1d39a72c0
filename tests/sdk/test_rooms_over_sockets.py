"""The SDK's rooms and a real service, over sockets."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom import (
    Greenroom,
    InvitationAnsweredError,
    KeptOutError,
    NotAMemberError,
    ParticipantInfo,
    Room,
    RoomChange,
    RoomError,
    RoomPermissionError,
    ScopeMissingError,
)
from greenroom.core.rooms.requests import KickMember, RosterQuery
from greenroom.model import Presence
from greenroom.sdk.aiohttp_client import AiohttpWebSocket
from tests.server.harness import RunningService, Tenant, running_service
from tests.server.sessions.test_sessions_redis import two_nodes
from tests.support.patience import PATIENCE, until
from tests.support.sdk import Notes, notes_of


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


def cut(sdk: Greenroom) -> None:
    """The connection is lost; the SDK dials again by itself."""
    for connection in sdk._runner._connections.values():
        assert isinstance(connection, AiohttpWebSocket)
        connection.abort()


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
            change = await asyncio.wait_for(anext(changes), PATIENCE)
            assert [one.info.name for one in change.joined] == ["Bob"]
            assert theirs.id == room.id
            assert await bob.rooms.find(room.id or "") == "stand/up é"
            received: list[Any] = []
            theirs.on_message(lambda sender, message: received.append((sender and sender.info.name, message)))
            for number in range(20):
                await room.send({"number": number})
            await room.send("not for bob", to=[room.members[ada.session.participant.id].id])  # type: ignore[union-attr]
            await until(lambda: len(received) >= 20)
            assert received == [("Ada", {"number": number}) for number in range(20)]
            await bob.session.set_status("busy")
            change = await asyncio.wait_for(anext(changes), PATIENCE)
            assert [one.availability for one in change.changed] == ["busy"]
            assert {one.info.name async for one in room.all_members()} == {"Ada", "Bob"}
            await bob.session.close()
            change = await asyncio.wait_for(anext(changes), PATIENCE)
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
            await until(lambda: room.count == 2)
            joined_at = room.members[ada.session.participant.id].joined_at  # type: ignore[union-attr]
            for _ in range(3):
                cut(ada)
                await notes_of(ada).comes("reconnecting", 1)
                await theirs.leave()
                others = await eve.rooms.join("r")
                await eve.rooms.join("seen")
                await until(lambda: names(room) == ["Ada", "Eve"] and names(seen) == ["Eve"])
                await others.leave()
                theirs = await bob.rooms.join("r")
                await until(lambda: names(room) == ["Ada", "Bob"])
            mine = theirs.members[ada.session.participant.id]  # type: ignore[union-attr]
            assert (mine.joined_at, mine.sessions) == (joined_at, 1)
            await until(lambda: theirs.members[mine.id].presence is Presence.ONLINE)
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(message))
            await theirs.send("still here")
            await until(lambda: received)
            assert room.is_member


async def test_two_sessions_of_one_participant_are_one_member() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "ada") as (one, other):
            room, theirs = await one.rooms.join("r"), await other.rooms.join("r")
            await until(lambda: [member.sessions for member in room.members.values()] == [2])
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(("own", message)))
            theirs.on_message(lambda sender, message: received.append(("sibling", message)))
            await room.send("hello")
            await until(lambda: received)
            await room.leave()
            await until(lambda: [member.sessions for member in theirs.members.values()] == [1])
            assert received == [("sibling", "hello")]


async def test_kicks_invitations_and_counted_rooms() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room_id = await ada.rooms.create("team", ttl=5)
            room = await ada.rooms.join("team")
            assert (room.id, room.is_detailed) == (room_id, True)
            await room.invite(external_ids=["bob", "nobody"], text="come")
            await until(lambda: bob.rooms.invitations)
            (invitation,) = bob.rooms.invitations
            assert (invitation.room, invitation.inviter_name, invitation.text) == ("team", "Ada", "come")
            theirs = await bob.rooms.accept(invitation)
            _, answer = await notes_of(ada).first("answered")
            assert (answer.accepted, answer.room) == (True, "team")
            assert await bob.rooms.accept(invitation) is theirs
            with pytest.raises(InvitationAnsweredError) as refused:
                await bob.rooms.decline(invitation)
            assert refused.value.accepted is True
            assert len([one for one in notes_of(ada).calls if one[0] == "answered"]) == 1
            with pytest.raises(RoomPermissionError):
                await theirs.kick(ada.session.participant.id)  # type: ignore[union-attr]
            await room.kick(bob.session.participant.id, seconds=30)  # type: ignore[union-attr]
            await until(lambda: theirs.is_closed)
            assert theirs.reason == "kicked"
            with pytest.raises(KeptOutError):
                await bob.rooms.join("team")
            await ada.rooms.create("hall", detailed=False)
            hall = await ada.rooms.join("hall")
            await bob.rooms.join("hall")
            await until(lambda: hall.count == 2)
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
            await until(lambda: seen.count == 0)
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


async def test_a_watched_room_has_its_id_while_it_is_open_and_another_one_when_it_is_opened_again() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            seen = await ada.rooms.watch("r")
            ids = [seen.id]
            for _ in range(2):
                room = await bob.rooms.join("r")
                await until(lambda: seen.count == 1)
                assert seen.id == room.id
                ids.append(seen.id)
                await room.leave()
                await until(lambda: seen.count == 0 and seen.id is None)
            assert len(set(ids)) == 3


async def test_a_token_that_takes_the_watch_ends_it() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room, seen = await ada.rooms.join("r"), await ada.rooms.watch("hall")
            theirs = await bob.rooms.join("r")
            await until(lambda: room.count == 2)
            ada.initialize_token(tenant.token("ada", scopes=("session:update",)))
            await until(lambda: seen.is_closed and room.count == 0)
            assert (seen.reason, room.is_member, room.members) == ("permission_lost", True, {})
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(message))
            await theirs.send("still a member")
            await until(lambda: received)
            assert names(theirs) == ["Ada", "Bob"]


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
            await until(lambda: names(theirs) == ["Bob"])
            ada._runner.machine.online(ada._runner.now())
            ada._runner.pump()
            await until(lambda: names(theirs) == ["Ada", "Bob"])
            await notes_of(ada).first("reopened")
            await bob.rooms.join("seen")
            await until(lambda: names(room) == ["Ada", "Bob"] and names(seen) == ["Bob"])
            assert room.is_member
            assert [one.name for one in (room, seen) if one.is_closed] == []


@pytest.mark.slow
async def test_a_service_that_is_killed_and_started_again_has_the_members() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with people(running, tenant, "ada", "bob") as (ada, bob):
            room, theirs = await ada.rooms.join("r"), await bob.rooms.join("r")
            await running.restart(kill=True)
            await notes_of(ada).comes("connected", 2)
            await notes_of(bob).comes("connected", 2)
            received: list[Any] = []
            room.on_message(lambda sender, message: received.append(message))
            await theirs.send("back")
            await until(lambda: received)
            await until(lambda: names(room) == names(theirs) == ["Ada", "Bob"])
            assert (room.is_member, theirs.is_member) == (True, True)


PROGRAM = """
import asyncio, sys
from greenroom import Greenroom, ParticipantInfo

async def main():
    sdk = Greenroom(sys.argv[1], resume_from=sys.argv[2])
    sdk.initialize_token(sys.argv[3])
    await sdk.session.open(ParticipantInfo(name="Ada"))
    (room,) = sdk.rooms.joined or [await sdk.rooms.join("r")]
    assert room is await sdk.rooms.join("r")
    print(room.members[sdk.session.participant.id].joined_at, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_program_that_is_killed_and_started_again_is_the_same_member(tmp_path: Path) -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        command = (sys.executable, "-c", PROGRAM, running.url, str(tmp_path / "session"), tenant.token("ada"))
        async with people(running, tenant, "bob") as (bob,):
            seen = await bob.rooms.watch("r")
            changes: list[RoomChange] = []
            seen.on_change(changes.append)
            joined_at = set()
            for _ in range(2):
                program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
                assert program.stdout is not None
                joined_at.add(int(await asyncio.wait_for(program.stdout.readline(), PATIENCE)))
                program.kill()
                await program.communicate()
            assert len(joined_at) == 1
            assert [one.info.name for change in changes for one in change.joined] == ["Ada"]
            assert [one.reason for change in changes for one in change.left] == []


async def _walk(nodes: Sequence[RunningService], tenant: Tenant, dice: random.Random, rounds: int = 25) -> None:
    """Joins, leaves, losses and kicks in any order; every roster is then that of the service, and each message came
    once, those of one sender in order."""
    rooms_of = nodes[0].service.engine.rooms
    async with AsyncExitStack() as stack:
        parts = [people(nodes[place % len(nodes)], tenant, name) for place, name in enumerate("abcdefgh")]
        sdks = [(await stack.enter_async_context(part))[0] for part in parts]
        seen = [await sdk.rooms.watch("r") for sdk in sdks]
        received: list[list[tuple[int, int]]] = []
        rooms: dict[int, Room] = {}
        sent = itertools.count(1)

        async def act(number: int) -> None:
            sdk, room = sdks[number], rooms.get(number)
            choice = dice.random()
            try:
                if room is None or room.is_closed:
                    room = rooms[number] = await sdk.rooms.join("r")
                    mine: list[tuple[int, int]] = []
                    received.append(mine)
                    room.on_message(lambda sender, message: mine.append(tuple(message)))
                elif choice < 0.3:
                    await room.leave()
                elif choice < 0.5:
                    cut(sdk)
                elif choice < 0.6:
                    kick = KickMember(app=tenant.key, room="r", participant_id=_id(sdk), seconds=0.0)
                    await dice.choice(nodes).service.rooms.moderate(kick)
                else:
                    await room.send([number, next(sent)])
            except RoomError:
                pass  # kicked meanwhile

        for _ in range(rounds):
            await asyncio.gather(*(act(number) for number in dice.sample(range(len(sdks)), 3)))

        async def agrees() -> bool:
            roster = await rooms_of.roster(RosterQuery(app=tenant.key, room="r"))
            members = [one.id for one in roster.members]
            reported = [*seen, *(room for room in rooms.values() if not room.is_closed)]
            joined = sorted(_id(sdks[number]) for number, room in rooms.items() if room.is_member)
            return members == joined and all(sorted(room.members) == members for room in reported)

        await until(agrees)
        for messages in received:
            assert len(set(messages)) == len(messages), "a message came twice"
            for number in range(len(sdks)):
                own = [count for sender, count in messages if sender == number]
                assert own == sorted(own), "messages of one sender came out of order"
        assert sum(map(len, received)) > rounds / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_rosters_become_the_services_and_messages_come_once(seed: int) -> None:
    print("seed", seed)
    async with running_service() as running:
        await _walk([running], await running.new_application(), random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_on_two_nodes_too(seed: int) -> None:
    print("seed", seed)
    async with two_nodes() as (one, other, _):
        tenant = await one.new_application()
        await one.service.control.announce_directory()
        await until(lambda: other.service.tenants.get(tenant.key) is not None)
        await _walk([one, other], tenant, random.Random(seed))


def _id(sdk: Greenroom) -> str:
    assert sdk.session.participant is not None
    return sdk.session.participant.id
