"""What an open costs while a webhook receiver is away: nothing that an app's users would notice.

Opens without an endpoint, with one that refuses connections, and with one that takes them and never answers, against
fresh services in turns. Each open and close makes four events; those before the measured ones fill what a worker holds.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.process import Server
from benchmarks.servers import running
from greenroom.bench.minting import api_token

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

AWAY = ("refuses", "hangs")
ROUNDS = 3
SEEN = 1.5
"""Seconds after which a new endpoint has its worker."""
_ALLOWED = {"GREENROOM_WEBHOOK_HTTP": "allowed", "GREENROOM_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}


@contextmanager
def away(how: str) -> Iterator[int]:
    """The port of a receiver that refuses, or hangs: the kernel takes connections and nobody reads from them."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        if how == "hangs":
            there.listen(64)
        yield there.getsockname()[1]


async def _subscribe(server: Server, port: int) -> None:
    ready = server.ready
    async with aiohttp.ClientSession(ready["url"]) as session:
        headers = {"Authorization": f"Bearer {await api_token(session, ready['appKey'], ready['appSecret'])}"}
        body = {"url": f"http://127.0.0.1:{port}/hook"}
        async with session.post("/v1/webhooks", json=body, headers=headers) as reply:
            reply.raise_for_status()


def job(bench: Bench) -> None:
    """Each kind of receiver in turn."""
    for number in range(ROUNDS):
        for how in ("none", *AWAY):
            with running(bench.world, "greenroom", env=_ALLOWED) as subject, away(how) as port:
                if how != "none":
                    asyncio.run(_subscribe(subject.server, port))
                    time.sleep(SEEN)
                bench.against(subject, f"outage-{how}", "greenroom", number, bench.storm(64))


__all__ = ["AWAY", "away", "job"]
