"""What comes over a connection: all replies of one read at once, where redis-py awaits each of them."""

from __future__ import annotations

from typing import Any

from hiredis import Reader
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

READ_BYTES = 65_536
_NONE_YET = object()


class ReplyReader:
    """Takes over the reading of a connection that is set up. Its last reply has been read."""

    def __init__(self, connection: AbstractConnection) -> None:
        stream = connection._reader
        assert stream is not None
        self._read = stream.read
        self._parser = Reader(
            protocolError=InvalidResponse, replyError=connection._parser.parse_error, notEnoughData=_NONE_YET
        )

    async def read(self) -> list[Any]:
        """At least one reply, in order; an error reply is a ResponseError. Raises RedisConnectionError where nothing
        more comes, OSError."""
        parser = self._parser
        found: list[Any] = []
        while not found:
            data = await self._read(READ_BYTES)
            if not data:
                raise RedisConnectionError("the server closed the connection")
            parser.feed(data)
            while (reply := parser.gets()) is not _NONE_YET:
                if isinstance(reply, RedisConnectionError):
                    raise reply
                found.append(reply)
        return found
