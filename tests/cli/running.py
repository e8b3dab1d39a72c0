"""Runs the command line: in this process for speed, or as a process of its own where signals and starting matter."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from greenroom.cli import main
from greenroom.cli.exits import Exit
from tests.server.harness import RunningService, Tenant
from tests.support import processes
from tests.support.patience import PATIENCE, until

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


def run_here(*arguments: str, stdin: str = "", encoding: str = "utf-8", **environment: str) -> Ran:
    """The command line in this process and thread. Raises nothing but what is a bug in `main`."""
    return _run(_Streams(encoding), arguments, stdin, environment)


async def run(*arguments: str, stdin: str = "", encoding: str = "utf-8", **environment: str) -> Ran:
    """The same in another thread, so that a service in this loop can answer it."""
    return await asyncio.to_thread(_run, _Streams(encoding), arguments, stdin, environment)


async def as_operator(running: RunningService, *arguments: str) -> Ran:
    """A verb that finds the admin token in the service's data directory."""
    return await run(*arguments, "--url", running.url, "--data", running.data_dir)


async def as_backend(running: RunningService, tenant: Tenant, *arguments: str) -> Ran:
    """A verb with key and secret of an application."""
    return await run(*arguments, "--url", running.url, "--key", tenant.key, "--secret", tenant.secret)


class Followed:
    """What a verb that runs until it is stopped prints."""

    def __init__(self, streams: _Streams) -> None:
        self._streams = streams
        self._read = 0

    async def line(self) -> str:
        """The next line of stdout."""
        await until(lambda: self._streams.out.getvalue().count(b"\n") > self._read)
        self._read += 1
        return self._streams.out.getvalue().decode().splitlines()[self._read - 1]


@asynccontextmanager
async def following(running: RunningService, tenant: Tenant, *arguments: str) -> AsyncIterator[Followed]:
    """A verb that runs until it is stopped, as the application's backend. At the end of the block the service is
    killed, and the verb must end because of that. No other verb may run meanwhile."""
    streams = _Streams("utf-8")
    options = ("--url", running.url, "--key", tenant.key, "--secret", tenant.secret)
    verb = asyncio.create_task(asyncio.to_thread(_run, streams, (*arguments, *options), "", {}))
    try:
        yield Followed(streams)
    finally:
        await running.service.kill()
        ran = await verb
    assert (ran.code, ran.err.count("\n")) == (Exit.UNREACHABLE, 1), ran


class _Streams:
    """What stdout and stderr lead to, instead of a pipe."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.out, self.err = io.BytesIO(), io.BytesIO()


def _run(streams: _Streams, arguments: tuple[str, ...], stdin: str, environment: Mapping[str, str]) -> Ran:
    out, err = (io.TextIOWrapper(one, encoding=streams.encoding) for one in (streams.out, streams.err))
    with _surroundings(arguments, environment, stdin):
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
    out.flush()
    err.flush()
    ran = Ran(code, *(one.getvalue().decode(streams.encoding) for one in (streams.out, streams.err)))
    out.detach()
    err.detach()
    return ran


def started(*arguments: str, cwd: Path, **environment: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The command line as a process; killed at the end where it still runs."""
    variables = {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": WIDTH, **environment}
    return processes.started("-m", "greenroom", *arguments, cwd=cwd, stderr=PIPE, environment=variables)


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line of stdout."""
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
    if not line:
        assert process.stderr is not None
        raise AssertionError(f"the process has ended: {(await process.stderr.read()).decode()}")
    return line


async def end(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Ends the process with a signal: exit code and what was still said."""
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
