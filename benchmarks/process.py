"""Servers under test: started on one core, looked at from outside."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
CPUCLOCK_SCHED = 2


def cores() -> tuple[int, int]:
    """(the server's, the generator's). The same one where this process may use one only."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1] if len(allowed) > 1 else allowed[0]


SERVER_CORE, GENERATOR_CORE = cores()


def raise_file_limit() -> None:
    """As many open files as this process may have: a connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class StartError(Exception):
    """A server did not come up. The text is the end of what it wrote."""


class Server:
    """A child process on the servers' core. url: where it will listen; None: it prints a line of JSON when it is up,
    which is `ready`."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None,
        core: int | None = SERVER_CORE, limit: float = 30.0, url: str | None = None,
    ) -> None:  # fmt: skip
        self.log = log
        self._command, self._env, self._cwd, self._core, self._limit = command, dict(env or {}), cwd, core, limit
        self._out: IO[bytes] = log.open("wb")

        def pin() -> None:
            raise_file_limit()
            if core is not None:
                os.sched_setaffinity(0, {core})

        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._out, stdin=subprocess.DEVNULL, preexec_fn=pin,
            env={**os.environ, **(env or {})}, cwd=cwd or ROOT, start_new_session=True,
        )  # fmt: skip
        self.ready = self._wait(limit) if url is None else self._dial(url, limit)

    def again(self, env: Mapping[str, str]) -> Server:
        """The same program once more, after its end, with more in its environment."""
        log = self.log.with_suffix(".again.log")
        return Server(self._command, log=log, env={**self._env, **env}, cwd=self._cwd, core=self._core,
                      limit=self._limit)  # fmt: skip

    def _dial(self, url: str, limit: float) -> dict[str, Any]:
        split = urlsplit(url)
        end = time.monotonic() + limit
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection((split.hostname, split.port), 1).close()
                return {"url": url}
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise StartError(f"{self.log.name}: {self.log.read_text(errors='replace')[-2000:]}")

    def _wait(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        text = b""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            text += self.process.stdout.read() or b""
            for line in text.split(b"\n")[:-1]:
                if line.startswith(b"{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise StartError(f"{self.log.name}: {self.log.read_text(errors='replace')[-2000:]}")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def cpu(self) -> float:
        """Seconds of CPU it has used, user and system, all threads, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | CPUCLOCK_SCHED)

    def memory(self) -> int:
        """Resident bytes (Rss of smaps_rollup)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self, limit: float = 15.0) -> None:
        """SIGTERM, and SIGKILL where that is not enough. Harmless when repeated."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(limit)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._out.close()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stop()


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


PYTHON = sys.executable
"""The generator's. Servers run on `environment.python()`."""


__all__ = [
    "CPUCLOCK_SCHED",
    "GENERATOR_CORE",
    "PYTHON",
    "ROOT",
    "SERVER_CORE",
    "Server",
    "StartError",
    "free_port",
    "raise_file_limit",
]
