"""The inside of ``greenroom doctor --engine``: the engine itself is asked, no service has to run."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from greenroom.cli.discovery import DEFAULT_DATA
from greenroom.cli.exits import CliError, Exit
from greenroom.engines.base import Engine, SessionQuery
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.embedded.backup import DATABASE
from greenroom.errors import NotFoundError
from greenroom.server.api.cluster import report_of
from greenroom.server.cluster.doctor.examination import examine_engine, repair
from greenroom.server.cluster.doctor.history import history_of
from greenroom.server.config import ServerConfig, load
from greenroom.server.engine_factory import make_engine


def look(engine: str, data: Path | None, session: str | None, *, repair: bool) -> dict[str, Any]:
    """The report, or one session's life, as JSON has it. Raises GreenroomError, CliError."""
    data = data or DEFAULT_DATA
    if engine == "embedded" and not (data / DATABASE).is_file():  # an engine that starts would make it
        raise NotFoundError(f"There is no database in {data}.", hint="Name the service's data directory with --data.")
    loaded = load(None, os.environ, {"engine": engine, "data_dir": str(data)})
    work = _look(_engine(loaded.config), session, grace=loaded.config.grace, wanted=repair)
    built: dict[str, Any] = msgspec.to_builtins(asyncio.run(work))
    return built


def _engine(config: ServerConfig) -> Engine:
    if config.engine == "embedded":  # without waiting for the end of the service that has the directory
        return EmbeddedEngine(config.data_dir, lease=config.lease, lock_timeout=0.0)
    return make_engine(config)


async def _look(engine: Engine, session: str | None, *, grace: float, wanted: bool) -> object:
    await engine.start()
    try:
        if session is not None:
            page = await engine.registry.sessions(SessionQuery(session_id=session, with_timeline=True))
            if not page.items:
                raise CliError("There is no such session, or it ended more than a day ago.", Exit.NOT_FOUND)
            return history_of(page.items[0])
        examined = await examine_engine(engine, grace=grace, random_hex=lambda: secrets.token_hex(16))
        done = await repair(engine, examined.findings, grace=grace) if wanted else []
        return report_of(examined, done)
    finally:
        await engine.stop()
