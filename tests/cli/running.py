"""Runs the command line: in this process for speed, or as a process of its own where signals and starting matter."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from greenroom.cli import main
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
WIDTH = "200"


@dataclass(frozen=True)
class Ran:
    """How the command line ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of JSON on stdout."""
        assert self.code == 0, self
        assert self.out.count("\n") == 1, self
        return json.loads(self.out)


@contextmanager
def _surroundings(arguments: tuple[str, ...], environment: Mapping[str, str], stdin: str) -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    with (
        mock.patch.object(sys, "argv", ["greenroom", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        mock.patch.dict(os.environ, {**kept, "COLUMNS": WIDTH, **environment}, clear=True),
    ):
        yield


def run_here(*arguments: str, stdin: str = "", **environment: str) -> Ran:
    """The command line in this process and thread. Raises nothing but what is a bug in `main`."""
    out, err = io.StringIO(), io.StringIO()
    with _surroundings(arguments, environment, stdin):
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


async def run(*arguments: str, stdin: str = "", **environment: str) -> Ran:
    """The same in another thread, so that a service in this loop can answer it."""
    return await asyncio.to_thread(run_here, *arguments, stdin=stdin, **environment)


@asynccontextmanager
async def started(*arguments: str, cwd: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command line as a process; killed at the end where it still runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "greenroom",
        *arguments,
        stdout=pipe,
        stderr=pipe,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": WIDTH, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line of stdout."""
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
    if not line:
        assert process.stderr is not None
        raise AssertionError(f"the process has ended: {(await process.stderr.read()).decode()}")
    return line
