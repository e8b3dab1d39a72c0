"""The service as a process of its own on the embedded engine, for trials that kill it, restart it, or weigh it.

async with service(tmp_path) as running:
    await running.stop(signal.SIGKILL)
    await running.start()  # the same data, the same port
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from greenroom.bench.dialect import GreenroomDialect
from greenroom.bench.wire import Dialer, loopback_sources
from tests.cli.running import ROOT
from tests.support.patience import PATIENCE

CPUCLOCK_SCHED = 2
CROWD = {
    # A crowd from one machine; all else is default.
    "GREENROOM_TRUSTED_PROXIES": "127.0.0.0/8",
    "GREENROOM_OPENS_PER_SECOND": "1000000",
}


class ServiceProcess:
    """Starts on the same port and data each time. log: what it wrote to stderr, all starts together."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.data = folder / "data"
        self.log_file = folder / "service.log"
        self.url = ""
        self.key = ""
        self.secret = ""
        self.port = 0
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises AssertionError."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
        log = self._log = self.log_file.open("ab")
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom", "serve", "--dev", "--json"),
            *("--port", str(self.port), "--data", str(self.data)),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            env={
                **kept, "PYTHONPATH": str(ROOT / "src"), "GREENROOM_ISSUER": "http://trial.test",
                "GREENROOM_LOG_LEVEL": "warning", "GREENROOM_LOG_FORMAT": "json", **self._settings,
            },
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line, f"the service has ended: {self.log[-2000:]}"
        ready = json.loads(line)
        self.url, self.key, self.secret = ready["url"], ready["appKey"], ready["appSecret"]
        self.port = int(self.url.rpartition(":")[2])

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal, and wait until it is gone. Harmless when repeated."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(how)
        await asyncio.wait_for(process.communicate(), PATIENCE)
        if self._log is not None:
            self._log.close()
            self._log = None
        self._process = None

    def kill(self) -> None:
        """SIGKILL, this instant; `stop` waits for it."""
        assert self._process is not None
        self._process.kill()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        assert self._process.returncode is None, f"the service has ended: {self.log[-2000:]}"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that was logged, from warnings on."""
        return self.log_file.read_text(errors="replace")

    def cpu(self) -> float:
        """Seconds of CPU it has used since it started, all threads, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | CPUCLOCK_SCHED)

    def rss(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no Rss in smaps_rollup")

    def dialer(self) -> Dialer:
        """Light WebSocket connections to it, from several addresses of loopback."""
        dialect = GreenroomDialect()
        return Dialer(
            "127.0.0.1", (self.port,), path=dialect.path, subprotocol=dialect.subprotocol,
            sources=loopback_sources("127.0.0.1"),
        )  # fmt: skip


@asynccontextmanager
async def service(folder: Path, **settings: Any) -> AsyncIterator[ServiceProcess]:
    """A service that runs, and is stopped at the end. settings: fields of ServerConfig."""
    named = {f"GREENROOM_{name.upper()}": str(value) for name, value in settings.items()}
    running = ServiceProcess(folder, {**CROWD, **named})
    await running.start()
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            await running.stop(signal.SIGKILL)


__all__ = ["ServiceProcess", "service"]
