"""A Redis of our own, for peers and for the Redis engine: every write is in its log before it is answered."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.process import CPUCLOCK_SCHED, GENERATOR_CORE, free_port


class Store:
    """redis-server with `appendfsync always`, the durability the embedded engine has. core: the generator's, unless
    nothing but Redis is measured."""

    def __init__(self, folder: Path, core: int = GENERATOR_CORE) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.port = free_port()
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "appendonly": "yes",
                   "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}  # fmt: skip
        command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip
        self._wait()

    @property
    def url(self) -> str:
        """For the Redis engine."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _wait(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if self._ask(b"PING").startswith(b"+PONG"):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("redis-server did not start")

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        return time.clock_gettime((~self.process.pid << 3) | CPUCLOCK_SCHED)

    def memory(self) -> int:
        """Bytes that it says it uses (`used_memory`)."""
        return int(self._ask(b"INFO memory").partition(b"used_memory:")[2].partition(b"\r")[0])

    def _ask(self, command: bytes) -> bytes:
        """The answer to a short command, as it came."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(65_536)

    def stop(self) -> None:
        """Harmless when repeated."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


__all__ = ["Store"]
