"""Webhooks of a cluster: the node that delivers is killed, and another one goes on where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from greenroom.server.webhooks.worker import CLAIM
from greenroom.testing.redis_server import single
from greenroom.tokens import API_SCOPES, mint_api_token
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import ISSUER, Cluster, NodeProcess
from tests.server.webhooks.receiver import Got, Receiver, answer, receiver

pytestmark = [pytest.mark.slow, pytest.mark.serial]

PEOPLE = 30


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        nodes = Cluster.of(redis.url, Path(directory), webhook_http="allowed", webhook_allowed_networks="127.0.0.0/8")
        try:
            yield nodes.start()
        finally:
            nodes.end()


async def _register(crowd: Crowd, node: NodeProcess, there: Receiver) -> None:
    token = mint_api_token(
        crowd.tenants.ring, issuer=ISSUER, app=crowd.application.key, scopes=tuple(API_SCOPES), now=time.time(),
        random_bytes=os.urandom,
    ).token  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{node.url}/v1/webhooks", json={"url": there.url}, headers=headers) as reply,
    ):
        assert reply.status == 201, await reply.text()


def _sender(cluster: Cluster, there: Receiver) -> NodeProcess:
    """The node whose process has the other end of the receiver's connections."""
    for node in [one for one in cluster.nodes if one.is_running]:
        sockets = {os.readlink(entry) for entry in Path(f"/proc/{node.pid}/fd").iterdir() if entry.is_symlink()}
        for line in Path(f"/proc/{node.pid}/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            if int(parts[2].rpartition(":")[2], 16) == there.port and f"socket:[{parts[9]}]" in sockets:
                return node
    raise AssertionError("nobody sends")


async def test_a_node_that_delivers_is_killed_and_another_goes_on_in_order_and_without_a_loss(cluster: Cluster) -> None:
    taken = answer(200)

    async def slowly(got: Got, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        await taken(got, writer)

    async with receiver(slowly) as there, crowd_at(cluster, seed=501) as (crowd,):
        await _register(crowd, cluster.nodes[0], there)
        await crowd.come(PEOPLE, watchers=0)
        await there.wait_for(20, 30)
        crowd.live(pace=30.0)
        await asyncio.sleep(1.0)
        sender = _sender(cluster, there)
        os.kill(sender.pid, signal.SIGKILL)
        await asyncio.sleep(3.0)
        await crowd.calm()
        await crowd.settled(40)
        whole = [event.id for event in await crowd.events()]
        async with asyncio.timeout(CLAIM + 30):
            while len({got.event["id"] for got in there.got}) < len(whole):  # noqa: ASYNC110 - from other processes
                await asyncio.sleep(0.2)
        _in_order_and_complete(there, whole)
        assert _sender(cluster, there) is not sender


def _in_order_and_complete(there: Receiver, whole: list[str]) -> None:
    """Each event came; of one participant in order, but for what the killed node had sent and not written down."""
    got = [one.event for one in there.got]
    assert {one["id"] for one in got} == set(whole)
    first: dict[str, list[str]] = {}
    for one in got:
        told = first.setdefault(one["participantId"], [])
        if one["id"] not in told:
            told.append(one["id"])
    place = {event_id: number for number, event_id in enumerate(whole)}
    for participant_id, told in first.items():
        assert told == sorted(told, key=place.__getitem__), participant_id
