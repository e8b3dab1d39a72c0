"""Rooms on Redis: marks, crashes in every gap, and what only this engine has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import EndRequest
from greenroom.core.rooms.requests import CreateRoom, EndRoom, KickMember, LeaveRoom, RoomLimits, RosterQuery
from greenroom.engines.base import EraseParticipant, RestoreRequest
from greenroom.engines.redis import RedisEngine, bus
from greenroom.engines.redis.store import FunctionCall
from greenroom.engines.rooms import ENDED_OF_PASS
from greenroom.errors import GreenroomError
from greenroom.model import EndReason, partition_of, partition_of_room
from greenroom.testing.engine_contract import refused
from greenroom.testing.engine_world import APP, Client
from tests.support.redis_server import single
from tests.support.redis_world import RedisWorld
from tests.support.rooms_world import RoomStore, RoomsWorld

ROOM = "standup"

Act = Callable[[RedisEngine, Client, Client], Awaitable[object]]


def leave(client: Client, room: str) -> LeaveRoom:
    return LeaveRoom(app=APP, participant_id=client.participant_id, room=room, owner=client.owner)


async def joins(engine: RedisEngine, a: Client, b: Client) -> object:
    return await engine.rooms.join(b.join_request(ROOM))


async def leaves(engine: RedisEngine, a: Client, b: Client) -> None:
    await engine.rooms.leave(leave(a, ROOM))


async def closes(engine: RedisEngine, a: Client, b: Client) -> None:
    await engine.registry.close(EndRequest(session_id=a.id, reason=EndReason.CLOSED, owner=a.owner))
    await engine._settling.idle()


async def is_refused(engine: RedisEngine, a: Client, b: Client) -> object:
    return await engine.rooms.join(b.join_request(ROOM, limits=RoomLimits(members=1)))


async def kicks(engine: RedisEngine, a: Client, b: Client) -> object:
    return await engine.rooms.moderate(KickMember(app=APP, room=ROOM, participant_id=a.participant_id, seconds=1))


async def ends(engine: RedisEngine, a: Client, b: Client) -> object:
    return await engine.rooms.moderate(EndRoom(app=APP, room=ROOM))


@pytest.mark.parametrize(
    ("act", "members"),
    [(joins, 2), (leaves, 0), (closes, 0), (is_refused, 1), (kicks, 0), (ends, 0)],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_r2_a_node_that_dies_in_any_gap_delays_the_roster_by_seconds(act: Act, members: int) -> None:
    """The node does so many calls, and no more; others settle what it left."""
    calls = 0
    while True:
        async with RoomsWorld() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            dying, store = await w.another()
            store.allowed = calls
            is_whole = True
            try:
                await act(dying, a, b)
            except GreenroomError:
                is_whole = store.allowed > 0
            is_whole = is_whole and store.allowed > 0
            store.reachable = False
            await dying.stop()
            await w.follow()
            assert await w.wrong() == [], f"dead after {calls} calls"
            if is_whole:
                assert len(await w.rosters()) == members
                break
            calls += 1
    assert calls >= 3, "there were gaps"


@pytest.mark.slow
async def test_r12_no_call_ends_more_memberships_than_hold_redis_for_some_milliseconds() -> None:
    async with RoomsWorld() as w:
        clients = [await w.client(f"user {number}") for number in range(ENDED_OF_PASS // 2 + 10)]
        for client in clients:
            await client.join(ROOM)
        done = await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))
        assert len(done.lost) == ENDED_OF_PASS // 2
        assert (await w.roster(ROOM)).count == 10
        await w.step(1.1)
        rest = await w.settle()
        assert (len(rest.lost), rest.ended) == (10, 1)
        assert await w.wrong() == []


# -- erasures ----------------------------------------------------------------------------------------------------------


def traces(w: RoomsWorld, client: Client) -> list[str]:
    """Where rooms name the participant, but for numbers that are kept for 10 min (R2) and for events."""
    pid, found = client.participant_id.encode(), []
    for key, value in w.server.commands.data.items():
        what = key.split(b"}:")[-1].split(b":")[0]
        if what in (b"R", b"M", b"I", b"V", b"G", b"re", b"rej", b"rm", b"rn", b"rp", b"rd"):
            stored = value.scores if hasattr(value, "scores") else value
            if pid in repr(stored).encode():
                found.append(key.decode())
    return found


async def test_who_is_erased_is_forgotten_in_more_rooms_than_one_step_looks_at() -> None:
    async with RoomsWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        names = [f"room {number}" for number in range(250)]
        for name in names:
            await w.engine.rooms.create(
                CreateRoom(app=APP, room=name, room_id=name, opened_by=a.participant_id, ttl=900)
            )
        for name in names[::10]:
            await b.join(name)
            await a.join(name)
            await a.leave(name)
            await b.leave(name)
        for name in names[5::10]:
            await w.engine.rooms.moderate(EndRoom(app=APP, room=name))
        await w.follow()
        assert len(traces(w, a)) > 225
        rooms = w.engine.rooms
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=b.participant_id))
        steps = 0
        while (await rooms.settle()).more:
            steps += 1
        assert steps >= 2
        assert traces(w, a) == traces(w, b) == []
        assert await w.wrong() == []


async def test_a_room_that_is_opened_again_while_rooms_forget_who_was_erased_does_too() -> None:
    """The pass has been where open rooms are, and this one was none."""
    async with RoomsWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        await a.join(ROOM)
        await a.leave(ROOM)
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        await w.engine.rooms.settle()
        await b.join(ROOM)
        while (await w.engine.rooms.settle()).more:
            pass
        assert traces(w, a) == []


async def test_a_membership_that_ends_long_after_the_erase_is_not_remembered() -> None:
    """The room's partition was away."""
    async with RoomsWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        room = room_elsewhere(a)
        await b.join(room)
        await a.join(room)
        held = await w.roster(room)
        w.server.fate = lambda call: "away" if call.function == "room_take" else None
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        while (await w.engine.rooms.settle()).more:
            pass
        assert len((await w.roster(room)).members) == 2
        w.server.fate = lambda call: None
        await w.follow(70)
        assert traces(w, a) == []
        found = await w.roster(room, since=held.version)
        assert (found.since, [member.id for member in found.members]) == (None, [b.participant_id])
        left = [event.data["reason"] for event in await w.room_events(room) if event.type == "room.left"]
        assert left == ["kicked"]


# -- replicas (S16) ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "steps"),
    [
        (joins, ("room_join", "room_take", "room_done")),
        (leaves, ("room_leave", "room_take", "room_done")),
        (is_refused, ("room_join", "room_take", "room_drop")),
        (kicks, ("room_kick", "room_drop", "room_take", "room_done")),
        (ends, ("room_end", "room_drop", "room_take", "room_done")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_s16_no_step_begins_before_replicas_have_the_one_before(act: Act, steps: tuple[str, ...]) -> None:
    """A step that is carried out, and not by enough replicas, is the last; what it began others settle."""
    for place, step in enumerate(steps):
        async with RoomsWorld() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            begun: list[FunctionCall] = []

            def fate(call: FunctionCall, step: str = step, begun: list[FunctionCall] = begun) -> str | None:
                begun.append(call)
                return "unanswered" if call.function == step else None

            w.server.fate = fate
            with suppress(GreenroomError):
                await act(engine_of(w), a, b)
            w.server.fate = lambda call: None
            seen = list(dict.fromkeys(call.function for call in begun if call.function in steps))
            assert seen == list(steps[: place + 1])
            assert all(call.durable for call in begun if call.function in steps)
            await w.follow()
            assert await w.wrong() == []


def engine_of(world: RoomsWorld) -> RedisEngine:
    assert isinstance(world.engine, RedisEngine)
    return world.engine


@pytest.mark.slow
async def test_s16_a_join_and_a_leave_are_answered_when_replicas_have_them() -> None:
    """A master without replicas."""
    with single("--appendonly", "yes", "--appendfsync", "always") as server:
        async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            careful = RedisEngine(f"{server.url}?wait_replicas=1", clock_us=lambda: w.now_ms() * 1000)
            await careful.start()
            try:
                for act in (joins, leaves):
                    with refused(ErrorCode.OUTCOME_UNKNOWN):
                        await act(careful, a, b)
            finally:
                await careful.stop()
            members = (await w.engine.rooms.roster(RosterQuery(app=APP, room=ROOM))).members
            assert [member.id for member in members] == [a.participant_id], "only the first step was done"
            await w.advance(2)
            members = (await w.engine.rooms.roster(RosterQuery(app=APP, room=ROOM))).members
            assert [member.id for member in members] == [b.participant_id]


# -- what was lost (R10, S15) ------------------------------------------------------------------------------------------


def partitions(client: Client, room: str) -> tuple[int, int]:
    """Of the participant, and of a room that lies in the other one."""
    mine, its = partition_of(APP, client.participant_id), partition_of_room(APP, room)
    return mine, its


def room_elsewhere(client: Client) -> str:
    """A room in another partition than the participant's."""
    return next(f"room {n}" for n in range(99) if len(set(partitions(client, f"room {n}"))) == 2)


async def test_r10_a_roster_that_was_lost_is_made_again_of_the_rows() -> None:
    async with RoomsWorld() as w:
        a = await w.client()
        room = room_elsewhere(a)
        first = await a.join(room)
        w.lose(partitions(a, room)[1])
        nothing = RestoreRequest(node=w.node, lease=w.lease, sessions=(), finish=True)
        await w.engine.registry.restore(nothing)
        assert await w.rosters() == {}
        await w.follow(25)
        assert await w.wrong() == []
        assert list(await w.rosters()) == [(room, a.participant_id)]
        assert (await w.roster(room)).version > first.version


async def test_s15_a_session_that_is_written_back_brings_its_rooms() -> None:
    async with RoomsWorld() as w:
        a = await w.client()
        room = room_elsewhere(a)
        await a.join(room)
        held, record = await a.stored(), await a.record()
        assert held is not None
        w.lose(partitions(a, room)[0])
        back = RestoreRequest(node=w.node, lease=w.lease, sessions=((held, record, a.secret, a.attempt),), finish=True)
        await w.engine.registry.restore(back)
        await w.follow()
        assert await a.rooms() == (room,)
        assert list(await w.rosters()) == [(room, a.participant_id)]
        await a.leave(room)
        assert await w.rosters() == {}
        assert (await w.room_types(room)).count("joined") == 1


async def test_s15_a_session_that_is_written_back_has_the_rooms_that_its_node_says() -> None:
    """The row is one of before: the node holds the session at a higher generation, in another room."""
    async with RoomsWorld() as w:
        a = await w.client()
        await a.join("old")
        held, record = await a.stored(), await a.record()
        assert held is not None
        for rooms, members in (((), []), (("new",), [("new", a.participant_id)])):
            held = msgspec.structs.replace(held, generation=held.generation + 1, rooms=rooms)
            sessions = ((held, record, a.secret, a.attempt),)
            await w.engine.registry.restore(RestoreRequest(node=w.node, lease=w.lease, sessions=sessions))
            await w.follow()
            assert await a.rooms() == rooms
            assert list(await w.rosters()) == members
            assert await w.wrong() == []


async def test_r8_who_was_kicked_stays_out_though_the_partition_was_lost() -> None:
    async with RoomsWorld() as w:
        a = await w.client()
        room = room_elsewhere(a)
        await a.join(room)
        await w.engine.rooms.moderate(KickMember(app=APP, room=room, participant_id=a.participant_id, seconds=600))
        await w.follow(2)
        w.lose(partitions(a, room)[1])
        await w.engine.registry.restore(RestoreRequest(node=w.node, lease=w.lease, sessions=(), finish=True))
        with refused(ErrorCode.KEPT_OUT):
            await a.join(room)
        await w.advance(610)
        await a.join(room)
        assert await w.wrong_rows() == []


async def test_s13_a_change_of_a_room_that_was_not_received_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "SILENT_AFTER", 0.01)
    async with RoomsWorld() as w:
        a = await w.client()
        await w.engine.bus.watch_rooms(APP, [ROOM])
        await a.join(ROOM)
        await w.wait_for_delivery()
        assert len(w.listener.room_changes) == 1
        w.server.is_lost = lambda channel: True
        await a.leave(ROOM)
        w.server.is_lost = lambda channel: False
        await w.advance(1)
        assert w.listener.losses == []
        await asyncio.sleep(0.05)
        assert w.listener.losses == [[partition_of_room(APP, ROOM)]]


async def test_r10_a_member_whose_row_was_lost_goes_out() -> None:
    async with RoomsWorld() as w:
        a = await w.client()
        room = room_elsewhere(a)
        await a.join(room)
        w.lose(partitions(a, room)[0])
        await w.engine.registry.restore(RestoreRequest(node=w.node, lease=w.lease, sessions=(), finish=True))
        await w.follow(15)
        assert len(await w.rosters()) == 1, "its node may still write it back (S15)"
        await w.follow(25)
        assert await w.rosters() == {}
        left = [event for event in await w.room_events(room) if event.type == "room.left"]
        assert [event.data["reason"] for event in left] == ["lost"]


async def test_r10_everything_is_compared_once_in_ten_minutes() -> None:
    """Nothing says that this roster was lost: its master went on with what it had known before."""
    async with RoomsWorld() as w:
        a = await w.client()
        room = room_elsewhere(a)
        before = w.server.snapshot()
        await a.join(room)
        await w.follow(5)
        its = partitions(a, room)[1]
        clock = b"greenroom:{p%d}" % its
        now = w.server.snapshot()[clock]
        w.lose(its, before | {clock: now})
        await w.advance(620)
        assert await w.wrong_rows() == []
        assert len(await w.rosters()) == 1


WHAT = (
    ("open", "join", "leave", "close", "detach", "resume", "rename", "kick", "end", "erase", "settle", "clock", "dies"),
    (5, 9, 6, 3, 2, 2, 3, 1, 1, 1, 3, 1, 1),
)
"""What happens, and how often."""


class Walk:
    """Random lives of sessions in rooms, on nodes whose calls get between each other, fail and go unanswered."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.offset = 0
        self.world = RoomsWorld(self.dice, clock_offset=lambda: self.offset)
        self.nodes: list[tuple[RedisEngine, RoomStore]] = []
        self.clients: list[Client] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_lossy = False

    async def run(self) -> list[str]:
        async with self.world as w:
            for _ in range(3):
                self.nodes.append(await w.another())
            for _ in range(40):
                self.begin(self.act())
                if self.is_lossy and self.dice.random() < 0.1:
                    await self.lose_some()
                if self.dice.random() < 0.3:
                    await w.advance(self.dice.choice((0.1, 0.5, 1.0, 3.0)))
                elif self.dice.random() < 0.5:
                    await asyncio.sleep(0)
            if self.tasks:
                await asyncio.wait(self.tasks)
            for _, store in self.nodes:
                store.trouble = 0.0
            await w.follow()
            await w.follow()
            wrong = await (w.wrong_rows() if self.is_lossy else w.wrong())
            for engine, _ in self.nodes:
                await engine.stop()
            return wrong

    async def lose_some(self) -> None:
        before = self.world.server.snapshot()
        for _ in range(3):
            self.begin(self.act())
            await asyncio.sleep(0)
        self.world.lose(self.dice.randrange(2), before)
        assert isinstance(self.world.engine, RedisEngine)
        self.world.engine._settling.doubt()

    def begin(self, work: Awaitable[object]) -> None:
        async def life() -> None:
            try:
                await work
            except GreenroomError:
                pass

        task = asyncio.get_running_loop().create_task(life())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def act(self) -> None:
        engine, store = self.dice.choice([node for node in self.nodes if node[1].reachable])
        store.trouble = self.dice.choice((0.0, 0.0, 0.1))
        what = self.dice.choices(*WHAT)[0]
        if what == "open" or not self.clients:
            client = Client(self.world, self.world.open_request(self.dice.choice(("alice", "bob", None))))
            client.last = await engine.registry.open(client.request)
            self.clients.append(client)
            return
        client, room = self.dice.choice(self.clients), self.dice.choice(("one", "two"))
        if what == "join":
            limits = RoomLimits(members=self.dice.choice((1, 5)))
            await engine.rooms.join(client.join_request(room, limits=limits))
        elif what == "leave":
            await engine.rooms.leave(leave(client, room))
        elif what == "close":
            self.clients.remove(client)
            await engine.registry.close(client.end_request())
        elif what == "detach":
            await engine.registry.detach(client.owner, 40)
        elif what == "resume":
            await client.resume()
        elif what == "rename":
            await client.update(name=f"name {self.world.number()}")
        elif what == "kick":
            seconds = self.dice.choice((0.0, 2.0))
            kick = KickMember(app=APP, room=room, participant_id=client.participant_id, seconds=seconds)
            await engine.rooms.moderate(kick)
        elif what == "end":
            await engine.rooms.moderate(EndRoom(app=APP, room=room))
        elif what == "erase":
            await engine.registry.restrict(EraseParticipant(app=APP, participant_id=client.participant_id))
        elif what == "clock":
            self.offset += self.dice.choice((-300_000, 5, 200_000))
        elif what == "dies" and sum(node[1].reachable for node in self.nodes) > 1:
            store.reachable = False
            self.nodes[self.nodes.index((engine, store))] = await self.world.another()
            await engine.stop()
        else:
            await engine.rooms.settle()


@pytest.mark.parametrize("seed", range(20))
async def test_r10_rosters_follow_rows_after_one_partition_lost_its_last_writes(seed: int) -> None:
    """Without `wait_replicas`: a replica that had not received the last writes of one partition is its master now."""
    walk = Walk(seed)
    walk.is_lossy = True
    assert await walk.run() == [], f"seed {seed}"


@pytest.mark.parametrize("seed", range(40))
async def test_r2_rosters_follow_rows_whatever_happens(seed: int) -> None:
    assert await Walk(seed).run() == [], f"seed {seed}"
