"""The engine for many nodes, on one Redis: single, Sentinel or Cluster."""

from __future__ import annotations

from collections.abc import Callable

from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.requests import RoomLimits
from greenroom.engines.base import EVENT_LIMITS, LEASE, Bus, Directory, EventLimits, Outbox, Registry, Statistics
from greenroom.engines.redis import durability
from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.bus import RedisBus
from greenroom.engines.redis.counts import Counts
from greenroom.engines.redis.directory import RedisDirectory
from greenroom.engines.redis.errors import cannot_start
from greenroom.engines.redis.maintenance import Maintenance
from greenroom.engines.redis.outbox import EVENTS, RedisOutbox
from greenroom.engines.redis.redis_store import RedisStore
from greenroom.engines.redis.registry import RedisRegistry
from greenroom.engines.redis.rooms import RedisRooms
from greenroom.engines.redis.settling import Settling
from greenroom.engines.redis.statistics import RedisStatistics
from greenroom.engines.redis.store import Store
from greenroom.engines.rooms import Rooms
from greenroom.errors import ServiceUnavailableError


class RedisEngine:
    """Implements `Engine`.

    url: see `parse_address`. timeout: seconds for connecting and for one call. lease: seconds for which a node is
    considered alive. event_limits: what is kept of an application's events. store: in place of a Redis (tests).
    clock_us: tests alone set it: the time in microseconds, asked at each call, in place of Redis TIME.
    """

    name = "redis"

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        timeout: float = 2.0,
        lease: float = LEASE,
        event_limits: EventLimits = EVENT_LIMITS,
        store: Store | None = None,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        self._address = parse_address(url)
        self.store: Store = store or RedisStore(self._address, timeout=timeout, clock_us=clock_us)
        self._counts = Counts(self.store, "counts")
        self._bus = RedisBus(self.store)
        self._outbox = RedisOutbox(self.store)
        self._directory = RedisDirectory(self.store)
        self.bus: Bus = self._bus
        self.outbox: Outbox = self._outbox
        self.directory: Directory = self._directory
        self.statistics: Statistics = RedisStatistics(self.store)
        self._room_counts = Counts(self.store, "room_counts")
        self._settling = Settling(self.store, self._room_limits, self._room_counts)
        self._maintenance = Maintenance(
            self.store,
            self._counts,
            applications=lambda: self._directory.known,
            watched=self._bus.watched,
            beaten=self._bus.beaten,
            lease=lease,
            event_limits=event_limits,
            settling=self._settling,
        )
        self.registry: Registry = RedisRegistry(self.store, self._counts, self._maintenance, self._settling)
        self.rooms: Rooms = RedisRooms(self.store, self._maintenance, self._settling, self._room_counts)
        self.store.listen(self.received, self._bus.lost)

    async def start(self) -> None:
        """Connects, and refuses what cannot be used: Redis before 7.0, or one that evicts.

        Raises ServiceUnavailableError that says what Redis or the network said, and what to change.
        """
        try:
            await self.store.start()
            durability.check(await self.store.facts())
            await self._directory.applications()
        except ServiceUnavailableError as error:
            raise cannot_start(error, self._address) from error

    def _room_limits(self, app: str) -> RoomLimits | None:
        """What an application that this process knows allows its rooms."""
        found = next((one for one in self._directory.known if one.key == app), None)
        return None if found is None else limits_of(found)

    async def stop(self) -> None:
        await self._counts.stop()
        await self._room_counts.stop()
        await self._settling.stop()
        await self._outbox.stop()
        await self._bus.stop()
        await self.store.stop()

    async def healthy(self) -> None:
        """Every master answers and takes a write."""
        await self._maintenance.probe()

    async def durability(self) -> tuple[str, ...]:
        return durability.describe(await self.store.facts(), self._address.wait_replicas)

    async def subscribed(self) -> None:
        """Returns when hints of new events are received from all partitions, as far as they can be reached."""
        await self._outbox.subscribed()

    def received(self, tag: str, channel: str, data: bytes) -> None:
        """A message of the store."""
        if channel == EVENTS:
            self._outbox.received(data)
        else:
            self._bus.received(tag, channel, data)
