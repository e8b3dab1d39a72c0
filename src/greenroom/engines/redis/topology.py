"""Where the masters are: one address, what Sentinel says, or the slots of a cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from greenroom.engines.redis.address import Address, HostPort
from greenroom.engines.redis.errors import unreachable

ANY: HostPort = ("", 0)
"""The one master, wherever it is: asked for at each connect."""


class _EndedAtOnce:
    """Whoever ends a connection here wants nothing more of it, what is under way included, and its server may stand
    still. redis-py's own end would wait for it: TLS until the server says goodbye (asyncio gives it 30 s), TCP until
    the server has taken what was written; and with `nowait` the socket stays open behind it for as long."""

    _writer: asyncio.StreamWriter | None

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Returns when the socket is closed, which takes a turn of the loop or two."""
        writer = self._writer
        if writer is not None and not writer.transport.is_closing():
            writer.transport.abort()
        with suppress(RedisTimeoutError):  # this process stood still meanwhile; it is closed all the same
            await super().disconnect(*arguments, **{**options, "nowait": False})  # type: ignore[misc]


class _Plain(_EndedAtOnce, Connection):
    """A connection over TCP."""


class _Secured(_EndedAtOnce, SSLConnection):
    """A connection over TLS."""


class Topology(ABC):
    """Finds masters and connects to them. Refreshing is shared by all who ask at the same time."""

    def __init__(self, address: Address, *, timeout: float, client_name: str) -> None:
        self.address = address
        self._timeout = timeout
        self._client_name = client_name
        self._refreshing: asyncio.Task[None] | None = None
        self._doubtful = True

    @abstractmethod
    def master_of(self, key: str) -> HostPort | None:
        """Which master serves the key; None where that is not known."""

    @abstractmethod
    def masters(self) -> Sequence[HostPort]:
        """All that are known."""

    @abstractmethod
    async def connect(self, place: HostPort) -> AbstractConnection:
        """A connection to that master. Raises redis errors."""

    @abstractmethod
    async def _refresh(self) -> None:
        """Looks again. Raises redis errors or ServiceUnavailableError."""

    def doubt(self) -> None:
        """A connection was lost: look again before the next one."""
        self._doubtful = True

    async def refresh(self, *, force: bool = False) -> None:
        """Looks for the masters again if there is a reason to."""
        if not (force or self._doubtful):
            return
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_in_time(), name="greenroom-redis-topology")
            # who waits gets the failure; where all have given up, it needs no one
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        task = self._refreshing
        try:
            await asyncio.shield(task)
        except (RedisError, OSError, TimeoutError) as error:
            raise unreachable(f"{type(error).__name__}: {error}", error) from None

    async def _refresh_in_time(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._refresh()
            self._doubtful = False
        finally:
            self._refreshing = None

    async def stop(self) -> None:
        """Ends what is under way."""
        task = self._refreshing
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def dial(self, host: str, port: int, options: dict[str, Any]) -> AbstractConnection:
        """A connection, made by redis-py; `asyncio.timeout` outside bounds it."""
        kind = _Secured if self.address.tls else _Plain
        connection = kind(
            host=host,
            port=port,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=self._timeout,
            client_name=self._client_name,
            **{name: value for name, value in options.items() if value is not None},
        )
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect()
            raise
        return connection


class Single(Topology):
    """One server."""

    def master_of(self, key: str) -> HostPort | None:
        return self.address.hosts[0]

    def masters(self) -> Sequence[HostPort]:
        return self.address.hosts[:1]

    async def connect(self, place: HostPort) -> AbstractConnection:
        return await self.dial(*place, self.address.options)

    async def _refresh(self) -> None:
        connection = await self.connect(self.address.hosts[0])
        await connection.disconnect()


class Sentinel(Topology):
    """The master that the sentinels name, asked for at each connect."""

    def master_of(self, key: str) -> HostPort | None:
        return ANY

    def masters(self) -> Sequence[HostPort]:
        return (ANY,)

    async def connect(self, place: HostPort) -> AbstractConnection:
        host, port = await self._ask()
        connection = await self.dial(host, port, self.address.options)
        try:
            role = await ask(connection, "ROLE")
            if role[0] != b"master":
                raise RedisConnectionError(f"{host}:{port} is a {role[0].decode()}, not the master")
        except BaseException:
            await connection.disconnect()
            raise
        return connection

    async def _refresh(self) -> None:
        connection = await self.connect(ANY)
        await connection.disconnect()

    async def _ask(self) -> HostPort:
        """The first answer counts; sentinels that hang must not hold up the others."""
        tasks = [asyncio.create_task(self._ask_one(place)) for place in self.address.hosts]
        error: BaseException | None = None
        try:
            for done in asyncio.as_completed(tasks):
                try:
                    return await done
                except (RedisError, OSError) as failed:
                    error = failed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise RedisConnectionError(f"no sentinel knows the master {self.address.service!r}: {error}")

    async def _ask_one(self, place: HostPort) -> HostPort:
        connection = await self.dial(*place, self.address.sentinel_options)
        try:
            found = await ask(connection, "SENTINEL", "get-master-addr-by-name", self.address.service)
            if not found:
                raise RedisConnectionError("unknown master")
            return found[0].decode(), int(found[1])
        finally:
            await connection.disconnect()


class Cluster(Topology):
    """The masters of a cluster's slots."""

    def __init__(self, address: Address, *, timeout: float, client_name: str) -> None:
        super().__init__(address, timeout=timeout, client_name=client_name)
        self._slots: list[tuple[int, int, HostPort]] = []
        self._known: dict[str, HostPort | None] = {}

    def master_of(self, key: str) -> HostPort | None:
        try:
            return self._known[key]
        except KeyError:
            slot = key_slot(key.encode())
            found = next((place for first, last, place in self._slots if first <= slot <= last), None)
            self._known[key] = found
            return found

    def masters(self) -> Sequence[HostPort]:
        return sorted({place for _, _, place in self._slots})

    async def connect(self, place: HostPort) -> AbstractConnection:
        return await self.dial(*place, self.address.options)

    async def _refresh(self) -> None:
        """From whoever answers first: known masters and the addresses that were given."""
        error: BaseException | None = None
        for place in dict.fromkeys((*self.address.hosts, *self.masters())):
            try:
                async with asyncio.timeout(self._timeout / 3):
                    self._slots = await self._ask_slots(place)
            except (RedisError, OSError, TimeoutError) as failed:
                error = failed
            else:
                self._known.clear()
                return
        raise RedisConnectionError(f"no server of the cluster answers: {error}")

    async def _ask_slots(self, place: HostPort) -> list[tuple[int, int, HostPort]]:
        connection = await self.connect(place)
        try:
            rows = await ask(connection, "CLUSTER", "SLOTS")
        finally:
            await connection.disconnect()
        found = []
        for first, last, master, *_ in rows:
            host = (master[0] or b"").decode() or place[0]
            found.append((int(first), int(last), (host, int(master[1]))))
        if not found:
            raise RedisConnectionError("the cluster has no slots")
        return found


async def ask(connection: AbstractConnection, *command: str) -> Any:
    """One command on a separate connection."""
    await connection.send_packed_command(connection.pack_command(*command), check_health=False)
    try:
        return await connection.read_response(disable_decoding=True, timeout=float("inf"))
    except ResponseError as error:
        raise RedisConnectionError(str(error)) from error


def make_topology(address: Address, *, timeout: float, client_name: str) -> Topology:
    """The one for the address."""
    kinds: dict[str, type[Topology]] = {"single": Single, "sentinel": Sentinel, "cluster": Cluster}
    return kinds[address.kind](address, timeout=timeout, client_name=client_name)
