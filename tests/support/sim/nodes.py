"""The service's processes in a simulated world: `Service` as it ships, without sockets, in an event loop of its own."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom.engines.base import Engine
from greenroom.errors import ServiceUnavailableError
from greenroom.server.config import ServerConfig
from greenroom.server.service import Service
from greenroom.server.wire.interface import Handler, Refusal, UpgradeRequest
from tests.support.sim.loop import ProcessClock, SimLoop

if TYPE_CHECKING:
    from tests.support.sim.network import Wire
    from tests.support.sim.world import World

T = TypeVar("T")

URL = "http://greenroom.sim"
"""Where every node of a world is found, and who issues its tokens."""
RESTARTS_AFTER = 2.0
"""Seconds from the end of a process to its next start, as in the systemd unit."""
ATTEMPTS = 10


class NodeClocks:
    """One process's clocks, as a node takes them."""

    def __init__(self, clock: ProcessClock) -> None:
        self._clock = clock

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
    """Stands for the front door: the world's network calls `SimService.admit_upgrade` itself."""

    def __init__(self, node: SimNode) -> None:
        self._node = node

    def close(self) -> None:
        self._node.is_listening = False

    def abort_all(self) -> None:
        for wire in tuple(self._node.wires):
            wire.link.abort()


class SimService(Service):
    """A node of the service without sockets and files; all else but what is overridden here is `Service`."""

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
        return self.upgrades(request)


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

    def restart(self) -> None:
        """Start the process, again and again where it ends at once: what systemd and orchestrators do."""
        for _ in range(ATTEMPTS):
            try:
                self.start()
                return
            except ServiceUnavailableError as error:
                self.world.note(f"{self.name} does not start: {error.message}")
                self._forget()
                self.world.engine_died(self)
                self.world.run(RESTARTS_AFTER)
        raise AssertionError(f"{self.name} does not start")

    def stop(self) -> None:
        """SIGTERM: drains, then ends."""
        self.world.note(f"{self.name} gets SIGTERM")
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
        """The machine is gone: no connection is closed."""
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
