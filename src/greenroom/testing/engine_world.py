"""The world an engine is judged in: the engine, its time, and nodes that are alive or dead.

To run the contract suite against an engine, give it a factory of worlds::

    class RedisWorld(World):
        async def start(self): self.engine = RedisEngine(url, …); await self.engine.start()
        async def stop(self): await self.engine.stop()
        async def step(self, seconds): move the engine's time on, without a reaper pass
        def now_ms(self): the engine's time, Unix ms

`advance` does the rest: it moves time in steps, lets the nodes that are alive renew their leases, and reaps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import Any, Self
from uuid import UUID

import msgspec

from greenroom.core.commands import Command
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    TokenFacts,
    UpdateRequest,
)
from greenroom.core.rooms.requests import CreateRoom, JoinRoom, LeaveRoom, Roster, RosterQuery, SendMessage, Settled
from greenroom.engines.base import EVENT_LIMITS, MAX_CLOCK_STEP, Change, Engine, NodeBeat, Reaped, SessionQuery
from greenroom.engines.clock import ManualClock
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.rooms import MARK_AGE, RoomMessage, RosterChange
from greenroom.model import (
    Application,
    ApplicationSettings,
    EndReason,
    Event,
    MemberRecord,
    ParticipantRecord,
    SessionRecord,
    TokenIssuer,
    anonymous_participant_id,
    make_room_id,
    make_session_id,
    participant_id_of,
    partition_of,
    partition_of_room,
)

APP = "app-1"
NAMESPACE = str(UUID(int=7))
STEP = 1.0
"""Seconds between two reaper passes."""
LONG = 120.0
"""Where more time than this is to pass, passes are 2 s apart, the most that one moves the partition clock (S8)."""


class RecordingListener:
    """A listener that keeps what it receives."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.counts: list[tuple[int, int]] = []
        self.commands: list[Command] = []
        self.losses: list[Sequence[int]] = []
        self.room_changes: list[RosterChange] = []
        self.room_messages: list[RoomMessage] = []

    def room_changed(self, change: RosterChange) -> None:
        self.room_changes.append(change)

    def room_message(self, message: RoomMessage) -> None:
        self.room_messages.append(message)

    def changed(self, change: Change) -> None:
        self.changes.append(change)

    def counted(self, partition: int, change: int) -> None:
        self.counts.append((partition, change))

    def command(self, command: Command) -> None:
        self.commands.append(command)

    def lost(self, partitions: Sequence[int]) -> None:
        self.losses.append(partitions)

    def records(self, participant_id: str) -> list[ParticipantRecord]:
        """The changes received of one participant, in order."""
        return [change.participant for change in self.changes if change.participant.id == participant_id]


class World(ABC):
    """One engine with a clock that the test moves. ``node`` with ``lease`` is alive from the start."""

    engine: Engine
    node = "node-1"
    lease = "lease-1"
    salt = 0
    """Worlds over one state need different ones: session ids are made of it."""
    restartable = False
    """Whether `restart` stops the engine and starts it on the same state."""
    event_limits = EVENT_LIMITS
    """What the engine is to keep of events. Set before the world is entered."""
    exact_application_limit = True
    """Whether the application's limit is exact (it may be overshot by what opens in 2 s, S3)."""

    def __init__(self) -> None:
        self.listener = RecordingListener()
        self.ready: list[str] = []
        self._alive: dict[str, NodeBeat] = {}
        self._numbers = count(1)

    # -- what an engine's author writes ----------------------------------------------------------------------------

    @abstractmethod
    async def start(self) -> None:
        """Makes and starts an empty engine."""

    @abstractmethod
    async def stop(self) -> None:
        """Stops it, and removes what it left."""

    @abstractmethod
    async def step(self, seconds: float) -> None:
        """The engine's time advances by ``seconds``, without a beat or a reaper pass."""

    @abstractmethod
    def now_ms(self) -> int:
        """The engine's time, Unix milliseconds."""

    async def wait_for_delivery(self) -> None:  # noqa: B027 - most engines need nothing here
        """Returns when all changes made before have been received. Engines that publish at once need nothing."""

    async def restart(self) -> None:
        """Stops the engine without any farewell, and starts another on the same state."""
        raise NotImplementedError

    # -- life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        self.engine.bus.listen(self.listener)
        self.engine.outbox.subscribe(self.ready.append)
        await self.join(self.node, self.lease)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def join(self, node: str, lease: str) -> None:
        """The node beats from now on, at every step."""
        self._alive[node] = NodeBeat(node=node, boot="boot-of-" + node, lease=lease, url=f"http://{node}")
        result = await self.engine.registry.beat(self._alive[node])
        assert result.renewed, f"{node} could not take the lease {lease}"

    def add_node(self, node: str, lease: str, **changes: Any) -> None:
        """A node that beats from the next step on. changes: of its beat."""
        self._alive[node] = NodeBeat(node=node, boot="boot-of-" + node, lease=lease, url=f"http://{node}", **changes)

    def kill(self, node: str) -> None:
        """The node beats no more."""
        del self._alive[node]

    async def advance(self, seconds: float) -> Reaped:
        """Time continues in steps of at most a second, each with beats and a reaper pass. What the passes did."""
        total = Reaped()
        left = seconds
        while left > 1e-9:
            step = min(left, STEP if seconds <= LONG else MAX_CLOCK_STEP)
            left -= step
            await self.step(step)
            for beat in self._alive.values():
                await self.engine.registry.beat(beat)
            total = add(total, await self.reap())
            await self.settle()
        return total

    async def reap(self) -> Reaped:
        """Passes until nothing more is due."""
        total = await self.engine.registry.reap()
        while total.more:
            again = await self.engine.registry.reap()
            total = add(msgspec.structs.replace(total, more=False), again)
        return total

    async def settle(self) -> Settled:
        """Passes over rooms until nothing more is due. What they did."""
        total = await self.engine.rooms.settle()
        while total.more:
            again = await self.engine.rooms.settle()
            total = msgspec.structs.replace(
                again,
                lost=total.lost + again.lost,
                settled=total.settled + again.settled,
                repaired=total.repaired + again.repaired,
                ended=total.ended + again.ended,
            )
        return total

    async def rosters_follow(self) -> None:
        """Returns when rosters say what sessions say, and that was received: marks that nobody settled are, after
        `MARK_AGE`. Nobody's lease or grace moves meanwhile."""
        await self.step(MARK_AGE + 0.1)
        await self.settle()
        await self.wait_for_delivery()

    # -- requests ----------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number never given before."""
        return next(self._numbers)

    def _random(self, number: int) -> bytes:
        """The random part of a session id."""
        return (self.salt << 64 | number).to_bytes(16, "big")

    def token(self, *, jti: str | None = None, age: int = 60, life: int = 3600) -> TokenFacts:
        """A token issued ``age`` seconds ago."""
        now = self.now_ms() // 1000
        return TokenFacts(
            jti=jti or f"jti-{self.number()}", issued_at=now - age, expires_at=now - age + life, scopes=("*",)
        )

    def open_request(self, user: str | None = "alice", **changes: Any) -> OpenRequest:
        """An open of the participant with this external id; None is an anonymous one."""
        app = changes.get("app", APP)
        number = self.number()
        open_id = changes.pop("open_id", f"open-{number}")
        if user is None:
            participant_id = anonymous_participant_id(NAMESPACE, open_id)
        else:
            participant_id = participant_id_of(NAMESPACE, user)
        base = OpenRequest(
            app=app,
            participant_id=participant_id,
            external_id=user,
            open_id=open_id,
            secret_hash=secret(f"first-{open_id}"),
            session_id=make_session_id(partition_of(app, participant_id), self._random(number)),
            node=self.node,
            lease=self.lease,
            token=changes.pop("token", None) or self.token(),
            anonymous=user is None,
        )
        return msgspec.structs.replace(base, **changes)

    async def open(self, user: str | None = "alice", **changes: Any) -> Attached:
        """Opens a session of the participant with this external id."""
        return await self.engine.registry.open(self.open_request(user, **changes))

    def beat(self, **changes: Any) -> NodeBeat:
        """The node's next beat."""
        return msgspec.structs.replace(self._alive[self.node], **changes)

    def application(self, **changes: Any) -> Application:
        """An application called APP, as it is before it is saved."""
        return msgspec.structs.replace(Application(key=APP, name="App", namespace=NAMESPACE), **changes)

    def issuer(self, **changes: Any) -> TokenIssuer:
        """An issuer of an application."""
        plain = TokenIssuer(id="iss_1", issuer="https://id.example", audience="a", algorithms=("ES256",))
        return msgspec.structs.replace(plain, **changes)

    def application_settings(self, **changes: Any) -> ApplicationSettings:
        """An application's settings."""
        return ApplicationSettings(**changes)

    def changed(self, application: Application, **changes: Any) -> Application:
        """The application with some changes."""
        return msgspec.structs.replace(application, **changes)

    def changed_request(self, **changes: Any) -> OpenRequest:
        """An open of the participant with this id."""
        request = msgspec.structs.replace(self.open_request(), **changes)
        partition = partition_of(request.app, request.participant_id)
        return msgspec.structs.replace(request, session_id=make_session_id(partition, self._random(self.number())))

    async def client(self, user: str | None = "alice", **changes: Any) -> Client:
        """A client whose session is open."""
        request = self.open_request(user, **changes)
        client = Client(self, request)
        await client.open()
        return client

    def room_id(self, room: str, app: str = APP) -> str:
        """An id for a room that is opened."""
        return make_room_id(partition_of_room(app, room), self._random(self.number()))

    def room_request(self, room: str, **changes: Any) -> CreateRoom:
        """A backend's request to open a room."""
        request = CreateRoom(app=APP, room=room, room_id=self.room_id(room))
        return msgspec.structs.replace(request, **changes)

    # -- looking -----------------------------------------------------------------------------------------------------

    async def record(self, user: str = "alice", app: str = APP) -> ParticipantRecord:
        """The participant with this external id as stored."""
        return await self.record_of(participant_id_of(NAMESPACE, user), app)

    async def record_of(self, participant_id: str, app: str = APP) -> ParticipantRecord:
        """The participant as stored."""
        page = await self.engine.registry.participants(ParticipantQuery(app=app, ids=[participant_id]))
        return page.items[0]

    async def session(self, session_id: str, app: str | None = None) -> SessionRecord | None:
        """One session, with its timeline; None where it is unknown."""
        page = await self.engine.registry.sessions(SessionQuery(session_id=session_id, app=app, with_timeline=True))
        return page.items[0] if page.items else None

    async def roster(self, room: str, **changes: Any) -> Roster:
        """A page of the room's roster."""
        return await self.engine.rooms.roster(msgspec.structs.replace(RosterQuery(app=APP, room=room), **changes))

    async def members(self, room: str) -> dict[str, MemberRecord]:
        """All members of the room, by participant."""
        members: dict[str, MemberRecord] = {}
        page = await self.roster(room)
        while True:
            members |= {member.id: member for member in page.members}
            if page.cursor is None:
                return members
            page = await self.roster(room, cursor=page.cursor)

    async def room_events(self, room: str, app: str = APP) -> list[Event]:
        """Events about the room, in order."""
        return [event for event in await self.events(app) if event.data.get("room") == room]

    async def room_types(self, room: str) -> list[str]:
        """Their types, without the word room."""
        return [event.type.removeprefix("room.") for event in await self.room_events(room)]

    async def events(self, app: str = APP) -> list[Event]:
        """All events that are kept, in order."""
        events: list[Event] = []
        cursor = None
        while True:
            page = await self.engine.outbox.read(app, cursor, 500)
            events += page.items
            if not page.items:
                return events
            cursor = page.cursor

    async def types(self, app: str = APP) -> list[str]:
        """The types of all events that are kept, in order."""
        return [event.type for event in await self.events(app)]


class Client:
    """What an SDK keeps of its session: the request it opened with, the secret, the number of its dials."""

    def __init__(self, world: World, request: OpenRequest) -> None:
        self.world = world
        self.request = request
        self.secret = request.secret_hash
        self.attempt = 0
        self.last: Attached | None = None

    @property
    def attached(self) -> Attached:
        """What the last open or resume answered."""
        assert self.last is not None, "the client has not opened yet"
        return self.last

    @property
    def session(self) -> SessionRecord:
        return self.attached.session

    @property
    def id(self) -> str:
        return self.session.id

    @property
    def participant_id(self) -> str:
        return self.request.participant_id

    @property
    def owner(self) -> Owner:
        """The owner as of the last answer."""
        return owner_of(self.session)

    async def open(self, **changes: Any) -> Attached:
        """Opens; a second time, repeats the open whose answer was lost."""
        request = msgspec.structs.replace(self.request, **changes)
        self.last = await self.world.engine.registry.open(request)
        return self.last

    def attach_request(self, **changes: Any) -> AttachRequest:
        """The next dial: a new attempt, the secret, and the one to follow it."""
        self.attempt += 1
        base = AttachRequest(
            session_id=self.id,
            node=self.world.node,
            lease=self.world.lease,
            secret_hash=self.secret,
            next_secret_hash=secret(f"{self.id}-{self.attempt}"),
            attempt=self.attempt,
        )
        return msgspec.structs.replace(base, **changes)

    async def resume(self, **changes: Any) -> Attached:
        """Resumes, and takes the next secret once the answer is there."""
        request = self.attach_request(**changes)
        self.last = await self.world.engine.registry.attach(request)
        self.secret = request.next_secret_hash
        return self.last

    def take_back_request(self, previous: Owner, node: str, lease: str) -> AttachRequest:
        """A node acquires its own session again."""
        return AttachRequest(session_id=self.id, node=node, lease=lease, previous=previous)

    def end_request(self, **changes: Any) -> EndRequest:
        """A close by the owner."""
        base = EndRequest(session_id=self.id, reason=EndReason.CLOSED, owner=self.owner)
        return msgspec.structs.replace(base, **changes)

    async def detach(self, grace: float = 40.0) -> bool:
        """The connection is gone."""
        return await self.world.engine.registry.detach(self.owner, grace)

    async def close(self, reason: EndReason = EndReason.CLOSED) -> SessionRecord | None:
        """The session is closed by its owner."""
        return await self.world.engine.registry.close(EndRequest(session_id=self.id, reason=reason, owner=self.owner))

    async def update(self, **changes: Any) -> ParticipantRecord:
        """Changes the profile on behalf of the session."""
        base = UpdateRequest(
            app=self.request.app,
            participant_id=self.participant_id,
            owner=self.owner,
            update_id=f"update-{self.world.number()}",
        )
        return await self.world.engine.registry.update_participant(msgspec.structs.replace(base, **changes))

    def join_request(self, room: str, **changes: Any) -> JoinRoom:
        """A join of the session."""
        request = JoinRoom(
            app=self.request.app,
            participant_id=self.participant_id,
            room=room,
            room_id=self.world.room_id(room, self.request.app),
            owner=self.owner,
        )
        return msgspec.structs.replace(request, **changes)

    async def join(self, room: str, **changes: Any) -> Roster:
        """The session joins the room."""
        return await self.world.engine.rooms.join(self.join_request(room, **changes))

    def leave_request(self, room: str, **changes: Any) -> LeaveRoom:
        """A leave of the session."""
        request = LeaveRoom(app=self.request.app, participant_id=self.participant_id, room=room, owner=self.owner)
        return msgspec.structs.replace(request, **changes)

    async def leave(self, room: str, **changes: Any) -> None:
        """The session leaves the room."""
        await self.world.engine.rooms.leave(self.leave_request(room, **changes))

    async def send(self, room: str, message: bytes = b'"hello"', **changes: Any) -> int:
        """The session sends a message to the room."""
        request = SendMessage(
            app=self.request.app,
            room=room,
            message_id=f"message-{self.world.number()}",
            message=message,
            sender=self.participant_id,
            session_id=self.id,
        )
        return await self.world.engine.rooms.send(msgspec.structs.replace(request, **changes))

    async def rooms(self) -> tuple[str, ...]:
        """Rooms in which the session is, as stored, in alphabetical order."""
        stored = await self.stored()
        return () if stored is None else tuple(sorted(stored.rooms))

    async def record(self) -> ParticipantRecord:
        """The participant as stored."""
        return await self.world.record_of(self.participant_id, self.request.app)

    async def stored(self) -> SessionRecord | None:
        """The session as stored, with its timeline."""
        return await self.world.session(self.id)


class EmbeddedWorld(World):
    """The embedded engine in memory, or on the file ``path``."""

    def __init__(self, path: str = ":memory:", *, threaded: bool = False, vfs: str | None = None) -> None:
        super().__init__()
        self.clock = ManualClock()
        self._path = path
        self._threaded = threaded
        self._vfs = vfs
        self.restartable = path != ":memory:"

    async def start(self) -> None:
        self.engine = EmbeddedEngine(
            self._path,
            clock=self.clock,
            threaded=self._threaded,
            commit_window=0.0,
            lock_timeout=0.0,
            vfs=self._vfs,
            event_limits=self.event_limits,
        )
        await self.engine.start()

    async def stop(self) -> None:
        await self.engine.stop()

    async def step(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def restart(self) -> None:
        await self.engine.stop()
        await self.start()
        self.listener = RecordingListener()
        self.engine.bus.listen(self.listener)
        self.engine.outbox.subscribe(self.ready.append)
        self.lease = f"lease-{self.number()}"
        self._alive.clear()
        await self.join(self.node, self.lease)


def add(one: Reaped, other: Reaped) -> Reaped:
    """What two passes did together."""
    return Reaped(
        ended=one.ended + other.ended,
        detached=one.detached + other.detached,
        published=one.published + other.published,
        forgotten=one.forgotten + other.forgotten,
        lag=max(one.lag, other.lag),
        more=other.more,
        failing=other.failing,
    )


def secret(text: str) -> bytes:
    """The hash of a resume secret, as a node would hand it in."""
    return sha256(text.encode()).digest()


def owner_of(session: SessionRecord) -> Owner:
    """The owner of a session as it is now."""
    return Owner(session.id, session.generation, session.lease)
