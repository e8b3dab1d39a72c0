"""Promise 1 with a real process and a real SIGKILL, 2,000 opens in flight: five times, in `make soak` twenty."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.engines.base import NodeBeat, SessionQuery
from greenroom.engines.clock import ManualClock
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.testing.engine_world import EmbeddedWorld
from tests.engines.embedded.open_until_killed import IN_FLIGHT

HERE = Path(__file__).parent


def _open_until_killed(directory: Path, round_number: int, chance: random.Random) -> dict[int, str]:
    """Which opens were acknowledged (number to session id) before the process was killed."""
    root = HERE.parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    with subprocess.Popen(
        [sys.executable, str(HERE / "open_until_killed.py"), str(directory), str(round_number)],
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        enough = chance.randrange(IN_FLIGHT)
        lines: list[bytes] = []
        while len(lines) < enough:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged: dict[int, str] = {}
    for line in lines:
        if line.endswith(b"\n") and line != b"done\n":
            number, session_id = line.split()
            acknowledged[int(number)] = session_id.decode()
    return acknowledged


async def _check(directory: Path, round_number: int, acknowledged: dict[int, str]) -> int:
    """Each acknowledged open is there; repeating every open makes no second session. How many were there."""
    engine = EmbeddedEngine(directory, clock=ManualClock(), threaded=False)
    await engine.start()
    for session_id in acknowledged.values():
        page = await engine.registry.sessions(SessionQuery(session_id=session_id))
        assert page.items, f"round {round_number}: the acknowledged {session_id} is missing"
    await engine.registry.beat(NodeBeat(node="node-1", boot="b", lease="checking"))
    world = EmbeddedWorld()
    world.lease, world.salt = "checking", 1000 + round_number
    there = 0
    for number in random.Random(round_number).sample(range(IN_FLIGHT), 100):
        user, open_id = f"user-{round_number}-{number}", f"open-{round_number}-{number}"
        again = await engine.registry.open(world.open_request(user, open_id=open_id))
        assert again.participant.sessions == 1
        if number in acknowledged:
            assert not again.created
            assert again.session.id == acknowledged[number]
            assert again.participant.name == f"name {number}"
        there += not again.created
    await engine.stop()
    return there


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_promise_1_no_acknowledged_open_is_missing_after_sigkill(tmp_path: Path, rounds: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged = 0
    for round_number in range(rounds):
        found = _open_until_killed(tmp_path / "data", round_number, chance)
        asyncio.run(_check(tmp_path / "data", round_number, found))
        acknowledged += len(found)
        # A file of 40,000 sessions would only make the test slower.
        if round_number % 5 == 4:
            for file in (tmp_path / "data").iterdir():
                file.unlink()
    assert acknowledged > 0
