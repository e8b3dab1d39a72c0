"""The embedded engine as a whole: its files, its start and stop, and what a restart keeps."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.embedded import DATABASE, EmbeddedEngine
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract.base import refused
from greenroom.testing.engine_world import EmbeddedWorld
from tests.engines.embedded.running import running


async def test_only_the_owner_may_read_the_data(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as engine:
        await engine.healthy()
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert set(modes.values()) == {0o600}, modes
        assert DATABASE in modes
        assert DATABASE + "-wal" in modes


async def test_it_says_what_it_really_promises(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        assert "synchronous FULL" in "\n".join(await engine.durability())
    async with running(":memory:") as engine:
        assert "ends with the process" in "\n".join(await engine.durability())


async def test_not_started_and_stopped_engines_say_so(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path)
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            await engine.healthy()
        with pytest.raises(ServiceUnavailableError):
            await engine.directory.applications()
        await engine.stop()
        await engine.start()
        await engine.healthy()
        await engine.stop()


async def test_s10_last_seen_after_a_crash_is_the_last_stored_beat(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await w.advance(35)
        crashed_at = w.now_ms()
        await w.step(5000)
        await w.restart()
        last_seen = (await a.record()).last_seen
        assert last_seen is not None
        assert crashed_at - 11_000 <= last_seen <= crashed_at


async def test_the_partition_clock_never_goes_back_by_more_than_a_beat(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await a.close()
        await w.advance(590)
        await w.restart()
        with refused(ErrorCode.SESSION_ENDED):
            await a.open(lease=w.lease)
        await w.advance(25)
        assert (await a.open(lease=w.lease, session_id=w.open_request().session_id)).created


async def test_event_cursors_outlive_a_restart_and_numbers_are_never_given_twice(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        await w.open("alice")
        cursor = await w.engine.outbox.newest("app-1")
        await w.step(80 * 3600)
        await w.advance(60)  # everything was dropped for its age
        await w.restart()
        await w.open("bob")
        page = await w.engine.outbox.read("app-1", cursor)
        assert {event.data["externalId"] for event in page.items} >= {"bob"}
        assert len({event.id for event in page.items}) == len(page.items)


async def test_a_cursor_from_the_future_means_that_the_file_was_put_back(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        from greenroom.engines.embedded.outbox import encode_cursor

        await w.open("alice")
        page = await w.engine.outbox.read("app-1", encode_cursor(1000))
        assert page.reset
        assert len(page.items) == 2
