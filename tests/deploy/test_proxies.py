"""Three nodes behind a real nginx and a real HAProxy, with the files of deploy/proxies: upgrades pass, the client's
address arrives, and a node that drains takes nobody with it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenroom.bench.wire import Dialer
from greenroom.messages import PATH, SUBPROTOCOL
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import Cluster, NodeProcess
from tests.deploy.test_lint import DEPLOY, program
from tests.support.patience import PATIENCE
from tests.support.redis_server import free_ports, single, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

CLIENT = "127.0.0.9"
"""Where a client comes from: an address of loopback that is not the proxy's."""


class Front(NodeProcess):
    """The proxy, in place of a node: where SDKs go."""

    def __init__(self, engine: str, directory: Path, port: int) -> None:
        super().__init__("proxy", engine, directory)
        self.port = port


@contextmanager
def nodes_behind(kind: str, count: int = 3) -> Iterator[tuple[Cluster, Cluster]]:
    """The nodes, three at most, and what clients see of them."""
    with tempfile.TemporaryDirectory(prefix="greenroom-proxy-") as directory, single("--appendonly", "yes") as redis:
        root = Path(directory)
        cluster = Cluster.of(redis.url, root, count, trusted_proxies="127.0.0.1")
        (port,) = free_ports(1)
        try:
            cluster.start()
            with _proxy(kind, cluster, root, port):
                front = Front(redis.url, root, port)
                wait_for(lambda: front.ask("/readyz") == 200, kind)
                yield cluster, Cluster([front])
        finally:
            cluster.end()


@contextmanager
def _proxy(kind: str, cluster: Cluster, root: Path, port: int) -> Iterator[None]:
    name = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[kind]
    text = (DEPLOY / "proxies" / name).read_text()
    for node in cluster.nodes:
        text = text.replace(f"{node.name}:7465", f"127.0.0.1:{node.port}")
    text = re.sub(r"^ *server \b.*:7465.*\n", "", text, flags=re.M)  # nodes that there are not
    # As many as this machine's limits are sure to allow.
    text = text.replace("maxconn 65536", "maxconn 2048").replace("worker_rlimit_nofile 65536;", "")
    text = text.replace("worker_connections 32768", "worker_connections 2048")
    text = re.sub(r"\b(listen |bind :)8080", lambda found: f"{found[1]}{port}", text)
    if kind == "nginx":
        # Where a distribution's nginx would write as root.
        paths = "".join(
            f"{one}_temp_path {root}/{one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = text.replace("http {", f"http {{\naccess_log off;\n{paths}", 1)
        text = f"daemon off;\npid {root}/nginx.pid;\nerror_log {root}/nginx.log;\n{text}"
    conf = root / name
    conf.write_text(text)
    command = [program(kind), "-c", str(conf)] if kind == "nginx" else [program(kind), "-db", "-f", str(conf)]
    with (root / f"{kind}.out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=root)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _status(front: NodeProcess, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{front.url}{path}", timeout=PATIENCE) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


async def _open_from_elsewhere(crowd: Crowd, front: NodeProcess) -> None:
    """A session through the proxy, by a client at an address of its own."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    dialer = Dialer("127.0.0.1", (front.port,), path=PATH, subprotocol=SUBPROTOCOL, sources=(CLIENT,))
    connection = await dialer.dial(answers.put_nowait)
    params = {"token": crowd.mint("far"), "openId": "o" * 22, "resumeSecret": "A" * 43}
    connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session.open", "params": params}).encode())
    async with asyncio.timeout(PATIENCE):
        answer = json.loads(await answers.get())
        assert "result" in answer, answer
        (session,) = [one for one in await crowd.sessions() if one.external_id == "far"]
        assert session.address == CLIENT
        connection.close()
        await connection.lost


@pytest.fixture(params=["nginx", "haproxy"])
def behind(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, Cluster]]:
    with nodes_behind(request.param) as found:
        yield found


async def test_nodes_behind_a_real_proxy(behind: tuple[Cluster, Cluster]) -> None:
    cluster, front = behind
    proxy = front.nodes[0]
    assert await asyncio.to_thread(_status, proxy, "/admin/v1/status") == 404
    assert await asyncio.to_thread(_status, proxy, "/metrics") == 404
    assert await asyncio.to_thread(_status, proxy, "/.well-known/jwks.json") == 200
    async with crowd_at(front, seed=501, behind=cluster) as (crowd,):
        await _open_from_elsewhere(crowd, proxy)
        await crowd.come(60)
        spread = {one.node for one in await crowd.sessions()}
        assert len(spread) == 3, spread
        before = len(await crowd.events())
        victim = cluster.nodes[0]
        victim.terminate()
        assert await asyncio.to_thread(victim.ended) == 0
        await crowd.settled()
        crowd.nobody_was_lost()
        assert {one.node for one in await crowd.sessions()} == {"node2", "node3"}
        news = {one.type for one in (await crowd.events())[before:]}
        assert news <= {"session.resumed", "session.detached"}, news
        await asyncio.to_thread(victim.start)
        cluster.nodes[1].kill()
        await asyncio.sleep(1.0)
        await crowd.settled()
        crowd.nobody_was_lost()
