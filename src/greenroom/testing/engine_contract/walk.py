"""A random walk over an engine's calls, with oracles that hold after every step."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from greenroom.core.presence import AVAILABLE, shared_status
from greenroom.core.profile import merge_attributes
from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import KickParticipant, SessionQuery
from greenroom.errors import GreenroomError
from greenroom.model import Event, ParticipantRecord, Presence, RegistryState, SessionPolicy, participant_id_of
from greenroom.testing.engine_world import APP, NAMESPACE, Client, World, owner_of

USERS = ("alice", "bob", "carol")
STATUSES = (AVAILABLE, "busy", "away", "in surgery", "at lunch")
POLICIES = (
    SessionPolicy(),
    SessionPolicy(max_sessions=2),
    SessionPolicy(max_sessions=2, when_full="replace_oldest"),
    SessionPolicy(max_sessions=3, when_full="replace_oldest", same_device="allow"),
)


class Walk:
    """Three participants, two nodes, and whatever chance does to them. ``chance`` decides everything."""

    steps = 150

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.clients: list[Client] = []
        self.opened: set[str] = set()
        self.versions: dict[str, int] = {}
        self.attributes: dict[str, dict[str, str] | None] = {}
        """Of each participant, what was acknowledged."""
        self.statuses: dict[str, str] = {}
        """Of each session, other than `available`, the latest last."""
        self.dead = 0

    def actions(self) -> Sequence[tuple[Callable[[], Awaitable[object]], int]]:
        """What may be done, and how often."""
        return (
            (self._open, 6),
            (self._repeat, 1),
            (self._resume, 5),
            (self._stale, 2),
            (self._detach, 6),
            (self._close, 3),
            (self._update, 3),
            (self._set_attributes, 2),
            (self._set_status, 2),
            (self._pass_time, 8),
            (self._kick, 1),
            (self._lose_node, 1),
        )

    async def step(self) -> None:
        """One random call, then the oracles."""
        actions = self.actions()
        action = self.chance.choices([action for action, _ in actions], [weight for _, weight in actions])[0]
        try:
            await action()
        except GreenroomError:
            pass  # a refusal is an answer; that it changed nothing is what the oracles look at
        await self.check()
        await asyncio.sleep(0)  # an engine may never wait: the loop has its turn all the same

    async def finish(self) -> None:
        """Everybody leaves, time passes, and the books must balance."""
        # By what is stored, not by what clients know: a stray dial may have attached one behind its client's back.
        for session in (await self.world.engine.registry.sessions(SessionQuery(app=APP, limit=1000))).items:
            await self.world.engine.registry.detach(owner_of(session), 5)
        await self.world.advance(120)
        await self.check()
        ends = Counter(event.session_id for event in await self.world.events() if event.type == "session.ended")
        assert ends == Counter(self.opened), "every session that was opened has exactly one end"

    async def check(self) -> None:
        """The oracles: what is stored adds up, and versions only grow."""
        world = self.world
        page = await world.engine.registry.sessions(SessionQuery(app=APP, limit=1000))
        ids = [participant_id_of(NAMESPACE, user) for user in USERS]
        records = (await world.engine.registry.participants(ParticipantQuery(app=APP, ids=ids))).items
        for record in records:
            own = [session for session in page.items if session.participant_id == record.id]
            connected = sum(session.state is RegistryState.ATTACHED for session in own)
            assert record.sessions == len(own), record
            assert record.presence is _presence(connected, len(own)), record
            assert record.shown in (record.presence, *_unpublished(record)), record
            assert record.version >= self.versions.get(record.id, 0), record
            self.versions[record.id] = record.version
            assert record.attributes == self.attributes.get(record.id), record
            live = {session.id: session.status for session in own}
            known = [status for session_id, status in self.statuses.items() if session_id in live]
            assert {key: value for key, value in live.items() if value} == {
                key: value for key, value in self.statuses.items() if key in live
            }
            assert record.status == shared_status(known, len(own)), record
        _check_events(await world.events())

    def any_client(self) -> Client | None:
        """One of the latest."""
        return self.chance.choice(self.clients[-12:]) if self.clients else None

    async def _open(self) -> None:
        request = self.world.open_request(
            self.chance.choice(USERS),
            device_id=self.chance.choice([None, "d1", "d2"]),
            policy=self.chance.choice(POLICIES),
            name=self.chance.choice([None, "A", "B"]),
            token=self.world.token(age=0),
            attributes=self.chance.choice([None, self._changes()]),
            status=self.chance.choice([None, *STATUSES]),
        )
        client = Client(self.world, request)
        await client.open()
        self._merged(client, request.attributes)
        self._restated(client, request.status)
        self.clients.append(client)
        self.opened.add(client.id)

    async def _repeat(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.open(lease=self.world.lease)

    async def _resume(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.resume(lease=self.world.lease)

    async def _stale(self) -> None:
        """An old dial, an old owner, a wrong secret."""
        client = self.any_client()
        if client is not None:
            request = client.attach_request(attempt=self.chance.randint(0, 3), secret_hash=client.request.secret_hash)
            await self.world.engine.registry.attach(request)

    async def _detach(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.detach(self.chance.choice([5.0, 10.0, 40.0]))

    async def _close(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.close()

    async def _update(self) -> None:
        client = self.any_client()
        if client is not None:
            update_id = f"u{self.chance.randint(0, 5)}"
            await client.update(name=self.chance.choice(["A", "B", "C"]), update_id=update_id)

    def _changes(self) -> dict[str, str | None]:
        names = self.chance.sample(["role", "team", "colour"], self.chance.randint(1, 3))
        return {name: self.chance.choice([None, "x", "y", "z"]) for name in names}

    def _merged(self, client: Client, changes: dict[str, str | None] | None) -> None:
        present = self.attributes.get(client.participant_id)
        self.attributes[client.participant_id] = merge_attributes(present, changes or {})

    def _restated(self, client: Client, status: str | None) -> None:
        self.statuses.pop(client.id, None)
        if status not in (None, AVAILABLE):
            self.statuses[client.id] = status

    async def _set_attributes(self) -> None:
        client = self.any_client()
        if client is not None:
            changes = self._changes()
            await client.update(attributes=changes)
            self._merged(client, changes)

    async def _set_status(self) -> None:
        client = self.any_client()
        if client is not None:
            status = self.chance.choice(STATUSES)
            await client.update(status=status, update_id=None)
            if self.statuses.get(client.id) != status:
                self._restated(client, status)

    async def _pass_time(self) -> None:
        await self.world.advance(self.chance.choice([0.3, 1.0, 1.0, 2.5, 6.0, 20.0]))

    async def _kick(self) -> None:
        who = participant_id_of(NAMESPACE, self.chance.choice(USERS))
        await self.world.engine.registry.restrict(KickParticipant(app=APP, participant_id=who))
        await self.world.advance(2)  # tokens of this second are cut off too

    async def _lose_node(self) -> None:
        """The node is paused for longer than its lease, and comes back with a new one."""
        world = self.world
        world.kill(world.node)
        await world.advance(self.chance.choice([4.0, 13.0, 30.0]))
        self.dead += 1
        world.lease = f"lease-after-{self.dead}"
        await world.join(world.node, world.lease)


def _presence(connected: int, sessions: int) -> Presence:
    if connected:
        return Presence.ONLINE
    return Presence.UNREACHABLE if sessions else Presence.OFFLINE


def _unpublished(record: ParticipantRecord) -> tuple[Presence, ...]:
    """Unreachable for less than 2 s is shown as online still."""
    return (Presence.ONLINE,) if record.presence is Presence.UNREACHABLE else ()


def _check_events(events: list[Event]) -> None:
    """One end per session, nothing after it; and what is published of a participant alternates."""
    ids = [event.id for event in events]
    assert len(ids) == len(set(ids)), "an event id came twice"
    ended: set[str] = set()
    opened: set[str] = set()
    shown: dict[str, str] = {}
    versions: dict[str, int] = {}
    for event in events:
        if event.session_id is not None:
            assert event.session_id not in ended, f"{event.type} after the end of {event.session_id}"
            if event.type == "session.opened":
                opened.add(event.session_id)
            else:
                assert event.session_id in opened, event
            if event.type == "session.ended":
                ended.add(event.session_id)
        elif event.type.startswith("participant.") and event.type != "participant.updated":
            assert shown.get(event.participant_id, "participant.offline") != event.type, event
            shown[event.participant_id] = event.type
        if "version" in event.data:
            assert event.data["version"] >= versions.get(event.participant_id, 0), event
            versions[event.participant_id] = event.data["version"]
