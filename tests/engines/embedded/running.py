"""An embedded engine for tests, started and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from greenroom.engines.embedded import EmbeddedEngine


@asynccontextmanager
async def running(path: Path | str, **options: Any) -> AsyncIterator[EmbeddedEngine]:
    """An engine on this file or directory. options: of its constructor; it does not wait for the lock."""
    engine = EmbeddedEngine(path, **({"lock_timeout": 0.0} | options))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
