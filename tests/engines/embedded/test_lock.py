"""One process uses a data directory at a time (S10)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import ServiceUnavailableError
from tests.engines.embedded.running import running


async def test_s10_a_second_process_gets_an_error_that_names_who_has_the_directory(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(ServiceUnavailableError, match=str(os.getpid())):
            await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_s10_the_lock_is_waited_for(tmp_path: Path) -> None:
    first = EmbeddedEngine(tmp_path)
    await first.start()
    second = EmbeddedEngine(tmp_path, lock_timeout=30.0)
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(0)
    assert not starting.done()
    await first.stop()
    await starting
    await second.stop()


async def test_s10_it_is_said_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("greenroom.engines.embedded.lock._SAY_SO_AFTER", 0.0)
    async with running(tmp_path):
        with pytest.raises(ServiceUnavailableError):
            await EmbeddedEngine(tmp_path, lock_timeout=0.01).start()
    assert [f"process {os.getpid()} uses" in record.getMessage() for record in caplog.records] == [True]


async def test_s10_that_the_lock_file_exists_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "greenroom.lock").write_text("12345\n")
    async with running(tmp_path):
        pass
