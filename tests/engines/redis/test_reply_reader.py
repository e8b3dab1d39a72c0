"""Replies as they come over a connection: whole ones in order, however the bytes are cut."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from greenroom.engines.redis.reply_reader import ReplyReader

BYTES = b"+OK\r\n$3\r\na\r\n\r\n*2\r\n:7\r\n*-1\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n"
REPLIES = [b"OK", b"a\r\n", [7, None], None, "no", b""]


def reading() -> tuple[ReplyReader, asyncio.StreamReader]:
    """A connection that is set up, and what its server sends."""
    connection = Connection()
    connection._reader = asyncio.StreamReader()
    return ReplyReader(cast(AbstractConnection, connection)), connection._reader


def plain(replies: list[Any]) -> list[Any]:
    """Errors by what they say."""
    return [str(one) if isinstance(one, ResponseError) else one for one in replies]


async def test_all_that_came_is_read_at_once_and_an_error_is_one_of_the_replies() -> None:
    reader, stream = reading()
    stream.feed_data(BYTES)
    assert plain(await reader.read()) == REPLIES


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_a_reply_that_comes_in_pieces_is_read_when_it_is_whole(size: int) -> None:
    reader, stream = reading()
    found: list[Any] = []

    async def read() -> None:
        while len(found) < len(REPLIES):
            found.extend(await reader.read())

    task = asyncio.create_task(read())
    for at in range(0, len(BYTES), size):
        stream.feed_data(BYTES[at : at + size])
        await asyncio.sleep(0)
    await task
    assert plain(found) == REPLIES


@pytest.mark.parametrize("before", [b"", b"$5\r\nhal"])
async def test_a_server_that_closes_is_an_error_also_in_the_middle_of_a_reply(before: bytes) -> None:
    reader, stream = reading()
    stream.feed_data(before)
    stream.feed_eof()
    with pytest.raises(RedisConnectionError, match="closed the connection"):
        await reader.read()


async def test_an_error_that_is_about_the_connection_ends_it() -> None:
    reader, stream = reading()
    stream.feed_data(b"-ERR max number of clients reached\r\n")
    with pytest.raises(RedisConnectionError, match="max number of clients"):
        await reader.read()


async def test_bytes_that_are_no_redis_are_an_error() -> None:
    reader, stream = reading()
    stream.feed_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(InvalidResponse):
        await reader.read()
