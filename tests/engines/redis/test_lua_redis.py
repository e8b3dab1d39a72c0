"""The small Redis in memory does what a real one does, and the Lua world watches over the functions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from lupa import lua51

from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.pipelined_connection import PipelinedConnection
from greenroom.engines.redis.store import FunctionCall
from greenroom.errors import ServiceUnavailableError
from tests.engines.redis.test_pipelined_connection import connection_to
from tests.engines.redis.worlds import LuaWorld
from tests.support.lua_commands import CommandError, Commands
from tests.support.lua_redis import LuaServer
from tests.support.lua_values import to_json
from tests.support.redis_server import RedisServer, single

UNORDERED = {"SMEMBERS", "HVALS", "HGETALL"}
STEPS = 3000


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


def random_command(chance: random.Random) -> tuple[str, ...]:
    """One of the commands that the functions use, on few keys with few members."""

    def member() -> str:
        return chance.choice(["a", "b", "b\x00c", "bb", "é", "zz"])

    def number() -> str:
        return str(chance.choice([0, 1, 2, 2, 3, 1_700_000_000_000, -5]))

    def bound(*signs: str) -> str:
        return chance.choice(signs) + number()

    def lex() -> str:
        return chance.choice(["[", "("]) + member()

    n = chance.choice(["1", "2"])
    page = ("LIMIT", "0", chance.choice(["0", "1", "3", "-1"])) if chance.random() < 0.5 else ()
    stream = "1-" + chance.choice(["0", "1", "3", "7"])
    return chance.choice(
        [
            ("HSET", "h" + n, member(), number(), member(), number()),
            ("HSETNX", "h" + n, member(), number()),
            ("HGET", "h" + n, member()),
            ("HMGET", "h" + n, member(), member()),
            ("HDEL", "h" + n, member(), member()),
            ("HEXISTS", "h" + n, member()),
            ("HGETALL", "h" + n),
            ("HVALS", "h" + n),
            ("HINCRBY", "h" + n, member(), number()),
            ("SADD", "s" + n, member(), member()),
            ("SREM", "s" + n, member(), member()),
            ("SCARD", "s" + n),
            ("SMEMBERS", "s" + n),
            ("RPUSH", "l" + n, member(), member()),
            ("LRANGE", "l" + n, "0", "-1"),
            ("LRANGE", "l" + n, "-2", "5"),
            ("LTRIM", "l" + n, "-3", "-1"),
            ("ZADD", "z" + n, number(), member(), number(), member()),
            ("ZADD", "z" + n, chance.choice(["-inf", "0", "1.5"]), member()),
            ("ZADD", "z" + n, "NX", number(), member()),
            ("ZREM", "z" + n, member(), member()),
            ("ZSCORE", "z" + n, member()),
            ("ZCARD", "z" + n),
            ("ZRANGE", "z" + n, "0", "2"),
            ("ZRANGE", "z" + n, "0", "-1", "WITHSCORES"),
            ("ZRANGEBYSCORE", "z" + n, chance.choice(["-inf", bound("", "(")]), bound("", "("), "WITHSCORES", *page),
            ("ZRANGEBYSCORE", "z" + n, bound("", "("), chance.choice(["+inf", bound("", "(")]), *page),
            ("ZREMRANGEBYSCORE", "z" + n, "-inf", bound("", "(")),
            ("ZPOPMIN", "z" + n),
            ("ZADD", "x" + n, "0", member(), "0", member()),
            ("ZRANGEBYLEX", "x" + n, chance.choice(["-", lex()]), chance.choice(["+", lex()]), *page),
            ("ZREM", "x" + n, member()),
            ("XADD", "t" + n, "1-*", "e", member()),
            ("XLEN", "t" + n),
            ("XRANGE", "t" + n, "-", "+", "COUNT", "2"),
            ("XRANGE", "t" + n, stream, "+", "COUNT", "3"),
            ("XRANGE", "t" + n, "-", "+"),
            ("XTRIM", "t" + n, "MINID", "=", stream),
            ("DEL", chance.choice("hslzxt") + n, chance.choice("hslzx") + n)
            if chance.random() < 0.2
            else ("DEL", "none"),
            ("EXISTS", chance.choice("hslzxt") + n),
        ]
    )


def comparable(command: tuple[str, ...], reply: Any) -> Any:
    if command[0] in UNORDERED:
        pairs = zip(reply[::2], reply[1::2], strict=True) if command[0] == "HGETALL" else reply
        return sorted(pairs)
    return [comparable(("",), each) for each in reply] if isinstance(reply, list) else reply


async def real_reply(link: PipelinedConnection, command: tuple[str, ...]) -> Any:
    try:
        return comparable(command, await link.submit(command))
    except ServiceUnavailableError:
        return "error"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_it_answers_as_a_real_redis_does(server: RedisServer, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    commands = Commands(lambda: 0, lambda channel, message: 0)
    server.execute("FLUSHALL")
    async with connection_to(server) as link:
        for step in range(STEPS):
            command = random_command(chance)
            try:
                mine = comparable(command, commands.execute(command[0], *(part.encode() for part in command[1:])))
            except CommandError:
                mine = "error"
            theirs = await real_reply(link, command)
            assert mine == theirs, f"step {step}: {command}"


def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CommandError, match="GETSET"):
        Commands(lambda: 0, lambda channel, message: 0).execute("GETSET", b"k", b"v")


async def test_a_key_of_another_partition_is_an_error() -> None:
    async with LuaWorld() as w:
        w.server._key = b"greenroom:{p1}"
        with pytest.raises(CommandError, match="is not of"):
            w.server._call(b"HGET", b"greenroom:{p2}:x", b"f")


def test_a_function_that_says_it_only_reads_must_not_write() -> None:
    server = LuaServer(lambda: 1_700_000_000_000_000)
    function, _ = server._functions["probe"]
    server._functions["probe"] = (function, False)
    with pytest.raises((CommandError, lua51.LuaError), match="only reads"):
        server.call(FunctionCall("probe", "p1", argument()), "greenroom:{p1}")


def test_s21_a_number_that_lua_would_shorten_is_shortened_here_too() -> None:
    """So that a function that forgets to format one fails in process as it would in Redis."""
    assert to_json(1_795_221_272_468_529) == b"1.7952212724685e+15"
    assert to_json(12) == b"12"
