"""A disk that is full, broken or cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from greenroom.codes import ErrorCode
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.model import Presence
from greenroom.testing.engine_contract.base import refused
from greenroom.testing.engine_world import EmbeddedWorld
from tests.support.powerloss import FullVFS

_names = count(1)


@pytest.fixture
def disk() -> Iterator[FullVFS]:
    vfs = FullVFS(f"full-{next(_names)}")
    yield vfs
    vfs.unregister()


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_full_disk_refuses_writes_and_recovers_by_itself(tmp_path: Path, disk: FullVFS, threaded: bool) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=threaded) as w:
        a = await w.client(name="Alice")
        before = await w.events()
        disk.full = True
        for _ in range(3):
            with refused(ErrorCode.STORAGE_FULL) as refusal:
                await w.open("bob")
            assert refusal.error is not None
            assert refusal.error.retryable
            with refused(ErrorCode.STORAGE_FULL):
                await a.update(name="Alicia")
        with refused(ErrorCode.STORAGE_FULL):
            await w.engine.healthy()
        assert (await a.record()).name == "Alice"  # reading continues
        assert await w.events() == before
        disk.full = False
        assert (await a.update(name="Alicia")).revision == 2
        bob = await w.open("bob")
        assert bob.participant.sessions == 1
        assert [event.type for event in (await w.events())[2:]] == [
            "participant.updated",
            "session.opened",
            "participant.online",
        ]


async def test_what_fills_up_in_the_middle_of_a_batch_undoes_all_of_it(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=True) as w:
        disk.full = True
        results = await asyncio.gather(*(w.open(f"user-{number}") for number in range(30)), return_exceptions=True)
        assert all(isinstance(result, GreenroomError) for result in results)
        disk.full = False
        assert await w.types() == []
        again = await asyncio.gather(*(w.open(f"user-{number}") for number in range(30)))
        assert all(result.participant.sessions == 1 for result in again)
        assert len(await w.types()) == 60


async def test_a_broken_disk_is_a_retryable_error(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name) as w:
        disk.broken = True
        with refused(ErrorCode.SERVICE_UNAVAILABLE):
            await w.open()
        disk.broken = False
        assert (await w.open()).created


async def test_a_reaper_pass_that_met_a_full_disk_is_made_up_for(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name) as w:
        await w.join("node-2", "lease-2")
        a = await w.client(node="node-2", lease="lease-2")
        w.kill("node-2")
        await w.advance(9)
        disk.full = True
        failed = 0
        for _ in range(5):
            await w.step(1)
            try:
                await w.reap()
            except ServiceUnavailableError:
                failed += 1
        assert failed >= 2
        disk.full = False
        await w.join(w.node, "lease-after-the-outage")
        await w.advance(2)
        assert (await a.record()).presence is Presence.UNREACHABLE
        done = await w.advance(45)
        assert [session.id for session in done.ended] == [a.id]


async def test_a_disk_that_cannot_even_be_read_ends_no_writer(tmp_path: Path, disk: FullVFS) -> None:
    async with EmbeddedWorld(str(tmp_path / "a.db"), vfs=disk.name, threaded=True) as w:
        await w.client()
        disk.full = disk.unreadable = True
        results = await asyncio.gather(*(w.open(f"user-{number}") for number in range(5)), return_exceptions=True)
        assert all(isinstance(result, ServiceUnavailableError) for result in results)
        disk.full = disk.unreadable = False
        assert (await w.open("bob")).participant.sessions == 1
        assert (await w.record("alice")).sessions == 1
