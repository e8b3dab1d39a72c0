"""Webhooks of a cluster: the node that delivers is killed, and another one continues where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.server.webhooks.worker import CLAIM, reader_of
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import Cluster, NodeProcess
from tests.server.webhooks.receiver import Got, Receiver, answer, receiver
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import single

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

PEOPLE = 30
SLOW = 0.4
"""Seconds that the receiver takes for an event while the first node delivers: it falls behind."""
WAITS = 6.5
"""Seconds; one `participant.updated` of a participant comes 5 s after the last, with the next pass of the reaper."""
Event = dict[str, Any]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        nodes = Cluster.of(redis.url, Path(directory), webhook_http="allowed", webhook_allowed_networks="127.0.0.0/8")
        try:
            yield nodes.start()
        finally:
            nodes.end()


def _sender(cluster: Cluster, there: Receiver) -> NodeProcess:
    """The node whose process has the other end of the receiver's connections."""
    for node in [one for one in cluster.nodes if one.is_running]:
        sockets = {os.readlink(entry) for entry in Path(f"/proc/{node.pid}/fd").iterdir() if entry.is_symlink()}
        for line in Path(f"/proc/{node.pid}/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            if int(parts[2].rpartition(":")[2], 16) == there.port and f"socket:[{parts[9]}]" in sockets:
                return node
    raise AssertionError("nobody sends")


async def _left(crowd: Crowd, endpoint: str) -> set[str]:
    """Ids of the events that are not written down as delivered."""
    cursor = await crowd.engine.outbox.acknowledged(crowd.application.key, reader_of(endpoint))
    page = await crowd.engine.outbox.read(crowd.application.key, cursor, 1000)
    return {event.id for event in page.items}


async def _has_fallen_behind(crowd: Crowd, there: Receiver) -> bool:
    return len(await crowd.events()) > len(there.got) + 40


async def _all_events(crowd: Crowd) -> list[str]:
    """Ids of all events, once the changes of profiles that wait for their turn have had it."""
    found = [event.id for event in await crowd.events()]
    while True:
        await asyncio.sleep(WAITS)
        before, found = found, [event.id for event in await crowd.events()]
        if found == before:
            return found


async def test_a_node_that_delivers_is_killed_and_another_goes_on_in_order_and_without_a_loss(cluster: Cluster) -> None:
    taken, pace = answer(200), SLOW

    async def slowly(got: Got, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(pace)
        await taken(got, writer)

    async with receiver(slowly) as there, crowd_at(cluster, seed=501) as (crowd,):
        endpoint = (await crowd.call(cluster.nodes[0], "POST", "/v1/webhooks", {"url": there.url}))["endpoint"]["id"]
        await crowd.come(PEOPLE, watchers=0)
        await there.wait_for(20)
        crowd.live(pace=30.0)
        await until(lambda: _has_fallen_behind(crowd, there))
        sender = _sender(cluster, there)
        os.kill(sender.pid, signal.SIGKILL)
        left, held = await _left(crowd, endpoint), {event.id for event in await crowd.events()}
        await until(lambda: not there.connections)
        before = [one.event for one in there.got]  # the killed node's claim is good for a while: nobody else sends
        assert len(held - {one["id"] for one in before}) > 20, "the node had sent all it held: nothing is tested"
        pace = 0.0
        await crowd.calm()
        await crowd.settled()
        whole = await _all_events(crowd)
        await until(lambda: len({got.event["id"] for got in there.got}) >= len(whole), CLAIM + PATIENCE)
        after = [one.event for one in there.got[len(before) :]]
        _in_order_and_complete(before, after, whole)
        again = {one["id"] for one in before} & {one["id"] for one in after}
        print(f"{len(again)} of {len(whole)} events came twice, {len(left)} were not written down")
        assert again <= left, "what was written down as delivered came again"  # docs/reference/webhooks.md
        assert _sender(cluster, there) is not sender


def _in_order_and_complete(before: list[Event], after: list[Event], whole: list[str]) -> None:
    """Each event came; before the kill and after it each one came once, and a participant's in order."""
    assert {one["id"] for one in before + after} == set(whole)
    place = {event_id: number for number, event_id in enumerate(whole)}
    for part in (before, after):
        assert len({one["id"] for one in part}) == len(part)
        received: dict[str, list[int]] = {}
        for one in part:
            received.setdefault(one["participantId"], []).append(place[one["id"]])
        assert all(numbers == sorted(numbers) for numbers in received.values()), received
