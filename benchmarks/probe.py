"""How long the service's loop stands still, seen from outside: one more client that pings every 10 ms.

Its answer comes late by what the loop was busy with, by what else the loop had to do first, and by what this process
waited for its own core: an upper bound of the stall. Run beside the generator, as a process of its own, so that the
generator's loop is not measured with it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.process import GENERATOR_CORE, PYTHON, ROOT
from benchmarks.servers import RunningServer
from greenroom.bench.dialect import GreenroomDialect
from greenroom.bench.figures import Latencies
from greenroom.bench.wire import frame

EVERY = 0.010
"""Seconds."""
_HEAD = (
    "GET /v1/session HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Z3JlZW5yb29tIGJlbmNoIQ==\r\n"
    "Sec-WebSocket-Protocol: greenroom.v1\r\n\r\n"
)
_PING, _PONG = b"\x89\0", frame(b"", 0x8A)
"""The service's, every 15 s, and what it waits for."""


@contextmanager
def probing(subject: RunningServer, number: int, found: dict[str, Any]) -> Iterator[None]:
    """Pings beside what runs inside; `found` gets percentiles in ms. number: of the participant it opens with."""
    process = subprocess.Popen(
        [PYTHON, "-m", "benchmarks.probe", subject.server.ready["url"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {GENERATOR_CORE}), start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(subject.target.tokens[number].encode() + b"\n")
    process.stdin.flush()
    try:
        yield
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
        found.update(json.loads(out or b"{}"))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def main() -> None:
    """Reads a token from stdin, pings until SIGTERM, prints the percentiles."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    split = urlsplit(sys.argv[1])
    token = sys.stdin.readline().strip()
    dialect = GreenroomDialect()
    latencies = Latencies()
    with socket.create_connection((split.hostname, split.port), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_HEAD.format(host=split.hostname, port=split.port).encode())
        connection.recv(65_536)
        connection.sendall(frame(dialect.hello(token, 0)))
        connection.recv(65_536)
        ping = frame(dialect.echo())
        while not stop.is_set():
            at = time.perf_counter()
            connection.sendall(ping)
            data = b""
            while b'"id":2' not in data:
                data = connection.recv(65_536)
                if not data:
                    sys.exit("the service closed the probe's connection")
                if _PING in data:
                    connection.sendall(_PONG)
            took = time.perf_counter() - at
            latencies.add(took)
            # A stall of 1 s is met by one ping, where there should have been a hundred: they count as well.
            for missed in range(1, int(took / EVERY)):
                latencies.add(took - missed * EVERY)
            time.sleep(max(0.0, EVERY - took))
        connection.sendall(frame((1000).to_bytes(2), 0x88))
    print(json.dumps({**latencies.summary(), "count": len(latencies)}))


if __name__ == "__main__":
    main()
