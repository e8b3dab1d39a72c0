"""Many at once over three nodes: opens of one identity under each policy, and two tenants that must not see each
other."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import EventPage, KickParticipant
from greenroom.errors import GreenroomError, SessionEndedError, TooManySessionsError
from greenroom.model import Event, Presence, SessionPolicy, participant_id_of
from tests.cluster.crowd import Crowd, Member, crowd_at
from tests.cluster.nodes import PATIENT, Cluster
from tests.support.redis_server import single

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.usefixtures("patient")]

AT_ONCE = 200
LIMIT = 5
ROUNDS = [
    pytest.param(2, id="short"),
    pytest.param(100, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        made = Cluster.of(redis.url, Path(directory), **PATIENT)
        try:
            yield made.start()
        finally:
            made.end()


async def _policy(crowd: Crowd, policy: SessionPolicy) -> None:
    settings = msgspec.structs.replace(crowd.application.settings, policy=policy)
    await crowd.tenants.change(crowd.application.key, lambda app: msgspec.structs.replace(app, settings=settings))
    await asyncio.sleep(2.5)  # the next beat of each node reads it


async def _try(member: Member) -> GreenroomError | None:
    try:
        await member.open(timeout=40.0)
    except SessionEndedError as error:
        # On a slow machine: opened, replaced by a later one, and only then answered, by a repeat of the open (S2).
        return None if error.end_reason == "replaced" else error
    except GreenroomError as error:
        return error
    return None


async def _round(crowd: Crowd, number: int, watcher: Member, device: str | None) -> tuple[list[Member], int]:
    """200 SDKs open one identity. Those with a session when all is quiet, and how many were refused."""
    identity = f"many-{number}"
    await watcher.watch([identity])
    members = [crowd.member(identity, device) for _ in range(AT_ONCE)]
    errors = await asyncio.gather(*(_try(one) for one in members))
    refused = [one for one in errors if one is not None]
    assert {type(one) for one in refused} <= {TooManySessionsError}, {repr(one) for one in refused}
    wanted = {one.id for one in await crowd.sessions() if one.external_id == identity}
    async with asyncio.timeout(20):
        while _held(members) != wanted:  # noqa: ASYNC110 - the nodes' word is on its way
            await asyncio.sleep(0.1)
    return [one for one in members if one.sdk.session.is_open()], len(refused)


def _held(members: list[Member]) -> set[str | None]:
    return {one.sdk._runner.machine.session_id for one in members if one.sdk.session.is_open()}


def _one_ordered_change(crowd: Crowd, watcher: Member, number: int) -> None:
    """The watcher saw the identity come, and never go, in rising versions."""
    seen = watcher.seen[participant_id_of(crowd.application.namespace, f"many-{number}")]
    assert seen[0].presence is Presence.ONLINE
    assert {one.presence for one in seen} == {Presence.ONLINE}
    assert all(before.version < after.version for before, after in pairwise(seen))


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(
    ("policy", "device", "survivors", "refusals"),
    [
        pytest.param(SessionPolicy(LIMIT, "reject", "allow"), None, LIMIT, AT_ONCE - LIMIT, id="reject"),
        pytest.param(SessionPolicy(LIMIT, "replace_oldest", "allow"), None, LIMIT, 0, id="replace_oldest"),
        pytest.param(SessionPolicy(LIMIT, "reject", "replace"), "phone", 1, 0, id="same_device"),
    ],
)
async def test_200_opens_of_one_identity_leave_exactly_the_promised_survivors(
    cluster: Cluster, policy: SessionPolicy, device: str | None, survivors: int, refusals: int, rounds: int
) -> None:
    async with crowd_at(cluster, seed=401) as (crowd,):
        await _policy(crowd, policy)
        watcher = crowd.member("watcher")
        await watcher.open()
        for number in range(rounds):
            left, refused = await _round(crowd, number, watcher, device)
            assert (len(left), refused) == (survivors, refusals)
            assert all(one.ends in ([], ["replaced"]) for one in crowd.members), Counter(
                reason for one in crowd.members for reason in one.ends
            )
            assert not [one for one in crowd.members if one.reopened]
            _one_ordered_change(crowd, watcher, number)
            await asyncio.gather(*(one.end() for one in crowd.members if one is not watcher))
            crowd.members[:] = [watcher]
        events = [one for one in await crowd.events() if one.participant_id != watcher_id(crowd)]
        assert not _not_once(events)
        kinds = Counter(one.type for one in events)
        assert kinds["session.opened"] == kinds["session.ended"] == rounds * (AT_ONCE - refusals)
        assert kinds["participant.online"] == kinds["participant.offline"] == rounds


def _not_once(events: list[Event]) -> dict[str, list[tuple[str, int]]]:
    """Sessions that did not begin once and end once, with all their events and when these were."""
    received: dict[str, list[tuple[str, int]]] = {}
    for one in events:
        if one.session_id is not None:
            received.setdefault(one.session_id, []).append((one.id, one.at))
    ends = ("opened", "ended")
    return {
        session: events
        for session, events in received.items()
        if Counter(name for name, _ in events if name.endswith(ends)) != Counter(f"{session}:{end}" for end in ends)
    }


def watcher_id(crowd: Crowd) -> str:
    return participant_id_of(crowd.application.namespace, "watcher")


async def test_two_applications_with_the_same_external_ids_see_nothing_of_each_other(cluster: Cluster) -> None:
    async with crowd_at(cluster, seed=402, apps=2) as (one, other):
        await asyncio.gather(one.come(40, watchers=40, watched=40), other.come(40, watchers=40, watched=40))
        one.live(60.0)
        other.live(60.0)
        for step in range(10):
            await asyncio.sleep(0.3)
            who = participant_id_of(one.application.namespace, f"p{one.dice.randrange(20, 40):04d}")
            request = KickParticipant(app=one.application.key, participant_id=who, reason=f"out {step}")
            with suppress(GreenroomError):
                await one.engine.registry.restrict(request)
        await one.calm()
        await other.calm()
        await other.settled()
        other.nobody_was_lost()
        for crowd, stranger in ((one, other), (other, one)):
            await _knows_nothing_of(crowd, stranger)


def _is_of_whole_room(event: Event) -> bool:
    """An event of a room that concerns no participant, such as its end."""
    return event.type.startswith("room.") and not event.participant_id


async def _knows_nothing_of(crowd: Crowd, stranger: Crowd) -> None:
    """No read, event, count or sight of one reveals the other."""
    theirs = {participant_id_of(stranger.application.namespace, f"p{number:04d}") for number in range(40)}
    own = {participant_id_of(crowd.application.namespace, f"p{number:04d}") for number in range(40)}
    assert not theirs & own
    events = await crowd.events()
    assert {event.participant_id for event in events if not _is_of_whole_room(event)} <= own
    assert {session.participant_id for session in await crowd.sessions()} <= own
    for member in crowd.members:
        assert set(member.seen) <= own
        for watch in member.watches:
            assert set(watch.participants) <= own
    strange = ParticipantQuery(app=crowd.application.key, ids=sorted(theirs), limit=40)
    assert all(record.version == 0 for record in (await crowd.engine.registry.participants(strange)).items)
    listed = await crowd.engine.registry.participants(ParticipantQuery(app=crowd.application.key, limit=200))
    assert {record.id for record in listed.items} <= own
    page: EventPage = await crowd.engine.outbox.read(crowd.application.key, None, 1)
    assert page.items[0].app == crowd.application.key
    names = {record.name for record in listed.items}
    assert names
    assert len(listed.items) == 40
