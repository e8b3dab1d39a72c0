"""The embedded engine passes the suite that every engine passes: in memory, on a file, and with its writer thread."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.testing.engine_contract import EmbeddedWorld, EngineContract, World
from tests.support.row_cache import watch_rows


@pytest.fixture(autouse=True)
def rows_in_memory_are_those_of_the_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every commit of the whole suite."""
    stale = watch_rows(monkeypatch)
    yield
    assert stale == []


class FileWorld(EmbeddedWorld):
    """On a file of its own, which goes with it."""

    def __init__(self, *, threaded: bool) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="greenroom-")
        super().__init__(str(Path(self._directory.name) / "data"), threaded=threaded)

    async def stop(self) -> None:
        await super().stop()
        self._directory.cleanup()


class TestInMemory(EngineContract):
    def make_world(self) -> World:
        return EmbeddedWorld()


class TestOnAFile(EngineContract):
    def make_world(self) -> World:
        return FileWorld(threaded=False)


@pytest.mark.slow
class TestWithItsThread(EngineContract):
    def make_world(self) -> World:
        return FileWorld(threaded=True)
