"""Many SDKs in this process that open, update, move and close, judged by the simulated world's oracles."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar, cast
from urllib.parse import quote

import aiohttp
import msgspec

from greenroom.core.client.effects import ClientSettings
from greenroom.core.requests import ParticipantQuery
from greenroom.core.states import SessionState
from greenroom.engines.base import ParticipantPage, SessionPage, SessionQuery
from greenroom.engines.redis import RedisEngine
from greenroom.errors import GreenroomError, InvitationAnsweredError, ServiceUnavailableError
from greenroom.messages import Device as DeviceInfo
from greenroom.model import (
    Application,
    Event,
    Invitation,
    InvitationAnswer,
    Participant,
    ParticipantInfo,
    ParticipantRecord,
    SessionRecord,
    participant_id_of,
)
from greenroom.sdk.client import Greenroom
from greenroom.sdk.connections import ClientWebSocket, Transport
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.environment import Environment
from greenroom.sdk.room import Room
from greenroom.sdk.transport import AiohttpTransport
from greenroom.sdk.watch import Watch
from greenroom.server.tenants.applications import Tenants
from greenroom.tokens import API_SCOPES, SESSION_SCOPES, mint_api_token, mint_client_token
from tests.cluster.forms import BACK
from tests.cluster.nodes import ISSUER, MASTER_KEY, Cluster, NodeProcess
from tests.support.patience import PATIENCE, until
from tests.support.sim import oracles

T = TypeVar("T")

SETTINGS = ClientSettings(attempt_timeout=4.0, ping_interval=3.0, pong_timeout=2.0, stable_after=3.0)
NEXT_NODE = 1.0
"""Seconds after which the proxy, which looks at its nodes' health, takes another one."""
OPENING = 50
"""SDKs that open at the same time."""
ROOMS = 8
"""That members of a crowd join and leave."""
LONG = 3600.0
"""Seconds for which someone is kept out of a room for good."""


class Balanced:
    """The way of an SDK: to any node that takes the connection, as through a proxy in front of them that asks the next
    where one does not answer or says 503 (`deploy/proxies`)."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self._transports = {node.name: AiohttpTransport(node.url) for node in cluster.nodes}
        self._cluster = cluster
        self._dice = dice
        self.link: Any = None
        self.is_dead = False
        self.only: str | None = None
        """The one node that it goes to from now on; None: any."""

    async def connect(self) -> ClientWebSocket:
        last: GreenroomError = ServiceUnavailableError("There is no node.")
        if self.is_dead:
            raise last
        names = list(self._transports) if self.only is None else [self.only]
        self._dice.shuffle(names)
        for name in names:
            try:
                async with asyncio.timeout(NEXT_NODE):
                    self.link = await self._transports[name].connect()
                return cast(ClientWebSocket, self.link)
            except TimeoutError:
                continue
            except ServiceUnavailableError as error:
                last = error
        raise last

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        raise NotImplementedError

    def cut(self) -> None:
        """The connection is gone."""
        if self.link is not None:
            self.link.abort()


class Member(SessionDelegate):
    """One device with its SDK. Has what the oracles look at."""

    def __init__(self, crowd: Crowd, name: str, external_id: str, device: str | None) -> None:
        self.crowd = crowd
        self.name = name
        self.external_id = external_id
        self.is_alive = True
        self.is_paused = False
        self.ends: list[str] = []
        self.reopened: list[str] = []
        self.states: list[str] = []
        self.issuer = None
        """A crowd's tokens are the service's."""
        self.seen: dict[str, list[Participant]] = {}
        self.watches: list[Watch] = []
        self.is_marking = False
        """An update of its attribute is under way: there is one at a time, so that the number only rises."""
        self.rooms: dict[str, Room] = {}
        self.room_versions: dict[str, list[int]] = {}
        self.invited: list[Invitation] = []
        """All that it was ever sent."""
        self.answered: list[InvitationAnswer] = []
        """Of its participant's own invitations."""
        self.open_statuses: set[str] = set()
        """Set since the last one that was acknowledged: each may be in force or not."""
        self.way = Balanced(crowd.cluster, random.Random(crowd.dice.getrandbits(64)))
        self.sdk = Greenroom(
            "http://greenroom.test", settings=SETTINGS, environment=Environment(transport=self._transport)
        )
        self.sdk.session.delegate = self
        if device is not None:
            self.sdk.session.device = DeviceInfo(device, None)
        self.sdk.initialize_token(crowd.mint(external_id))

    def _transport(self, _base: str, _tls: ssl.SSLContext | None) -> Transport:
        return self.way

    # -- SessionDelegate ----------------------------------------------------------------------------------------------

    def session_updated(self, state: SessionState) -> None:
        self.states.append(state.value)
        if state is SessionState.DISCONNECTED:
            self.watches.clear()

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self.ends.append(reason)

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self.reopened.append(reason)

    def participants_changed(self, participants: list[Participant]) -> None:
        for one in participants:
            self.seen.setdefault(one.id, []).append(one)

    def room_invited(self, invitation: Invitation) -> None:
        self.invited.append(invitation)

    def room_invitation_answered(self, answer: InvitationAnswer) -> None:
        self.answered.append(answer)

    # -- what it does -------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self.sdk.session.state is SessionState.CONNECTED

    async def open(self, timeout: float = PATIENCE) -> None:
        await self.sdk.session.open(ParticipantInfo(name=self.external_id.title()), timeout=timeout)
        session_id = self.sdk._runner.machine.session_id
        if session_id is not None:
            self.crowd.opened.add(session_id)

    async def watch(self, external_ids: Sequence[str]) -> None:
        self.watches.append(await self.sdk.participants.watch(external_ids=external_ids))

    async def rename(self, name: str) -> None:
        """An acknowledged change is kept for the oracles; one that is not may have happened or not."""
        try:
            done = await self.sdk.session.update_participant_info(name=name)
        except GreenroomError:
            return
        known = self.crowd.acknowledged.get(self.external_id, (0, ""))
        if done.revision >= known[0]:
            self.crowd.acknowledged[self.external_id] = (done.revision, done.info.name or "")

    async def mark(self, number: int) -> None:
        """Write a number into an attribute of this member's own; an acknowledged one is kept for the oracles."""
        if self.is_marking:
            return
        self.is_marking = True
        try:
            await self.sdk.session.update_participant_info(attributes={self.name: str(number)})
        except GreenroomError:
            return
        finally:
            self.is_marking = False
        self.crowd.marks[self.external_id, self.name] = number

    async def set_status(self, status: str) -> None:
        """While nobody has answered, this status and the one before may be in force."""
        self.open_statuses.add(status)
        with suppress(GreenroomError):
            await self.sdk.session.set_status(status)
            self.open_statuses.clear()

    async def join_room(self, name: str) -> None:
        """Be in a room; the versions of its roster are kept for the oracles."""
        self._entered(await self.sdk.rooms.join(name))

    def _entered(self, room: Room) -> None:
        if self.rooms.get(room.name) is not room:
            self.rooms[room.name] = room
            versions = self.room_versions.setdefault(room.name, [])
            room.on_change(lambda change: versions.append(change.version))

    async def leave_room(self, name: str) -> None:
        room = self.rooms.get(name)
        if room is not None:
            await room.leave()

    async def answer(self, invitation: Invitation, *, accept: bool) -> None:
        """Answer it, answered or not; what the service says is kept for the oracles."""
        answers = self.crowd.answers.setdefault(invitation.id, set())
        try:
            if accept:
                self._entered(await self.sdk.rooms.accept(invitation))
            else:
                await self.sdk.rooms.decline(invitation)
        except InvitationAnsweredError as error:
            answers.add(error.accepted)
            raise
        # One that is past its time lets join where everybody may, and the service has not kept that answer.
        if not accept or time.time() < invitation.expires_at / 1000:
            answers.add(accept)

    def die(self) -> None:
        """Its process is killed: the connection is reset, nothing is said, and nothing comes any more."""
        self.is_alive = False
        self.way.is_dead = True
        self.way.cut()

    async def end(self) -> None:
        with suppress(GreenroomError):
            await self.sdk.session.close()
        await self.sdk.__aexit__(None, None, None)


class _Registry:
    """The engine's registry, as the oracles ask it: lists of all pages, each record read once."""

    def __init__(self, engine: RedisEngine, app: str) -> None:
        self._registry = engine.registry
        self._app = app
        self._records: dict[str, ParticipantRecord] = {}

    async def load(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), 200):
            query = ParticipantQuery(app=self._app, ids=ids[start : start + 200], limit=200)
            self._records |= {one.id: one for one in (await self._registry.participants(query)).items}

    async def sessions(self, query: SessionQuery) -> SessionPage:
        found: list[Any] = []
        cursor = None
        while True:
            page = await self._registry.sessions(msgspec.structs.replace(query, cursor=cursor))
            found += page.items
            cursor = page.cursor
            if cursor is None:
                return SessionPage(tuple(found), None)

    async def participants(self, query: ParticipantQuery) -> ParticipantPage:
        missing = [one for one in query.ids or () if one not in self._records]
        if missing:
            await self.load(missing)
        return ParticipantPage(tuple(self._records[one] for one in query.ids or ()), None)


class _Engine:
    def __init__(self, engine: RedisEngine, registry: _Registry) -> None:
        self.outbox = engine.outbox
        self.registry = registry
        self.rooms = engine.rooms


class Scene:
    """What the oracles of the simulated world are given: the same attributes, on the real thing. Its `run` is called
    in another thread and carries coroutines out in the test's loop."""

    def __init__(self, crowd: Crowd, registry: _Registry) -> None:
        self.application = crowd.application
        self.acknowledged = crowd.acknowledged
        self.marks = crowd.marks
        self.opened = crowd.opened
        self.kicked: frozenset[str] = frozenset()
        """Sessions: a crowd's backend kicks from rooms alone."""
        self.kept_out = crowd.kept_out
        self.answers = crowd.answers
        self.apps = crowd.members
        self.engine = _Engine(crowd.engine, registry)
        self.node = self
        self.timeline = self
        self.now = time.time()
        self._loop = asyncio.get_running_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


class Crowd:
    """Members of one application. dice: all chance comes from it."""

    def __init__(self, cluster: Cluster, engine: RedisEngine, tenants: Tenants, app: Application, seed: int) -> None:
        self.cluster = cluster
        self.engine = engine
        self.tenants = tenants
        self.application = app
        self.dice = random.Random(seed)
        self.members: list[Member] = []
        self.acknowledged: dict[str, tuple[int, str]] = {}
        self.marks: dict[tuple[str, str], int] = {}
        self.opened: set[str] = set()
        """Sessions that someone was given."""
        self.kept_out: dict[tuple[str, str], float] = {}
        """By room and participant, until when (Unix seconds) kicks that were acknowledged keep them out."""
        self.answers: dict[str, set[bool]] = {}
        """By invitation, what its devices were told of its answer."""
        self._number = 0
        self._life: asyncio.Task[None] | None = None
        self._doing: set[asyncio.Task[Any]] = set()
        self._done = 0

    def mint(self, external_id: str) -> str:
        """A client access token of the application."""
        return mint_client_token(
            self.tenants.keys.ring,
            issuer=ISSUER,
            app=self.application.key,
            version=2,
            scopes=SESSION_SCOPES,
            now=time.time(),
            random_bytes=self.dice.randbytes,
            participant_id=participant_id_of(self.application.namespace, external_id),
            external_id=external_id,
            life=7200,
        ).token

    async def call(self, node: NodeProcess, method: str, path: str, body: object = None) -> Any:
        """What the server API of that node answers. Raises AssertionError where that is a refusal."""
        token = mint_api_token(
            self.tenants.keys.ring,
            issuer=ISSUER,
            app=self.application.key,
            scopes=tuple(API_SCOPES),
            now=time.time(),
            random_bytes=os.urandom,
        ).token
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, node.url + path, json=body) as reply,
        ):
            assert reply.status < 300, await reply.text()
            return await reply.json()

    def member(self, external_id: str, device: str | None = None) -> Member:
        """One more. Not yet open."""
        made = Member(self, f"{external_id}/{len(self.members)}", external_id, device)
        self.members.append(made)
        return made

    async def come(self, count: int, *, watchers: int = 20, watched: int = 20) -> None:
        """So many people sign in; some of them watch others."""
        people = [f"p{number:04d}" for number in range(count)]
        members = []
        for person in people:
            members.append(self.member(person))
            await asyncio.sleep(0)  # a thousand tokens take a while
        gate = asyncio.Semaphore(OPENING)

        async def enter(member: Member) -> None:
            async with gate:
                await member.open()

        await _all(enter(member) for member in members)
        await _all(
            member.watch(self.dice.sample(people, min(watched, count))) for member in members[: min(watchers, count)]
        )

    async def gather(self) -> None:
        """Everybody joins a room."""
        gate = asyncio.Semaphore(OPENING)

        async def join(member: Member, name: str) -> None:
            async with gate:
                await member.join_room(name)

        await _all(join(member, f"room {number % ROOMS}") for number, member in enumerate(self.members))

    # -- life ---------------------------------------------------------------------------------------------------------

    def live(self, pace: float = 20.0) -> None:
        """From now on things happen, `pace` a second."""
        self._life = asyncio.get_running_loop().create_task(self._living(pace))

    async def calm(self) -> None:
        """Nothing new happens; what was begun is over."""
        if self._life is not None:
            self._life.cancel()
            with suppress(asyncio.CancelledError):
                await self._life
            self._life = None
        if self._doing:
            await asyncio.wait(tuple(self._doing), timeout=BACK)

    async def _living(self, pace: float) -> None:
        while True:
            await asyncio.sleep(self.dice.expovariate(pace))
            busy = [one for one in self.members if one.is_alive]
            member = self.dice.choice(busy)
            what = self.dice.choices(*zip(*self._things, strict=True))[0]
            task = asyncio.get_running_loop().create_task(what(member))
            self._doing.add(task)
            task.add_done_callback(self._is_done)

    @property
    def _things(self) -> Sequence[tuple[Callable[[Member], Coroutine[Any, Any, None]], int]]:
        """What may happen, and how often."""
        return [
            (self._rename, 8), (self._mark, 2), (self._status, 2), (self._room, 4), (self._move, 4), (self._leave, 2),
            (self._kick, 1), (self._end_room, 1), (self._invite, 4), (self._answer, 4),
        ]  # fmt: skip

    def _is_done(self, task: asyncio.Task[Any]) -> None:
        self._doing.discard(task)
        self._done += 1

    async def has_done(self, things: int) -> None:
        """Returns when so many more things have happened."""
        wanted = self._done + things
        await until(lambda: self._done >= wanted)

    async def _rename(self, member: Member) -> None:
        self._number += 1
        if member.sdk.session.is_open():
            await member.rename(f"{member.external_id} {self._number}")

    async def _mark(self, member: Member) -> None:
        self._number += 1
        if member.sdk.session.is_open():
            await member.mark(self._number)

    async def _status(self, member: Member) -> None:
        if member.sdk.session.is_open():
            await member.set_status(self.dice.choice(("available", "away", "busy", "In a call")))

    async def _room(self, member: Member) -> None:
        """Joins a room, or leaves it."""
        name = self._any_room()
        is_leaving = self.dice.random() < 0.4
        if member.sdk.session.is_open():
            with suppress(GreenroomError):
                await (member.leave_room(name) if is_leaving else member.join_room(name))

    async def _kick(self, member: Member) -> None:
        """A backend puts the participant out of a room, and keeps them out: not at all, for a moment, or for good."""
        room, seconds = self._any_room(), self.dice.choice((0.0, 0.0, 3.0, LONG))
        body = {"externalId": member.external_id, "seconds": seconds}
        ends = time.time() + seconds
        if await self._moderate("POST", f"/v1/rooms/{quote(room)}/kick", body):
            key = room, participant_id_of(self.application.namespace, member.external_id)
            self.kept_out[key] = max(self.kept_out.get(key, 0.0), ends)

    async def _end_room(self, _member: Member) -> None:
        """A backend ends a room."""
        await self._moderate("DELETE", f"/v1/rooms/{quote(self._any_room())}")

    async def _moderate(self, method: str, path: str, body: object = None) -> bool:
        """Whether it was acknowledged, by any node."""
        node = self.dice.choice(self.cluster.nodes)
        try:
            async with asyncio.timeout(PATIENCE):
                await self.call(node, method, path, body)
        except (AssertionError, TimeoutError, aiohttp.ClientError):
            return False
        return True

    async def _invite(self, member: Member) -> None:
        """A member invites someone, there or not, in the room or not. Who is in no room joins one."""
        inside = [room for room in member.rooms.values() if room.is_member]
        if not inside:
            await self._room(member)
        elif member.sdk.session.is_open():
            with suppress(GreenroomError):
                await self.dice.choice(inside).invite(external_ids=[self.dice.choice(self.members).external_id])

    async def _answer(self, _member: Member) -> None:
        """A device answers an invitation that may be answered already, or twice at once."""
        invited = [one for one in self.members if one.invited and one.sdk.session.is_open()]
        if invited:
            member = self.dice.choice(invited)
            invitation = self.dice.choice(member.invited)
            answers = [self.dice.random() < 0.6 for _ in range(self.dice.choice((1, 2)))]
            await asyncio.gather(*(self._answer_it(member, invitation, accept) for accept in answers))

    async def _answer_it(self, member: Member, invitation: Invitation, accept: bool) -> None:
        with suppress(GreenroomError):
            await member.answer(invitation, accept=accept)

    def _any_room(self) -> str:
        return f"room {self.dice.randrange(ROOMS)}"

    async def _move(self, member: Member) -> None:
        member.way.cut()

    async def _leave(self, member: Member) -> None:
        """Closes and comes back."""
        if member.watches:
            return
        await member.sdk.session.close()
        with suppress(GreenroomError):
            await member.open()

    # -- judging ------------------------------------------------------------------------------------------------------

    async def wrong(self, what: Sequence[Callable[[Any], Any]] = oracles.AT_REST) -> list[str]:
        """What the oracles say now."""
        registry = _Registry(self.engine, self.application.key)
        held = {one.id for member in self.members for watch in member.watches for one in watch.participants.values()}
        await registry.load(sorted(held))
        scene = Scene(self, registry)
        return await asyncio.to_thread(lambda: [line for oracle in what for line in oracle(scene)])

    async def settled(self, what: Sequence[Callable[[Any], Any]] = oracles.AT_REST) -> float:
        """Returns when everybody is back and the oracles are content: after how many seconds. Raises AssertionError
        with what is wrong and the nodes' logs."""
        began = time.monotonic()
        lines = ["nobody looked"]
        while time.monotonic() - began < BACK:
            away = [one.name for one in self.members if one.is_alive and one.sdk.session.is_open() != one.is_connected]
            lines = [f"{len(away)} are away: {away[:5]}"] if away else await self._looked(what)
            if not lines:
                return time.monotonic() - began
            await asyncio.sleep(0.5)
        raise AssertionError("\n".join([*lines[:30], self.cluster.logs()]))

    async def _looked(self, what: Sequence[Callable[[Any], Any]]) -> list[str]:
        try:
            return await self.wrong(what)
        except (GreenroomError, TimeoutError) as error:
            return [f"the engine does not answer: {error}"]

    def nobody_was_lost(self) -> None:
        """No session ended but by its own close, and none was opened in place of a lost one."""
        ends = [(one.name, one.ends) for one in self.members if one.ends]
        again = [(one.name, one.reopened) for one in self.members if one.reopened]
        assert not ends, ends[:5]
        assert not again, again[:5]

    async def end(self) -> None:
        await self.calm()
        gate = asyncio.Semaphore(OPENING)

        async def leave(member: Member) -> None:
            async with gate:
                await member.end()

        await _all(leave(member) for member in self.members)

    # -- what the engine says -----------------------------------------------------------------------------------------

    async def sessions(self) -> tuple[SessionRecord, ...]:
        """Those that have not ended."""
        query = SessionQuery(app=self.application.key, limit=500)
        return (await _Registry(self.engine, self.application.key).sessions(query)).items

    async def events(self) -> list[Event]:
        """All there are, in order."""
        found: list[Event] = []
        cursor: str | None = None
        while True:
            page = await self.engine.outbox.read(self.application.key, cursor, 1000)
            if not page.items:
                return found
            found += page.items
            cursor = page.cursor


async def _all(work: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


async def _until_known(cluster: Cluster, tenants: Tenants, key: str) -> None:
    """Every node has read the directory since: with its next beat, which is a second away, on a busy machine more."""
    token = mint_api_token(
        tenants.keys.ring, issuer=ISSUER, app=key, scopes=tuple(API_SCOPES), now=time.time(), random_bytes=os.urandom
    ).token
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http, asyncio.timeout(PATIENCE):
        for node in cluster.nodes:
            while True:
                async with http.get(f"{node.url}/v1/counts") as reply:
                    if reply.status == 200:
                        break
                await asyncio.sleep(0.5)  # ten bad sign-ins a minute are too many


@asynccontextmanager
async def crowd_at(
    cluster: Cluster, *, seed: int, apps: int = 1, behind: Cluster | None = None
) -> AsyncIterator[list[Crowd]]:
    """Crowds of new applications of the cluster. behind: its nodes, where it is a proxy in front of them."""
    print(f"seed {seed}")
    engine = RedisEngine(cluster.nodes[0].engine, timeout=PATIENCE)
    await engine.start()
    crowds: list[Crowd] = []
    try:
        tenants = Tenants(
            engine.directory,
            master_key=bytes.fromhex(MASTER_KEY),
            clock=time.time,
            random_bytes=os.urandom,
        )
        await tenants.load()
        for number in range(apps):
            app, _ = await tenants.create_application(f"crowd {seed}.{number}")
            crowds.append(Crowd(cluster, engine, tenants, app, seed + number))
            await _until_known(behind or cluster, tenants, app.key)
        yield crowds
    finally:
        for crowd in crowds:
            await crowd.end()
        await engine.stop()


__all__ = ["Balanced", "Crowd", "Member", "crowd_at"]
