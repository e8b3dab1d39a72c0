"""Sharded subscriptions: one connection to each master that serves a channel, renewed when it is lost or silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from greenroom.engines.redis.address import HostPort
from greenroom.engines.redis.errors import unreachable
from greenroom.engines.redis.reply_reader import ReplyReader
from greenroom.engines.redis.store import OnLost, OnMessage
from greenroom.engines.redis.topology import Topology
from greenroom.errors import ServiceUnavailableError

log = logging.getLogger("greenroom.engine")

Pair = tuple[str, str]

PING_EVERY = 3.0
"""Seconds between pings; a connection that received nothing for two of them is given up."""
_PAUSE = 0.25
_LONGEST_PAUSE = 2.0


class _Subscription:
    """One connection and the channels that it carries."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.received = False
        self.confirmed: set[Pair] = set()

    async def send(self, *command: str) -> None:
        data = self.connection.pack_command(*command)
        await self.connection.send_packed_command(data, check_health=False)


class Subscriber:
    """The wanted channels, and a task for each master that keeps them subscribed."""

    def __init__(self, topology: Topology, key: Callable[..., str], *, timeout: float) -> None:
        self._topology = topology
        self._key = key
        self._timeout = timeout
        self._on_message: OnMessage = lambda tag, channel, data: None
        self._on_lost: OnLost = lambda pairs: None
        self._wanted: dict[Pair, asyncio.Future[None] | None] = {}
        self._pairs: dict[bytes, Pair] = {}
        self._tasks: dict[HostPort, asyncio.Task[None]] = {}
        self._subscriptions: dict[HostPort, _Subscription] = {}
        self._missed: set[Pair] = set()
        self._stopped = False

    def listen(self, on_message: OnMessage, on_lost: OnLost) -> None:
        self._on_message, self._on_lost = on_message, on_lost

    def wanted(self) -> Sequence[Pair]:
        """The channels that are subscribed, or being subscribed."""
        return tuple(self._wanted)

    async def subscribe(self, tag: str, channel: str) -> None:
        """Returns when it is confirmed. Raises ServiceUnavailableError; it is tried on all the same."""
        pair = (tag, channel)
        waiting = self._wanted.get(pair)
        if pair in self._wanted and waiting is None:
            return
        if waiting is None:
            waiting = self._wanted[pair] = asyncio.get_running_loop().create_future()
            self._pairs[self._key(tag, channel).encode()] = pair
            place = self._topology.master_of(self._key(tag))
            subscription = self._subscriptions.get(place) if place is not None else None
            if subscription is not None:
                await self._send_quietly(subscription, "SSUBSCRIBE", self._key(tag, channel))
            elif place is not None:
                self._start(place)
            else:
                await self._topology.refresh(force=True)
                await self._arrange()
        try:
            await asyncio.wait_for(asyncio.shield(waiting), self._timeout)
        except TimeoutError:
            raise unreachable("the subscription is not confirmed") from None

    async def unsubscribe(self, tag: str, channel: str) -> None:
        pair = (tag, channel)
        if pair not in self._wanted:
            return
        waiting = self._wanted.pop(pair)
        if waiting is not None and not waiting.done():
            waiting.cancel()
        self._pairs.pop(self._key(tag, channel).encode(), None)
        for subscription in self._subscriptions.values():
            if pair in subscription.confirmed:
                subscription.confirmed.discard(pair)
                await self._send_quietly(subscription, "SUNSUBSCRIBE", self._key(tag, channel))

    async def renew(self, pairs: Sequence[Pair]) -> None:
        """Connects again where these are subscribed; `lost` is called."""
        for place in {self._topology.master_of(self._key(tag)) for tag, _ in pairs}:
            task = self._tasks.get(place) if place is not None else None
            subscription = self._subscriptions.get(place) if place is not None else None
            if task is not None and subscription is not None:
                await subscription.connection.disconnect()

    async def stop(self) -> None:
        self._stopped = True
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiting in self._wanted.values():
            if waiting is not None and not waiting.done():
                waiting.cancel()

    async def _send_quietly(self, subscription: _Subscription, *command: str) -> None:
        """A failure is noticed by the subscription's own task."""
        try:
            await subscription.send(*command)
        except (RedisError, OSError):
            pass

    def _start(self, place: HostPort) -> None:
        if place not in self._tasks and not self._stopped:
            self._tasks[place] = asyncio.create_task(self._keep(place), name="greenroom-redis-subscription")

    async def _arrange(self) -> None:
        """Every wanted channel has a task at its master, and one that moved is subscribed there."""
        for tag, channel in tuple(self._wanted):
            place = self._topology.master_of(self._key(tag))
            if place is None:
                continue
            self._start(place)
            subscription = self._subscriptions.get(place)
            if subscription is not None and (tag, channel) not in subscription.confirmed:
                await self._send_quietly(subscription, "SSUBSCRIBE", self._key(tag, channel))

    def _at(self, place: HostPort) -> list[Pair]:
        return [pair for pair in self._wanted if self._topology.master_of(self._key(pair[0])) == place]

    async def _keep(self, place: HostPort) -> None:
        """Subscribed at one master as long as something is wanted there."""
        pause = _PAUSE
        while self._at(place):
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._topology.connect(place)
            except (RedisError, OSError, TimeoutError, ServiceUnavailableError):
                pass
            else:
                pause = _PAUSE
                await self._serve(place, _Subscription(connection))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._look_again()
        self._tasks.pop(place, None)

    async def _look_again(self) -> None:
        self._topology.doubt()
        try:
            await self._topology.refresh()
        except ServiceUnavailableError:
            return
        await self._arrange()

    async def _serve(self, place: HostPort, subscription: _Subscription) -> None:
        self._subscriptions[place] = subscription
        try:
            for tag, channel in self._at(place):
                await subscription.send("SSUBSCRIBE", self._key(tag, channel))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(subscription))
                group.create_task(self._ping(subscription))
        except* (RedisError, OSError):
            pass
        except* Exception:
            log.exception("a listener failed: subscribing again")
        finally:
            del self._subscriptions[place]
            for pair in subscription.confirmed & self._wanted.keys():
                self._missed.add(pair)
                if self._wanted[pair] is None:
                    self._wanted[pair] = asyncio.get_running_loop().create_future()
            await (
                subscription.connection.disconnect()
            )  # last: it takes turns of the loop, and a subscribe may come in them

    async def _read(self, subscription: _Subscription) -> None:
        reader = ReplyReader(subscription.connection)
        while True:
            messages = await reader.read()
            subscription.received = True
            for message in messages:
                if isinstance(message, ResponseError):
                    raise RedisError(str(message))  # MOVED: this channel is served elsewhere now
                self._take(subscription, message)

    def _take(self, subscription: _Subscription, message: Any) -> None:
        kind = message[0]
        if kind == b"smessage":
            pair = self._pairs.get(message[1])
            if pair is not None:
                self._on_message(*pair, message[2])
        elif kind == b"ssubscribe":
            pair = self._pairs.get(message[1])
            if pair is not None:
                self._confirm(subscription, pair)
        elif kind == b"sunsubscribe":
            pair = self._pairs.get(message[1])
            if pair is not None and pair in subscription.confirmed:
                raise RedisError("the slot of a channel moved")  # S13: counts as lost

    def _confirm(self, subscription: _Subscription, pair: Pair) -> None:
        subscription.confirmed.add(pair)
        waiting = self._wanted.get(pair)
        if waiting is not None:
            self._wanted[pair] = None
            if not waiting.done():
                waiting.set_result(None)
        if pair in self._missed:  # reported now and not when it was lost: what is read after this is complete
            self._missed.discard(pair)
            self._on_lost([pair])

    async def _ping(self, subscription: _Subscription) -> None:
        while True:
            subscription.received = False
            await subscription.send("PING")
            await asyncio.sleep(PING_EVERY)
            if not subscription.received:
                raise RedisError("nothing was received")
