"""Real Redis servers on loopback for tests: single, with the durable profile, a Sentinel trio, a cluster.

Each is a process of ours on a free port, with a directory of its own, ended by its pid. Nothing outlives the test.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis as redis_client

from tests.support.certificates import self_signed
from tests.support.patience import PATIENCE

PORTS = range(22_000, 32_000)
"""Below those that Linux hands out by itself (``ip_local_port_range``)."""
DURABLE = (
    "--appendonly", "yes", "--appendfsync", "always", "--min-replicas-to-write", "1", "--min-replicas-max-lag", "1",
)  # fmt: skip
"""The durable profile (S16)."""


def free_ports(count: int, *, also: int = 0) -> list[int]:
    """Ports on which nobody listens; with ``also`` the port that much higher is free too (cluster bus).

    None that the kernel hands out by itself: until the server has it, a test beside this one could be given it.
    """
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = random.SystemRandom().choice(PORTS) - also
            try:
                for each in {port, port + also}:
                    held.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
            found.append(port)
    return found


class RedisServer:
    """One redis-server process. ``stop`` and ``start`` again keep its directory, and so its data where it has AOF."""

    def __init__(self, directory: Path, port: int, options: Sequence[str] = (), *, sentinel: bool = False) -> None:
        self.directory = directory
        self.port = port
        self._options = list(options)
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> RedisServer:
        """Returns when it answers."""
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("redis-server is not installed (make system)")
        command = [program]
        if self._sentinel:
            command += [str(self.directory / "sentinel.conf"), "--sentinel"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        command += ["--logfile", str(self.directory / "log"), "--daemonize", "no"]
        if not self._sentinel:
            command += ["--save", "", "--repl-diskless-sync-delay", "0", *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(self.answers, f"redis-server on port {self.port}")
        return self

    def answers(self) -> bool:
        """Whether it answers a PING."""
        try:
            return self.execute("PING") in (True, b"PONG")
        except redis_client.RedisError:
            return False

    def execute(self, *command: str | int) -> object:
        """One command on a connection of its own."""
        with redis_client.Redis(
            "127.0.0.1", self.port, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
        ) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it lives, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)


def wait_for(ready: Callable[[], bool], what: str, *, timeout: float = PATIENCE) -> None:
    """Returns when ``ready`` says so. Raises TimeoutError."""
    last = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > last:
            raise TimeoutError(f"{what} was not ready in {timeout:.0f} s")
        time.sleep(0.05)


@contextmanager
def single(*options: str) -> Iterator[RedisServer]:
    """One server. ``options`` as on redis-server's command line, e.g. ``"--appendonly", "yes"``."""
    with tempfile.TemporaryDirectory(prefix="greenroom-redis-") as directory:
        server = RedisServer(Path(directory) / "redis", free_ports(1)[0], options)
        try:
            yield server.start()
        finally:
            server.kill()


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS at a port of its own."""

    server: RedisServer
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self.certificate}"


@contextmanager
def secured(directory: Path) -> Iterator[Secured]:
    """One server with a certificate of its own, which goes into the directory."""
    certificate = self_signed(directory)
    (port,) = free_ports(1)
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(certificate))
    with single(*options, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no") as running:
        yield Secured(running, port, certificate)


class SentinelTrio:
    """A master, a replica of it, and three sentinels that watch them."""

    def __init__(self, servers: list[RedisServer], sentinels: list[RedisServer]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/0?service=mymaster&wait_replicas=1"

    def master(self) -> RedisServer:
        """The one that the sentinels name."""
        found = self.sentinels[0].execute("SENTINEL", "get-master-addr-by-name", "mymaster")
        assert isinstance(found, list | tuple)
        port = int(found[1])
        return next(server for server in self.servers if server.port == port)


@contextmanager
def sentinel_trio(*options: str, down_after_ms: int = 1500) -> Iterator[SentinelTrio]:
    """Two servers with ``options`` (default: the durable profile) under three sentinels."""
    options = options or DURABLE
    with tempfile.TemporaryDirectory(prefix="greenroom-sentinel-") as directory, ExitStack() as stack:
        root = Path(directory)
        ports = free_ports(5)
        first = RedisServer(root / "a", ports[0], options)
        second = RedisServer(root / "b", ports[1], [*options, "--replicaof", f"127.0.0.1 {ports[0]}"])
        for server in (first, second):
            stack.callback(server.kill)
            server.start()
        sentinels = [_sentinel(root / f"s{n}", port, ports[0], down_after_ms) for n, port in enumerate(ports[2:])]
        for sentinel in sentinels:
            stack.callback(sentinel.kill)
            sentinel.start()
        trio = SentinelTrio([first, second], sentinels)
        wait_for(lambda: _is_watched(trio), "the sentinels")
        yield trio


def _sentinel(directory: Path, port: int, master: int, down_after_ms: int) -> RedisServer:
    directory.mkdir(parents=True)
    lines = (
        f"sentinel monitor mymaster 127.0.0.1 {master} 2",
        f"sentinel down-after-milliseconds mymaster {down_after_ms}",
        "sentinel failover-timeout mymaster 5000",
        "sentinel parallel-syncs mymaster 1",
    )
    (directory / "sentinel.conf").write_text("\n".join(lines) + "\n")
    return RedisServer(directory, port, sentinel=True)


def _is_watched(trio: SentinelTrio) -> bool:
    """All sentinels know each other and the replica, and the replica is in step."""
    for sentinel in trio.sentinels:
        info = sentinel.execute("INFO", "sentinel")
        text = str(info)
        if "slaves" not in text or "'slaves': 1" not in text or "'sentinels': 3" not in text:
            return False
    return _has_replica(trio.servers[0])


class Cluster:
    """Masters that share the slots, and their replicas if there are any, in the same order."""

    def __init__(self, servers: list[RedisServer], replicas: list[RedisServer]) -> None:
        self.servers = servers
        self.replicas = replicas

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (*self.servers, *self.replicas))
        return f"redis+cluster://{hosts}"

    def flush(self) -> None:
        """Empties all of them."""
        for server in self.servers:
            server.execute("FLUSHALL")


@contextmanager
def cluster(*options: str, masters: int = 3, replicated: bool = False) -> Iterator[Cluster]:
    """A cluster whose slots are all served when this returns. replicated: each master has a replica, which is in
    step."""
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, ExitStack() as stack:
        servers = []
        for number, port in enumerate(free_ports(2 * masters if replicated else masters, also=10_000)):
            extra = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options]
            server = RedisServer(Path(directory) / f"n{number}", port, extra)
            stack.callback(server.kill)
            servers.append(server.start())
            if number < masters:
                first = 16384 * number // masters
                last = 16384 * (number + 1) // masters - 1
                server.execute("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                servers[0].execute("CLUSTER", "MEET", "127.0.0.1", server.port)
        wait_for(lambda: all(_agrees(server, masters, len(servers)) for server in servers), "the cluster")
        made = Cluster(servers[:masters], servers[masters:])
        for master, replica in zip(made.servers, made.replicas, strict=False):
            replica.execute("CLUSTER", "REPLICATE", _text(master.execute("CLUSTER", "MYID")))
        for master in made.servers if replicated else ():
            wait_for(partial(_has_replica, master), "a replica")
        yield made


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _has_replica(master: RedisServer) -> bool:
    return "online" in str(master.execute("INFO", "replication"))


def _agrees(server: RedisServer, masters: int, all_of_them: int) -> bool:
    text = str(server.execute("CLUSTER", "INFO"))
    wanted = ("cluster_state:ok", f"cluster_size:{masters}", "cluster_slots_ok:16384", f"known_nodes:{all_of_them}")
    return all(each in text for each in wanted)
