"""A world: nodes of the service, apps with their SDKs, and the engine they share, in virtual time and from a seed.

What runs is what ships: `Service` with its hub, node, reaper and drain (`nodes`), the embedded engine on a file,
`Greenroom` with its runner and machine (`apps`). Simulated are time, chance, the network (`network`) and the processes'
lives.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace

from greenroom.core.rooms.requests import EndRoom, KickMember
from greenroom.engines.base import Engine, KickParticipant
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import GreenroomError
from greenroom.model import Application, participant_id_of
from greenroom.server.config import ServerConfig
from greenroom.tokens import mint_client_token
from tests.support.sim.apps import SimApp
from tests.support.sim.issuers import SimIssuer
from tests.support.sim.loop import Timeline
from tests.support.sim.nodes import URL, SimNode

MASTER_KEY = "0" * 64
ADMIN_TOKEN = "a" * 40


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
        self.marks: dict[tuple[str, str], int] = {}
        """By external id and app: the number in the app's attribute, as last acknowledged. Each only rises."""
        self.opened: set[str] = set()
        """Sessions that were acknowledged to an app."""
        self.kicked: set[str] = set()
        """Sessions that an acknowledged kick has ended."""
        self.kept_out: dict[tuple[str, str], float] = {}
        """By room and participant: until when (the world's time) acknowledged kicks keep someone out."""
        self.answers: dict[str, set[bool]] = {}
        """By invitation: the answers that the service acknowledged."""
        self._issuers_made = 0
        self.issuers: list[SimIssuer] = []
        """That the application has; those that it had are known to their apps."""
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
        """A client access token (v2) for an app, as its backend would get one, or its identity provider makes one. Its
        times are the service's."""
        service = self.node.service
        if app.issuer is not None:
            assert app.external_id is not None
            return app.issuer.token(app.external_id, self.node.clock.wall())
        return mint_client_token(
            service.tenants.keys.ring,
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

    def make_app(self, name: str, external_id: str | None = None, issuer: SimIssuer | None = None) -> SimApp:
        """A new device. external_id: the participant's; None: the name. issuer: of its tokens; None: the service."""
        app = SimApp(self, name, name if external_id is None else external_id or None, issuer)
        self.apps.append(app)
        return app

    def kick(self, external_id: str) -> None:
        """What the server API does for an app's backend."""
        self.note(f"{external_id} is kicked")
        request = KickParticipant(
            app=self.application.key,
            participant_id=participant_id_of(self.application.namespace, external_id),
            reason="out",
        )
        restricted = self.node.run(self.node.service.control.restrict(request))
        self.kicked.update(session.id for session in restricted.ended)

    def kick_from_room(self, room: str, external_id: str, seconds: float) -> None:
        """What the server API does for an app's backend. The participant may be in it, or not."""
        participant_id = participant_id_of(self.application.namespace, external_id)
        self.note(f"{external_id} is kicked from the room {room} for {seconds:.0f} s")
        request = KickMember(app=self.application.key, room=room, participant_id=participant_id, seconds=seconds)
        is_acknowledged = self._moderate(request)
        self.kept_out[room, participant_id] = self.timeline.now + seconds if is_acknowledged else 0.0

    def end_room(self, room: str) -> None:
        """What the server API does for an app's backend."""
        self.note(f"the room {room} is ended")
        self._moderate(EndRoom(app=self.application.key, room=room))

    def _moderate(self, request: KickMember | EndRoom) -> bool:
        """Whether it was acknowledged."""
        try:
            self.node.run(self.node.service.rooms.moderate(request))
        except GreenroomError as error:
            self.note(f"perhaps not: {error.reason}")
            return False
        return True

    def add_issuer(self) -> SimIssuer:
        """The application takes another provider's tokens from now on."""
        self._issuers_made += 1
        made = SimIssuer(self._issuers_made)
        self.issuers.append(made)
        self.publish_issuers()
        return made

    def remove_issuer(self, issuer: SimIssuer) -> None:
        """The application takes its tokens no longer."""
        self.issuers.remove(issuer)
        self.publish_issuers()
        issuer.is_removed = True

    def publish_issuers(self) -> None:
        """What the server API does when an issuer is added or removed. Raises GreenroomError."""
        service, records = self.node.service, tuple(issuer.record() for issuer in self.issuers)
        self.note(f"issuers: {', '.join(one.issuer for one in records) or 'none'}")
        self.node.run(service.tenants.change(self.application.key, lambda app: replace(app, issuers=records)))
        self.node.run(service.control.announce_directory())

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

    # -- notes --------------------------------------------------------------------------------------------------------

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
