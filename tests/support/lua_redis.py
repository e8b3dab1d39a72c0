"""The shipped Lua files in process: over a small Redis in memory, with the world's clock, and pub/sub that can fail.

One `LuaServer` is the Redis of a simulated cluster; each node has a `LuaStore` on it. Everything happens at once and in
order, so that a seed gives the same run twice. `LuaServer` can be away, lose its data, have a replica that takes its
place without the last writes (`lua_replica`), lose messages, and carry calls out without answering.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lupa import lua51

from greenroom.engines.redis.errors import from_reply, outcome_open, unreachable
from greenroom.engines.redis.library import library
from greenroom.engines.redis.store import FunctionCall, OnLost, OnMessage, Reply, ServerFacts
from greenroom.errors import ServiceUnavailableError
from tests.support.lua_commands import CommandError, Commands
from tests.support.lua_replica import Replica, Writes
from tests.support.lua_values import NULL, argument, from_json, to_json, to_lua, to_reply

_WRITES = frozenset(
    "DEL SETEX HSET HSETNX HDEL HINCRBY SADD SREM RPUSH RPUSHX LTRIM ZADD ZREM ZPOPMIN ZREMRANGEBYSCORE XADD".split()  # noqa: SIM905
) | {"XTRIM", "XDEL", "XSETID", "RENAME", "UNLINK", "EXPIRE"}
_KEY_AT = {"TIME": None, "XINFO": 1}
"""Which argument of a command is its key, where that is not the first."""


class _Known(NamedTuple):
    """A command that a script has used: looked up once."""

    name: str
    run: Callable[..., Any]
    key_at: int | None
    writes: bool


class LuaServer:
    """A Redis in memory that has the function library loaded.

    now_us: the time, in microseconds. is_lost: whether a message to a store is dropped, asked for each delivery.
    fate: asked before each call: None carries it out, "away" does not, "unanswered" carries it out and says nothing.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        is_lost: Callable[[str], bool] = lambda channel: False,
        fate: Callable[[FunctionCall], str | None] = lambda call: None,
    ) -> None:
        self.commands = Commands(now_us, self._publish)
        self.is_lost = is_lost
        self.fate = fate
        self.up = True
        self.calls = 0
        self.replica: Replica | None = None
        """Is notified of every write, where there is one."""
        self.takes_writes = True
        """False: "NOREPLICAS", as a master answers that has too few replicas (`min-replicas-to-write`)."""
        self._written: Writes = []
        self._stores: list[LuaStore] = []
        self._functions: dict[str, tuple[Any, bool]] = {}
        self._known: dict[bytes, _Known] = {}
        self._key = b""
        self._may_write = True
        # Lua 5.1 as in Redis, and not the faster LuaJIT: what is proven is proven of the language that runs there.
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._table = self._lua.table_from
        self._load()

    # -- what can happen to it ---------------------------------------------------------------------------------------

    def lose_everything(self) -> None:
        """It comes back empty."""
        self.commands.data.clear()
        if self.replica is not None:
            self.replica.follow()

    def snapshot(self) -> dict[bytes, Any]:
        """What it knows now."""
        return copy.deepcopy(self.commands.data)

    def go_back(self, snapshot: dict[bytes, Any]) -> None:
        """A failover to a replica that had not received what came after the snapshot."""
        self.commands.data = copy.deepcopy(snapshot)
        if self.replica is not None:
            self.replica.follow()

    def attach(self, store: LuaStore) -> None:
        """Messages go to this store too."""
        self._stores.append(store)

    def detach(self, store: LuaStore) -> None:
        if store in self._stores:
            self._stores.remove(store)

    # -- functions ---------------------------------------------------------------------------------------------------

    def call(self, call: FunctionCall, key: str) -> Reply:
        """One FCALL. Keys outside the call's tag, and writes of a function that says it has none, are errors."""
        self.calls += 1
        function, self._may_write = self._functions[call.function]
        if self._may_write and not self.takes_writes:
            raise from_reply("NOREPLICAS Not enough good replicas to write.")
        self._key = key.encode()
        table = self._table
        given = (call.argument,) if isinstance(call.argument, bytes) else call.argument
        texts = [each if type(each) is bytes else str(each).encode() for each in given]
        reply = to_reply(function(table((self._key,)), table((b"", *texts))))
        assert type(reply) is list
        if self._written and self.replica is not None:
            self.replica.sent(self._written)
            self._written = []
        return reply

    def _load(self) -> None:
        table = self._table
        redis = table({b"call": self._call, b"register_function": self._register, b"sha1hex": _sha1})
        cjson = table({b"encode": to_json, b"decode": lambda text: from_json(text, table), b"null": NULL})
        scope = self._lua.globals()
        scope[b"redis"], scope[b"cjson"] = redis, cjson
        scope[b"struct"] = table({b"unpack": split})
        _, _, code = library().code.partition("\n")
        # As in Redis, nothing of Lua's own is there while the library is loaded.
        own = {
            name: scope[name]
            for name in (b"string", b"table", b"math", b"pairs", b"ipairs", b"unpack", b"cjson", b"struct")
        }
        for name in own:
            scope[name] = None
        self._lua.execute(code.encode())
        for name, value in own.items():
            scope[name] = value

    def _register(self, given: Any) -> None:
        flags = list(given[b"flags"].values())
        name = given[b"function_name"].decode().removeprefix(f"{library().name}_")
        self._functions[name] = (given[b"callback"], b"no-writes" not in flags)

    def _call(self, name: bytes, *args: Any) -> Any:
        known = self._known.get(name) or self._learn(name)
        if known.writes and not self._may_write:
            raise CommandError(f"{name.decode()} in a function that only reads")
        for arg in args:
            if type(arg) is not bytes:
                args = tuple([each if type(each) is bytes else argument(each) for each in args])
                break
        if known.key_at is not None and not args[known.key_at].startswith(self._key):
            raise CommandError(f"key {args[known.key_at]!r} is not of {self._key!r}")
        if known.writes and self.replica is not None:
            self._written.append((known.name, args))
        return to_lua(known.run(*args), self._table)

    def _learn(self, name: bytes) -> _Known:
        command = name.decode().upper()
        known = _Known(command, self.commands.find(command), _KEY_AT.get(command, 0), command in _WRITES)
        self._known[name] = known
        return known

    # -- messages ----------------------------------------------------------------------------------------------------

    def _publish(self, channel: bytes, message: bytes) -> int:
        name = channel.decode()
        reached = 0
        for store in list(self._stores):
            if store.is_subscribed(name) and not self.is_lost(name):
                store.deliver(name, bytes(message))
                reached += 1
        return reached

    def publish(self, channel: str, data: bytes) -> None:
        self._publish(channel.encode(), data)


def split(form: bytes, text: bytes) -> tuple[bytes, ...]:
    """struct.unpack of Redis, of as many texts as the form has an `s` for, each with a null behind it."""
    assert set(form) == {ord("s")}
    *texts, _ = text.split(b"\0", len(form))
    assert len(texts) == len(form)
    return tuple(texts)


def _sha1(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


class LuaStore:
    """Implements `Store` on a `LuaServer`: one node's way to it."""

    def __init__(self, server: LuaServer, *, prefix: str = "greenroom") -> None:
        self.server = server
        self.reachable = True
        """False: cut off from the engine; it receives no messages either."""
        self._prefix = prefix
        self._subscribed: dict[str, tuple[str, str]] = {}
        self._begun: set[asyncio.Task[None]] = set()
        self._on_message: OnMessage = lambda tag, channel, data: None
        self._on_lost: OnLost = lambda pairs: None

    @property
    def waits(self) -> bool:
        return False

    async def start(self) -> None:
        self._check()
        self.server.attach(self)

    async def stop(self) -> None:
        self.server.detach(self)

    async def call(self, call: FunctionCall) -> Reply:
        self._check()
        fate = self.server.fate(call)
        if fate == "away":
            raise unreachable("simulated")
        reply = self.server.call(call, self._key(call.tag))
        if fate == "unanswered":
            raise outcome_open("simulated")
        return reply

    def begin(self, call: FunctionCall, answer: Callable[[Any], None]) -> None:
        async def run() -> None:
            try:
                reply: Any = await self.call(call)
            except Exception as error:
                reply = error
            answer(reply)

        task = asyncio.get_running_loop().create_task(run())
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Reply | ServiceUnavailableError]:
        replies: list[Reply | ServiceUnavailableError] = []
        for number, call in enumerate(calls):
            if number % 16 == 15:
                await asyncio.sleep(0)  # others have their turn, as between two reads of a socket
            try:
                replies.append(await self.call(call))
            except ServiceUnavailableError as error:
                replies.append(error)
        return replies

    async def publish(self, tag: str, channel: str, data: bytes) -> None:
        self._check()
        self.server.publish(self._key(tag, channel), data)

    def listen(self, on_message: OnMessage, on_lost: OnLost) -> None:
        self._on_message, self._on_lost = on_message, on_lost

    async def subscribe(self, tag: str, channel: str) -> None:
        self._check()
        self._subscribed[self._key(tag, channel)] = (tag, channel)

    async def unsubscribe(self, tag: str, channel: str) -> None:
        self._subscribed.pop(self._key(tag, channel), None)

    def subscriptions(self) -> Sequence[tuple[str, str]]:
        return tuple(self._subscribed.values())

    async def renew_subscription(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._check()
        self._on_lost(tuple(pairs))

    def reconnected(self) -> None:
        """The connection was lost and is back: everything that was subscribed may have missed something."""
        if self._subscribed:
            self._on_lost(tuple(self._subscribed.values()))

    def is_subscribed(self, channel: str) -> bool:
        return self.reachable and channel in self._subscribed

    def deliver(self, channel: str, data: bytes) -> None:
        """In the next turn of the loop, as from a socket."""
        tag, name = self._subscribed[channel]
        asyncio.get_running_loop().call_soon(self._on_message, tag, name, data)

    async def facts(self) -> tuple[ServerFacts, ...]:
        self._check()
        return (ServerFacts(address="memory", version="7.0.0", maxmemory_policy="noeviction"),)

    def _key(self, tag: str, channel: str = "") -> str:
        key = f"{self._prefix}:{{{tag}}}"
        return f"{key}:{channel}" if channel else key

    def _check(self) -> None:
        if not (self.reachable and self.server.up):
            raise unreachable("simulated")
