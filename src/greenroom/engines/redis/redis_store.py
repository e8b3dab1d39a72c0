"""The store on a real Redis: which master serves which tag, one connection and one subscription for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection

from greenroom.engines.redis.address import Address, HostPort
from greenroom.engines.redis.errors import RefusedError, unreachable
from greenroom.engines.redis.library import library
from greenroom.engines.redis.pipelined_connection import (
    Answer,
    Command,
    MissingFunctionError,
    PipelinedConnection,
    RedirectError,
)
from greenroom.engines.redis.store import FunctionCall, OnLost, OnMessage, Reply, ServerFacts
from greenroom.engines.redis.subscriber import Subscriber
from greenroom.engines.redis.topology import Topology, make_topology
from greenroom.errors import ServiceUnavailableError

REPEATS = 4
"""How often a call that was not carried out (slot moved, library missing) is tried."""
_PAUSE = 0.05


class RedisStore:
    """Implements `Store`.

    timeout: seconds for connecting and for one call. wait_replicas: see `Address`. clock_us: tests alone
    set it: the time, in microseconds, in place of Redis TIME.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 2.0,
        clock_us: Callable[[], int] | None = None,
        client_name: str = "greenroom",
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._clock_us = clock_us
        self._topology: Topology = make_topology(address, timeout=timeout, client_name=client_name)
        self._connections: dict[tuple[HostPort, bool], PipelinedConnection] = {}
        self._subscriber = Subscriber(self._topology, self._key, timeout=timeout)
        self._library = library()
        self._repeats: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self._topology.refresh(force=True)

    async def stop(self) -> None:
        await self._subscriber.stop()
        repeats = list(self._repeats)
        for repeat in repeats:
            repeat.cancel()
        await asyncio.gather(*repeats, return_exceptions=True)
        connections, self._connections = list(self._connections.values()), {}
        await asyncio.gather(*(connection.close() for connection in connections))
        await self._topology.stop()

    @property
    def waits(self) -> bool:
        return self._address.wait_replicas > 0

    # -- calls -------------------------------------------------------------------------------------------------------

    async def call(self, call: FunctionCall) -> Reply:
        try:
            reply: Reply = await self._submit(call)
        except (RedirectError, MissingFunctionError) as error:
            return await self._repeat(call, error)
        return reply

    def begin(self, call: FunctionCall, answer: Answer) -> None:
        def answered(reply: Any) -> None:
            if isinstance(reply, RedirectError | MissingFunctionError):
                task = asyncio.get_running_loop().create_task(self._repeat_for(call, reply, answer))
                self._repeats.add(task)
                task.add_done_callback(self._repeats.discard)
            else:
                answer(reply)

        place, command = self._command(call)
        if place is None:
            answered(RedirectError("no master is known"))
        else:
            self._connection(place, waits=call.durable).begin(command, answered, durable=call.durable)

    async def _repeat_for(self, call: FunctionCall, error: Exception, answer: Answer) -> None:
        try:
            reply: Any = await self._repeat(call, error)
        except ServiceUnavailableError as failure:
            reply = failure
        except asyncio.CancelledError:
            answer(unreachable("the engine is stopped"))
            raise
        answer(reply)

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Reply | ServiceUnavailableError]:
        futures = [self._submit(call) for call in calls]
        try:
            return await asyncio.gather(*map(self._reply_or_error, calls, futures))
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # nobody else will look at it

    async def _reply_or_error(self, call: FunctionCall, future: asyncio.Future[Any]) -> Reply | ServiceUnavailableError:
        try:
            reply: Reply = await future
        except (RedirectError, MissingFunctionError) as error:
            try:
                return await self._repeat(call, error)
            except ServiceUnavailableError as refused:
                return refused
        except ServiceUnavailableError as error:
            return error
        return reply

    def _key(self, tag: str, channel: str = "") -> str:
        key = f"{self._address.prefix}:{{{tag}}}"
        return f"{key}:{channel}" if channel else key

    def _submit(self, call: FunctionCall) -> asyncio.Future[Any]:
        place, command = self._command(call)
        if place is None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(RedirectError("no master is known"))
            return future
        return self._connection(place, waits=call.durable).submit(command, durable=call.durable)

    def _command(self, call: FunctionCall) -> tuple[HostPort | None, Command]:
        """Where it goes, None where no master is known, and what is sent."""
        key = self._key(call.tag)
        now = "" if self._clock_us is None else self._clock_us()
        given = call.argument
        texts = (given,) if isinstance(given, bytes) else given
        return self._topology.master_of(key), ("FCALL", f"{self._library.name}_{call.function}", 1, key, now, *texts)

    def _connection(self, place: HostPort, *, waits: bool = False) -> PipelinedConnection:
        """Calls that wait for replicas have a connection of their own: beats must not wait behind them."""
        key = (place, waits and self._address.wait_replicas > 0)
        connection = self._connections.get(key)
        if connection is None:

            async def connect() -> AbstractConnection:
                return await self._topology.connect(place)

            connection = self._connections[key] = PipelinedConnection(
                connect,
                timeout=self._timeout,
                wait_replicas=self._address.wait_replicas,
                wait_timeout=min(self._timeout / 4, 1.0),
                lost=self._topology.doubt,
            )
        return connection

    async def _repeat(self, call: FunctionCall, error: Exception) -> Reply:
        """What was certainly not carried out is tried again, elsewhere or with the library."""
        for _ in range(REPEATS):
            if isinstance(error, MissingFunctionError):
                await self._load(call.tag)
            else:
                await self._topology.refresh(force=True)
            try:
                reply: Reply = await self._submit(call)
            except (RedirectError, MissingFunctionError) as again:
                error = again
                await asyncio.sleep(_PAUSE)
            else:
                return reply
        raise unreachable(str(error) or "the function library cannot be loaded", error)

    async def _load(self, tag: str) -> None:
        place = self._topology.master_of(self._key(tag))
        if place is None:
            return
        try:
            await self._connection(place).submit(("FUNCTION", "LOAD", self._library.code))
        except RefusedError as error:
            if "already exists" not in error.detail:
                raise
        except RedirectError:
            pass

    # -- messages ----------------------------------------------------------------------------------------------------

    async def publish(self, tag: str, channel: str, data: bytes) -> None:
        place = self._topology.master_of(self._key(tag))
        if place is None:
            raise unreachable("no master is known")
        try:
            await self._connection(place).submit(("SPUBLISH", self._key(tag, channel), data))
        except RedirectError as error:
            raise unreachable(str(error), error) from None

    def listen(self, on_message: OnMessage, on_lost: OnLost) -> None:
        self._subscriber.listen(on_message, on_lost)

    async def subscribe(self, tag: str, channel: str) -> None:
        await self._subscriber.subscribe(tag, channel)

    async def unsubscribe(self, tag: str, channel: str) -> None:
        await self._subscriber.unsubscribe(tag, channel)

    def subscriptions(self) -> Sequence[tuple[str, str]]:
        return self._subscriber.wanted()

    async def renew_subscription(self, pairs: Sequence[tuple[str, str]]) -> None:
        await self._subscriber.renew(pairs)

    # -- facts -------------------------------------------------------------------------------------------------------

    async def facts(self) -> tuple[ServerFacts, ...]:
        await self._topology.refresh(force=not self._topology.masters())
        return tuple([await self._facts_of(place) for place in self._topology.masters()])

    async def command(self, place: HostPort, *command: str | int) -> Any:
        """A plain command at one master, for checks and tests."""
        try:
            return await self._connection(place).submit(command)
        except RedirectError as error:
            raise unreachable(str(error), error) from None

    async def _facts_of(self, place: HostPort) -> ServerFacts:
        info = _parse_info(await self.command(place, "INFO", "server", "replication"))
        memory = _parse_info(await self.command(place, "INFO", "memory"))
        config = await self._config(place)
        return ServerFacts(
            address=f"{place[0]}:{place[1]}",
            version=info.get("redis_version", "0"),
            append_only=_maybe(config.get("appendonly"), lambda value: value == "yes"),
            append_fsync=config.get("appendfsync"),
            min_replicas_to_write=_maybe(config.get("min-replicas-to-write"), int),
            min_replicas_max_lag=_maybe(config.get("min-replicas-max-lag"), int),
            maxmemory_policy=config.get("maxmemory-policy") or memory.get("maxmemory_policy"),
            replicas=int(info.get("connected_slaves", "0")),
        )

    async def _config(self, place: HostPort) -> dict[str, str]:
        """Empty where CONFIG is forbidden (managed services)."""
        names = ("appendonly", "appendfsync", "min-replicas-to-write", "min-replicas-max-lag", "maxmemory-policy")
        try:
            flat = await self.command(place, "CONFIG", "GET", *names)
        except RefusedError:
            return {}
        texts = [value.decode() for value in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))


def _maybe(value: str | None, convert: Callable[[str], Any]) -> Any:
    return None if value is None else convert(value)


def _parse_info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}
