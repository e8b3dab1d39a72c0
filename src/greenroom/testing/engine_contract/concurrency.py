"""Calls at the same time, callers that give up, and a random life: promises 3 and 5."""

from __future__ import annotations

import asyncio
import random

from greenroom.core.requests import Attached
from greenroom.errors import GreenroomError
from greenroom.model import Presence, SessionPolicy
from greenroom.testing.engine_contract.base import ContractBase
from greenroom.testing.engine_contract.walk import Walk
from greenroom.testing.engine_world import APP


class ConcurrencyContract(ContractBase):
    """Many at once are as if one after the other."""

    async def test_simultaneous_opens_of_one_identity_leave_the_promised_survivors(self) -> None:
        for when_full, same_device in (("replace_oldest", "allow"), ("reject", "allow"), ("reject", "replace")):
            async with self.make_world() as w:
                policy = SessionPolicy(max_sessions=3, when_full=when_full, same_device=same_device)
                requests = [w.open_request(policy=policy, device_id="d") for _ in range(20)]
                results = await asyncio.gather(
                    *(w.engine.registry.open(request) for request in requests), return_exceptions=True
                )
                opened = [result for result in results if isinstance(result, Attached)]
                record = await w.record()
                survivors = 1 if same_device == "replace" else 3
                assert record.sessions == survivors
                assert len(opened) == (3 if (when_full, same_device) == ("reject", "allow") else 20)
                assert all(isinstance(result, Attached | GreenroomError) for result in results)
                assert sum(len(result.replaced) for result in opened) == len(opened) - survivors
                types = await w.types()
                assert types.count("session.opened") - types.count("session.ended") == survivors
                assert types.count("participant.online") == 1

    async def test_simultaneous_repeats_of_one_open_make_one_session(self) -> None:
        async with self.make_world() as w:
            request = w.open_request()
            results = await asyncio.gather(*(w.engine.registry.open(request) for _ in range(10)))
            assert sum(result.created for result in results) == 1
            assert sorted(result.session.generation for result in results) == list(range(1, 11))
            assert (await w.record()).sessions == 1

    async def test_a_caller_that_gives_up_harms_nobody(self) -> None:
        async with self.make_world() as w:
            tasks = [asyncio.ensure_future(w.open(f"user-{number}")) for number in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                if isinstance(result, Attached):
                    assert (await w.record(f"user-{number}")).sessions == 1
                else:
                    assert isinstance(result, asyncio.CancelledError), result
                    assert number % 2 == 0
                    assert (await w.record(f"user-{number}")).sessions in (0, 1)
            assert all(isinstance(result, Attached) for result in results[1::2])

    async def test_updates_at_the_same_time_are_all_counted(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            await asyncio.gather(*(a.update(name=f"name {number}") for number in range(20)))
            await w.wait_for_delivery()
            assert (await a.record()).revision == 20
            versions = [record.version for record in w.listener.records(a.participant_id)]
            assert versions == sorted(set(versions))

    async def test_a_random_life_keeps_every_promise(self) -> None:
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")  # noqa: T201 - shown by the test runner where the case fails
        async with self.make_world() as w:
            walk = Walk(w, random.Random(seed))
            for _ in range(walk.steps):
                await walk.step()
            await walk.finish()
            assert (await w.record()).presence is Presence.OFFLINE
