"""Programs as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def started(
    *arguments: str,
    cwd: Path,
    program: str | Path = sys.executable,
    stdin: int | None = None,
    stderr: int | None = None,
    environment: Mapping[str, str],
) -> AsyncIterator[Process]:
    """The process, whose stdout can be read; without what this environment sets of Greenroom. It is killed at the end
    where it still runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=stdin, stdout=PIPE, stderr=stderr, cwd=cwd, env={**kept, **environment}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
