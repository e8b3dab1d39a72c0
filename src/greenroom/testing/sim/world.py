"""A world: nodes of the service, apps with their SDKs, and the engine they share, in virtual time and from a seed.

What runs is what ships: `Service` with its hub, node, reaper and drain, the embedded engine on a file, `Greenroom` with
its runner and machine. Simulated are time, chance, the network (`network`) and the processes' lives.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from greenroom.core.server.calls import Now
from greenroom.core.states import SessionState
from greenroom.engines.base import Engine, RestrictRequest
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.model import Application, Participant, participant_id_of
from greenroom.sdk.client import Greenroom
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.ground import Ground
from greenroom.sdk.participants import Watch
from greenroom.server.app import Service
from greenroom.server.config import ServerConfig
from greenroom.server.link import Handler, Refusal, UpgradeRequest
from greenroom.testing.sim.loop import ProcessClock, SimLoop, Timeline, start
from greenroom.testing.sim.network import SimWay, Wire
from greenroom.tokens import SESSION_SCOPES, mint_client_token

T = TypeVar("T")

URL = "http://greenroom.sim"
MASTER_KEY = "0" * 64
ADMIN_TOKEN = "a" * 40
FAST, SLOW, LATE = 0.002, 0.08, 1.5
"""Seconds: between the first two delays of the network are drawn, one in a hundred between the last two."""


class NodeClocks:
    """One process's clocks, as a node takes them."""

    def __init__(self, clock: ProcessClock) -> None:
        self._clock = clock

    def now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.wall())

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wall(self) -> float:
        return self._clock.wall()

    def boottime(self) -> float:
        return self._clock.monotonic()


class _Listener:
    """Stands for the listening socket."""

    def close(self) -> None:
        """Nothing to close."""


class _Door:
    """Stands for the front door: the world's network knocks at `SimService.admit_upgrade` itself."""

    def __init__(self, node: SimNode) -> None:
        self._node = node

    def close(self) -> None:
        self._node.is_listening = False

    def abort_all(self) -> None:
        for wire in tuple(self._node.wires):
            wire.link.abort()


class SimService(Service):
    """A node of the service without sockets and files; all else is `Service`."""

    def __init__(self, node: SimNode, config: ServerConfig, engine: Engine) -> None:
        chance = random.Random(node.world.chance.getrandbits(64))
        super().__init__(
            config, engine=engine, random_bytes=chance.randbytes, clocks=NodeClocks(node.clock), chance=chance
        )
        self._node = node

    def _listen(self) -> Any:
        return _Listener()

    def _find_urls(self, listener: Any) -> None:
        self.url = self.issuer = URL

    async def _open_door(self, listener: Any) -> None:
        door: Any = _Door(self._node)
        self.door = door
        self._server = door
        self._node.is_listening = True

    def admit_upgrade(self, request: UpgradeRequest) -> Handler | Refusal:
        """What the front door asks."""
        return self._session(request)


class SimNode:
    """One process of the service, its machine and its clock."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.timeline = world.timeline
        self.name = name
        self.clock = ProcessClock(world.timeline)
        self.loop: SimLoop = world.timeline.make_loop(name)
        self.wires: dict[Wire, None] = {}
        """In the order in which they were made."""
        self.is_listening = False
        self.is_paused = False
        self.service: SimService
        self.engine: Engine

    @property
    def is_up(self) -> bool:
        """Whether its machine accepts connections. A paused process's kernel still does."""
        return self.is_listening and self.loop in self.timeline.loops

    def start(self) -> None:
        """Start the process."""
        if self.loop not in self.timeline.loops:
            self.loop = self.timeline.make_loop(self.name)
        self.engine = self.world.make_engine(self)
        self.service = SimService(self, self.world.config_of(self.name), self.engine)
        self.timeline.call(self.loop, self.service.start())
        self.world.note(f"{self.name} started")

    def stop(self) -> None:
        """SIGTERM: drains, then ends."""
        self.world.note(f"{self.name} is told to stop")
        self.timeline.call(self.loop, self.service.stop())
        self.is_listening = False
        self._forget()

    def kill(self) -> None:
        """SIGKILL: its machine resets the connections."""
        self.world.note(f"{self.name} is killed")
        self.is_listening = False
        for wire in tuple(self.wires):
            wire.down.carry(lambda wire=wire: wire.plug.ended(1006))  # type: ignore[misc]
            wire.up.cut()
        self._forget()
        self.world.engine_died(self)

    def lose_power(self) -> None:
        """The machine is gone: nobody is told of anything."""
        self.world.note(f"{self.name} loses power")
        self.is_listening = False
        for wire in tuple(self.wires):
            wire.over()
        self._forget()
        self.world.engine_died(self)

    def _forget(self) -> None:
        self.wires.clear()
        self.is_paused = False
        if self.loop in self.timeline.loops:
            self.timeline.forget(self.loop)

    def pause(self) -> None:
        """SIGSTOP."""
        self.world.note(f"{self.name} is paused")
        self.is_paused = True
        self.timeline.pause(self.loop)

    def wake(self) -> None:
        """SIGCONT."""
        self.world.note(f"{self.name} wakes up")
        self.is_paused = False
        self.timeline.wake(self.loop)

    def run(self, work: Coroutine[Any, Any, T], within: float = 600.0) -> T:
        """A coroutine in its process, to its end."""
        result: T = self.timeline.call(self.loop, work, within)
        return result


class Watcher(SessionDelegate):
    """What an app is told, kept for the oracles."""

    def __init__(self, app: SimApp) -> None:
        self._app = app

    def session_updated(self, state: object) -> None:
        self._app.heard(f"state {state}")
        if state is SessionState.DISCONNECTED:
            self._app.watches.clear()

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self._app.ends.append(reason)
        self._app.heard(f"ended: {reason}")

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self._app.reopened.append(reason)
        self._app.previous_ids.append(previous_id)
        self._app.heard(f"reopened: {reason}")

    def participants_changed(self, participants: list[Participant]) -> None:
        for participant in participants:
            self._app.saw(participant)


class SimApp:
    """One process with an SDK in it: a participant's device."""

    def __init__(self, world: World, name: str, external_id: str | None) -> None:
        self.world = world
        self.timeline = world.timeline
        self.name = name
        self.external_id = external_id
        self.address = "192.0.2.1"
        self.clock = ProcessClock(world.timeline)
        self.loop = world.timeline.make_loop(name)
        self.wires: dict[Wire, None] = {}
        """In the order in which they were made."""
        self.is_silent_up = False
        self.is_silent_down = False
        self.is_paused = False
        self.ends: list[str] = []
        self.reopened: list[str] = []
        self.previous_ids: list[str] = []
        self.seen: dict[str, list[Participant]] = {}
        self.watches: list[Watch] = []
        self.log: list[str] = []
        self.token_life = 3600
        self.token_scopes = SESSION_SCOPES
        self.refreshes = 0
        chance = self._chance = random.Random(world.chance.getrandbits(64))
        self.latency = self.dice()
        ground = Ground(
            monotonic=self.clock.monotonic,
            wall=self.clock.wall,
            random=chance.random,
            random_bytes=chance.randbytes,
            way=lambda _base, _tls: SimWay(self),
        )
        self.sdk = Greenroom(URL, ground=ground)
        self.sdk.session.delegate = Watcher(self)
        self.sdk.initialize_token(world.mint(self), self._refresh)

    def dice(self) -> Callable[[], float]:
        """Delays of one direction: seconds for one message on its way, now and then a long one."""
        chance = random.Random(self._chance.getrandbits(64))

        def draw() -> float:
            return chance.uniform(SLOW, LATE) if chance.random() < 0.01 else chance.uniform(FAST, SLOW)

        return draw

    async def _refresh(self, is_expired: bool) -> str:
        self.refreshes += 1
        await asyncio.sleep(self.latency())
        return self.world.mint(self)

    def heard(self, text: str) -> None:
        """The delegate was told."""
        self.log.append(text)
        self.world.note(f"{self.name}: {text}")

    def saw(self, participant: Participant) -> None:
        """A watched participant changed."""
        self.seen.setdefault(participant.id, []).append(participant)
        self.world.note(
            f"{self.name} sees {participant.info.external_id}: {participant.presence.value},"
            f" {participant.sessions} sessions, version {participant.version}"
        )

    # -- what the app does --------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], within: float = 600.0) -> T:
        """A coroutine in its process, to its end."""
        result: T = self.timeline.call(self.loop, work, within)
        return result

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A coroutine in its process, now; the world goes on later."""
        return start(self.loop, work)

    def open(self, **info: Any) -> Participant:
        """Open a session, to the end."""
        from greenroom.model import ParticipantInfo

        return self.run(self.sdk.session.open(ParticipantInfo(**info) if info else None, timeout=None))

    async def watch(self, *external_ids: str) -> None:
        """Watch people; what is held of each is kept for the oracles."""
        self.watches.append(await self.sdk.participants.watch(external_ids=list(external_ids)))

    async def rename(self, name: str) -> None:
        """Change the name; an acknowledged change is kept for the oracles."""
        participant = await self.sdk.session.update_participant_info(name=name)
        self.world.note(f"{self.name} is {name!r} now, revision {participant.revision}")
        known = self.world.acknowledged.get(self.external_id or "", (0, ""))
        if participant.revision >= known[0]:
            self.world.acknowledged[self.external_id or ""] = (participant.revision, participant.info.name or "")

    def close(self) -> None:
        """Close the session, to the end."""
        self.world.note(f"{self.name} closes")
        self.run(self.sdk.session.close())

    # -- what happens to it -------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Its connections are reset; it may dial again."""
        self.world.note(f"the connections of {self.name} are reset")
        for wire in tuple(self.wires):
            wire.reset()

    def silence(self, *, up: bool = True, down: bool = True) -> None:
        """Its network goes silent, in one direction or both. Nobody is told."""
        self.world.note(f"{self.name}'s network goes silent{'' if up and down else ' up' if up else ' down'}")
        self.is_silent_up, self.is_silent_down = up, down
        for wire in self.wires:
            if up:
                wire.up.silence()
            if down:
                wire.down.silence()

    def heal(self) -> None:
        """Its network works again; what waited arrives late."""
        self.world.note(f"{self.name}'s network is back")
        self.is_silent_up = self.is_silent_down = False
        for wire in tuple(self.wires):
            wire.up.heal()
            wire.down.heal()

    def leave_page(self) -> None:
        """The process ends and its WebSocket library says 1001, as browsers do."""
        self.world.note(f"{self.name} leaves the page")
        for wire in tuple(self.wires):
            wire.plug.hang_up(1001)
        self._forget()

    def kill(self) -> None:
        """The process ends; its machine resets the connections."""
        self.world.note(f"{self.name} is killed")
        for wire in tuple(self.wires):
            wire.up.carry(lambda wire=wire: wire.link.ended(1006))  # type: ignore[misc]
        self._forget()

    def lose_power(self) -> None:
        """The machine is gone; nobody is told."""
        self.world.note(f"{self.name} loses power")
        for wire in tuple(self.wires):
            wire.up.silence()
            wire.down.silence()
        self._forget()

    def _forget(self) -> None:
        if self.loop in self.timeline.loops:
            self.timeline.forget(self.loop)

    def pause(self) -> None:
        """Its machine sleeps."""
        self.world.note(f"{self.name} sleeps")
        self.is_paused = True
        self.timeline.pause(self.loop)

    def wake(self) -> None:
        """Its machine wakes up."""
        self.world.note(f"{self.name} wakes up")
        self.is_paused = False
        self.timeline.wake(self.loop)

    @property
    def is_alive(self) -> bool:
        """Whether its process runs, perhaps asleep."""
        return self.loop in self.timeline.loops


class World:
    """Everything. seed: all chance comes from it. settings: of the service, beside the defaults of a world.

    nodes: how many; more than one need an engine that they can share.
    """

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.timeline = Timeline()
        self.directory = Path(tempfile.mkdtemp(prefix="greenroom-sim-", dir=_memory()))
        self._settings = settings
        self.notes: list[tuple[float, str]] = []
        self.application: Application
        self.app_secret = ""
        self.acknowledged: dict[str, tuple[int, str]] = {}
        """Revision and name of the last acknowledged update, by external id."""
        self.apps: list[SimApp] = []
        self.nodes: list[SimNode] = []
        self._engines: dict[SimNode, EmbeddedEngine] = {}
        self._start_nodes()

    def _start_nodes(self) -> None:
        node = SimNode(self, "node1")
        self.nodes.append(node)
        node.start()
        self.application, self.app_secret = node.run(node.service.tenants.create_application("world"))

    # -- parts --------------------------------------------------------------------------------------------------------

    def config_of(self, name: str) -> ServerConfig:
        """A node's settings."""
        given = {
            "node": name,
            "data_dir": str(self.directory),
            "master_key": MASTER_KEY,
            "admin_token": ADMIN_TOKEN,
            "public_url": URL,
            **self._settings,
        }
        return ServerConfig(**given)

    def make_engine(self, node: SimNode) -> Engine:
        """The embedded engine on the world's file: synchronous calls, one transaction each."""
        engine = EmbeddedEngine(self.directory, clock=node.clock, threaded=False, lock_timeout=0.0)
        self._engines[node] = engine
        return engine

    def engine_died(self, node: SimNode) -> None:
        """The node's process died: what its engine held open is closed by the operating system."""
        engine = self._engines.pop(node, None)
        if engine is not None:
            engine.abandon()

    @property
    def node(self) -> SimNode:
        """The first node."""
        return self.nodes[0]

    def pick_node(self) -> SimNode | None:
        """Where a dial goes: to any node that listens, as a proxy in front of them would have it."""
        ready = [node for node in self.nodes if node.is_up]
        return self.chance.choice(ready) if ready else None

    def mint(self, app: SimApp) -> str:
        """A client access token (v2) for an app, as its backend would get one. Its times are the service's."""
        service = self.node.service
        return mint_client_token(
            service.tenants.ring,
            issuer=URL,
            app=self.application.key,
            version=2,
            scopes=app.token_scopes,
            now=self.node.clock.wall(),
            random_bytes=random.Random(self.chance.getrandbits(64)).randbytes,
            participant_id=None
            if app.external_id is None
            else participant_id_of(self.application.namespace, app.external_id),
            external_id=app.external_id,
            life=app.token_life,
        ).token

    def make_app(self, name: str, external_id: str | None = None) -> SimApp:
        """A new device. external_id: the participant's; None: the name."""
        app = SimApp(self, name, name if external_id is None else external_id or None)
        self.apps.append(app)
        return app

    def kick(self, external_id: str) -> None:
        """What the server API does for an app's backend."""
        self.note(f"{external_id} is kicked")
        request = RestrictRequest(
            app=self.application.key,
            kind="kick",
            participant_id=participant_id_of(self.application.namespace, external_id),
            reason="out",
        )
        self.node.run(self.node.service.restrict(request))

    # -- time ---------------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run(seconds)

    def until(self, condition: Callable[[], bool], within: float = 120.0) -> float:
        """Let time pass until something is so. How many seconds it took. Raises AssertionError with the timeline."""
        began = self.timeline.now
        while not condition():
            if self.timeline.now - began > within:
                raise AssertionError(f"not within {within} s\n{self.story()}")
            self.timeline.run(0.05)
        return self.timeline.now - began

    # -- telling ------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """One line of the timeline."""
        self.notes.append((self.timeline.now, text))

    def story(self, last: int = 200) -> str:
        """The timeline, readable: seconds since the beginning, and what happened."""
        lines = [f"seed {self.seed}"]
        lines += [f"{at - 1000.0:9.3f}  {text}" for at, text in self.notes[-last:]]
        return "\n".join(lines)

    def close(self) -> None:
        """The end of the world."""
        self.timeline.close()
        for node in list(self._engines):
            self.engine_died(node)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _memory() -> str | None:
    """A directory in memory where there is one: a world writes many small files."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
