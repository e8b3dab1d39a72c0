"""A cluster of real processes: ``greenroom serve`` several times over, on one Redis, on loopback.

Every process is ended by its pid. What a node logs is kept and shown when a test fails.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE
from tests.support.redis_server import free_ports, wait_for

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "admin-token-of-the-cluster-tests"
MASTER_KEY = "5e" * 32
ISSUER = "http://greenroom.cluster"
TIMERS: Mapping[str, float] = {
    "ping_interval": 3.0,
    "pong_timeout": 2.0,
    "grace": 30.0,
    "grace_going_away": 2.0,
    "grace_unconfirmed": 15.0,
    "lease": 6.0,
    "renew_interval": 1.0,
    "fence_after": 3.5,
    "compare_interval": 3.0,
    "drain_limit": 15.0,
    "restart_after": 1.0,
}
"""Shorter than the defaults, so that a test takes seconds; in the same proportions, but for graces: no test waits for
their end, and nobody is to vanish because a busy machine brings him back late."""


PATIENT: Mapping[str, Any] = {
    "ping_interval": 20.0,
    "pong_timeout": 15.0,
    "lease": 20.0,
    "renew_interval": 2.0,
    "fence_after": 15.0,
}
"""Nobody is to vanish for want of a processor: for tests of something else. With the fixture `patient`."""


class NodeProcess:
    """One node. host: where it listens; prefix: what the process is started with (``ip netns exec …``)."""

    def __init__(
        self,
        name: str,
        engine: str,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        settings: Mapping[str, object] = TIMERS,
    ) -> None:
        self.name = name
        self.engine = engine
        self.host = host
        (self.port,) = free_ports(1)
        self.log = directory / f"{name}.log"
        self.module = "greenroom"
        """What is run: another one is another version."""
        self._directory = directory
        self._prefix = tuple(prefix)
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start; `wait` returns when it is ready."""
        settings = {
            "node": self.name,
            "engine": self.engine,
            "host": self.host,
            "port": self.port,
            "data_dir": self._directory / self.name,
            "master_key": MASTER_KEY,
            "admin_token": ADMIN_TOKEN,
            "issuer": ISSUER,
            "log_format": "text",
            "connections_per_address": 20_000,  # a whole crowd comes from loopback
            **self._settings,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
        environment |= {f"GREENROOM_{name.upper()}": str(value) for name, value in settings.items()}
        environment["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", self.module, "serve", "--json"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Returns when it is ready. Raises AssertionError with its log."""
        try:
            wait_for(self._is_ready, self.name, timeout=2 * PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready\n{self.tail()}") from None

    def start(self) -> None:
        """Start, and wait."""
        self.spawn()
        self.wait()

    def _is_ready(self) -> bool:
        assert self.is_running, f"{self.name} has ended\n{self.tail()}"
        return self.ask("/readyz") == 200

    def ask(self, path: str) -> int:
        """The status of a GET; 0 where nobody answers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: it drains and ends by itself."""
        self._signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit code, when it has ended. Raises AssertionError with its log."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended\n{self.tail()}") from None

    def end(self) -> None:
        """Whatever its state: gone."""
        if self.is_running:
            self.resume()
            self.kill()

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        if not self.log.exists():
            return f"--- {self.name} logged nothing"
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- log of {self.name}", *text[-lines:]])

    def _signal(self, number: int) -> None:
        if self.is_running:
            os.kill(self.pid, number)


class Cluster:
    """The nodes, in their order."""

    def __init__(self, nodes: Sequence[NodeProcess]) -> None:
        self.nodes = list(nodes)

    @classmethod
    def of(cls, engine: str, directory: Path, count: int = 3, **settings: object) -> Cluster:
        """Nodes node1, node2, … on one engine. They are not started."""
        return cls(
            [
                NodeProcess(f"node{number + 1}", engine, directory, settings={**TIMERS, **settings})
                for number in range(count)
            ]
        )

    def start(self) -> Cluster:
        """All at once: they find out among themselves who makes the first signing key."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait()
        return self

    def wait(self) -> None:
        """Returns when all are ready again."""
        for node in self.nodes:
            node.wait()

    def repair(self) -> None:
        """Whatever a test did to them: all run, and are ready."""
        for node in self.nodes:
            node.resume()
            if not node.is_running:
                node.spawn()
        self.wait()

    def end(self) -> None:
        for node in self.nodes:
            node.end()

    def logs(self) -> str:
        return "\n".join(node.tail() for node in self.nodes)

    def rolling_restart(self) -> float:
        """SIGTERM each, and start it again when it has ended. The longest that one took to end, in seconds."""
        longest = 0.0
        for node in self.nodes:
            at = time.monotonic()
            node.terminate()
            assert node.ended() == 0, node.tail()
            longest = max(longest, time.monotonic() - at)
            node.start()
        return longest
