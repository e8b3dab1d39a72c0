"""A process for `test_kill.py`: opens 2,000 sessions at once, says which were acknowledged, and is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import sys

from greenroom.engines.base import NodeBeat
from greenroom.engines.clock import ManualClock
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.testing.engine_world import EmbeddedWorld

IN_FLIGHT = 2000


async def main(directory: str, round_number: int) -> None:
    engine = EmbeddedEngine(directory, clock=ManualClock())
    await engine.start()
    lease = f"lease-{round_number}"
    await engine.registry.beat(NodeBeat(node="node-1", boot=lease, lease=lease))
    world = EmbeddedWorld()
    world.lease, world.salt = lease, 1 + round_number

    async def open_one(number: int) -> None:
        request = world.open_request(
            f"user-{round_number}-{number}", open_id=f"open-{round_number}-{number}", name=f"name {number}"
        )
        attached = await engine.registry.open(request)
        os.write(1, f"{number} {attached.session.id}\n".encode())

    os.write(1, b"ready\n")
    await asyncio.gather(*(open_one(number) for number in range(IN_FLIGHT)))
    os.write(1, b"done\n")
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
