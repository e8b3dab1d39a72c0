"""Clients lose their connections at once, and resume."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from greenroom.bench.client import Target, close_many
from greenroom.bench.reconnect import CrowdSession, assembled, reconnect, resume_once, resume_paced
from tests.bench.target import target


@pytest.mark.slow
async def test_all_are_back_at_their_first_attempt() -> None:
    async with target(4) as place:
        found = await reconnect(place, count=4)
    assert (found.scenario, found.operations, found.errors) == ("reconnect", 4, {})
    assert found.parameters == {"count": 4, "sessions": 4}
    assert (found.more["back"], found.more["meanAttempts"], found.more["maxAttempts"]) == (4, 1.0, 1)
    assert found.more["fromDialing"]["max"] >= found.latency["max"], "the handshake comes on top"
    assert [count for _, count in found.timeline] == [1, 2, 3, 4]


async def test_a_session_is_resumed_with_a_new_secret_each_time() -> None:
    errors: Counter[str] = Counter()
    async with target(1) as place:
        (member,), devices = await assembled(place, [0], errors)
        used = {member.secret}
        for _ in range(2):
            member.attempts += 1
            wait, device = await resume_once(place, member, errors)
            assert (wait, member.following) == (0.0, "")
            assert device is not None
            devices.append(device)
            used.add(member.secret)
        await close_many(devices)
    assert (len(used), errors) == (3, {})


async def test_who_learns_that_the_session_has_ended_gives_up() -> None:
    errors: Counter[str] = Counter()
    async with target(1) as place:
        (member,), (device,) = await assembled(place, [0], errors)
        await device.close()
        back = await resume_paced(place, member, errors, time.perf_counter(), random.Random(1))
    assert (back, member.ended, member.attempts) == (None, True, 1)
    assert errors == {"refused: Session_ended": 1, "gave up": 1}


async def test_where_nobody_answers_the_attempt_has_failed() -> None:
    errors: Counter[str] = Counter()
    member = CrowdSession(0, "s", "x")
    wait, device = await resume_once(Target("127.0.0.1", 1, ["t"], ["anna"]), member, errors)
    assert (wait, device, member.ended) == (0.0, None, False)
    assert [name.startswith("failed: ConnectionRefusedError") for name in errors] == [True]
    assert member.following, "the next attempt names the same secret"
