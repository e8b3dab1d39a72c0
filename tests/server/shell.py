"""The shell of one node without sockets: a hub, its calls and a node over an engine in memory (embedded, where a test
names no other)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from greenroom.core.commands import NodeCommand
from greenroom.core.requests import Owner
from greenroom.core.states import ServerState
from greenroom.engines.base import BeatResult, Engine, NodeBeat
from greenroom.engines.clock import ManualClock
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import ServiceUnavailableError
from greenroom.server.cluster.node import Node
from greenroom.server.cluster.node_listener import NodeListener
from greenroom.server.cluster.recovery import DirectoryCopy
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.engine_calls import EngineCalls, Lease
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.node_commands import NodeCommands
from greenroom.server.sessions.session_writes import SessionWrites
from greenroom.server.wire.interface import UpgradeRequest
from tests.core.server.rig import APP, NEXT_SECRET, OPEN_ID, SECRET, WALL, FakeServices, token_for
from tests.server.fakes import FakeLink, FakeMetrics


class Sulking:
    """Passes everything on to an engine's part, but fails every call while the engine is away."""

    def __init__(self, inner: Any, shell: Shell) -> None:
        self._inner = inner
        self._shell = shell

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if self._shell.away and name != "listen":

            async def refuse(*_args: Any, **_kwargs: Any) -> Any:
                raise ServiceUnavailableError("The engine is away.")

            return refuse
        return found


class SulkingEngine:
    """An engine that can be away."""

    def __init__(self, engine: Engine, shell: Shell) -> None:
        self.name = engine.name
        self.registry: Any = Sulking(engine.registry, shell)
        self.bus: Any = Sulking(engine.bus, shell)
        self.outbox: Any = engine.outbox
        self.directory: Any = engine.directory
        self.rooms: Any = Sulking(engine.rooms, shell)


class ManualClocks:
    """Implements `Clocks` on a clock that stands still. ahead: seconds by which the wall clock is off."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ahead = 0.0

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def boottime(self) -> float:
        return self._clock.monotonic()

    def wall(self) -> float:
        return self._clock.now_ms() / 1000 + self.ahead


class EmptyDirectory:
    """Implements `KnownDirectory`: nothing is in it."""

    def version_seen(self, version: int) -> None:
        """Nothing to read."""

    def copy(self) -> DirectoryCopy:
        return (), (), ()


class Shell:
    """A node: advance moves the engine's and the node's clock, nothing sleeps."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.clock = clock
        self.away = False
        self.commands: list[NodeCommand] = []
        self.services = FakeServices()
        for name in ("anna", "bob", "carol"):
            now = clock.now_ms() // 1000
            self.services.tokens[name] = token_for(name, issued_at=now, expires_at=now + 3600, jti=f"jti-{name}")
        self.engine = cast(Any, SulkingEngine(engine, self))
        self.inner = engine
        self.clocks = ManualClocks(clock)
        self.metrics = FakeMetrics()
        self.hub = Hub(self.services, self.engine.bus, self.engine.rooms, metrics=self.metrics, clocks=self.clocks)
        counter = itertools.count(1)
        self.lease = Lease("0" * 32, self.clocks.boottime)
        self.writes = SessionWrites(self.engine.registry, self.hub, "n1", self.lease)
        self.node_commands = NodeCommands(self.engine.bus, self.hub, "n1")
        self.calls = EngineCalls(
            self.engine, self.hub, self.writes, self.node_commands,
            node="n1", lease=self.lease, metrics=self.metrics, clocks=self.clocks,
        )  # fmt: skip
        # Its timer is real, the clock is not: tests tick by hand.
        self.hub.wheel.stop()
        self._hold_back()
        self.node = Node(
            self.engine,
            self.hub,
            self.writes,
            EmptyDirectory(),
            ServerConfig(),
            name="n1",
            lease=self.lease,
            random_hex=lambda: f"{next(counter):032x}",
            clocks=self.clocks,
        )
        lost, keep = self.node.recovery.changes_lost, self.commands.append
        self.listener = NodeListener(self.hub, lost=lost, directory=keep, cluster=keep)
        engine.bus.listen(self.listener)

    # -- what tests do

    def dial(self, **headers: str) -> tuple[SessionConnection, FakeLink]:
        """Another connection."""
        request = UpgradeRequest("/v1/session", "", headers, "192.0.2.1", ("greenroom.v1",))
        connection, link = SessionConnection(self.hub, self.calls, self.node, request), FakeLink()
        connection.opened(link)
        return connection, link

    async def settle(self) -> None:
        """Let everything that is under way come to rest."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Time goes on in steps, with beats and passes of the reaper as the service makes them."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.node.check_fence()
            if not self.away:
                await self.inner.registry.reap()
            await self.node.beat()
            await self.settle()
            await self.node.recovery.caught_up()

    def say(self, connection: SessionConnection, method: str, number: int = 1, **params: Any) -> None:
        """The client sends a request."""
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        connection.text(msgspec.json.encode(message))

    async def open(self, who: str = "anna", **params: Any) -> tuple[SessionConnection, FakeLink]:
        """An open session, confirmed."""
        connection, link = self.dial()
        open_id = params.pop("openId", OPEN_ID + who)
        self.say(connection, "session.open", token=who, openId=open_id, resumeSecret=SECRET, **params)
        await self.settle()
        assert "result" in link.messages[0], link.messages
        self.say(connection, "ping", 2)
        link.frames.clear()
        return connection, link

    async def record(self, connection: SessionConnection) -> Any:
        """The session as it is stored."""
        from greenroom.engines.base import SessionQuery

        owner = connection.context.owner
        assert owner is not None
        page = await self.inner.registry.sessions(SessionQuery(session_id=owner.session_id))
        return page.items[0]

    async def flush(self) -> None:
        """Deliver what was collected, without waiting for the tenth of a second."""
        await self.settle()
        held = self.hub.fan_out._flush_handle
        assert held is not None
        held.cancel()
        self.hub.fan_out._flush()
        self._hold_back()
        await self.settle()

    def _hold_back(self) -> None:
        """The hub believes that its pause is running: only `flush` ends it."""
        self.hub.fan_out._flush_handle = asyncio.get_running_loop().call_later(3600, lambda: None)


def is_in(connection: SessionConnection, state: ServerState) -> bool:
    """Whether the session is in this state now."""
    return connection.context.state is state


def owner_of(connection: SessionConnection) -> Owner:
    """Of its session, which is open."""
    owner = connection.context.owner
    assert owner is not None
    return owner


def _embedded(clock: ManualClock) -> Engine:
    return EmbeddedEngine(":memory:", clock=clock)


@asynccontextmanager
async def running_shell(make_engine: Callable[[ManualClock], Engine] = _embedded) -> AsyncIterator[Shell]:
    """A node that has its lease. make_engine: on the clock that the test moves."""
    clock = ManualClock(int(time.time() * 1000))
    engine = make_engine(clock)
    await engine.start()
    shell = Shell(engine, clock)
    try:
        await shell.node.beat()
        await shell.node.restored()
        await shell.node.recovery.caught_up()
        yield shell
    finally:
        shell.calls.mute()
        await shell.hub.cancel_tasks()
        shell.hub.stop()
        await engine.stop()


__all__ = [
    "APP", "NEXT_SECRET", "OPEN_ID", "SECRET", "WALL", "BeatResult", "NodeBeat", "Shell", "is_in", "owner_of",
    "running_shell",
]  # fmt: skip
