"""The echo server as outside suites start it: a process of its own."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from tests.server.raw_client import BINARY, TEXT, RawClient, close_frame, fragments, frame, handshake


@pytest.mark.slow
async def test_the_echo_server_as_a_process() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.echo", "--port", "0"),
        *("--max-message-bytes", "1048576", "--max-fragments", "2000"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"echo on ws://127\.0\.0\.1:(\d+)/\n", line)
        assert found is not None, line
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        client = RawClient(reader, writer)
        await client.send(handshake("/any/path", subprotocol="whatever"))
        response = await client.response()
        assert (response.status, response.headers["sec-websocket-protocol"]) == (101, "whatever")
        await client.send(frame(BINARY, b"\xfe" * 1_048_576), fragments(TEXT, [b"x"] * 2_000))
        assert await client.event() == ("binary", b"\xfe" * 1_048_576)
        assert await client.event() == ("text", b"x" * 2_000)
        await client.send(frame(TEXT, b"x" * 1_048_577))
        assert await client.closed_with() == ([], 1009)
        await client.send(close_frame(1000))
        writer.close()
    finally:
        process.terminate()
        await process.wait()
