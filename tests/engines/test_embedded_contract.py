"""The embedded engine passes the suite that every engine passes: in memory, on a file, and with its writer thread."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from greenroom.testing.engine_contract import EmbeddedWorld, EngineContract, World


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
