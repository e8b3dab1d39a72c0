"""Installs the peers into build/peers from their locks, once for each lock, and says how to start them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks import environment
from benchmarks.process import ROOT
from scripts.environments import make

SOURCE = ROOT / "benchmarks" / "peers"
BUILD = ROOT / "build" / "peers"
SOCKET_IO = "socket.io"
KINDS = ("ws", SOCKET_IO, "python-socketio")
CENTRIFUGO = "centrifugo"
WITH_ROOMS = (SOCKET_IO, "python-socketio", CENTRIFUGO)
"""Who has rooms, or channels with presence."""
_LIMIT = 300
"""Seconds that an installation may take."""
_GO_LIMIT = 600
"""Seconds that Go may take to fetch and build Centrifugo, once."""


def command(kind: str, alg: str, key: Path, port: int) -> list[str]:
    """What starts the peer, which is installed first where it is not. Raises CalledProcessError, OSError."""
    more = [alg, str(key), str(port)]
    if kind == "python-socketio":
        return [str(_python()), str(SOURCE / "python" / "service.py"), *more]
    return [*_node(), str(_modules() / {"ws": "ws.mjs", "socket.io": "socketio.mjs"}[kind]), *more]


def _node() -> list[str]:
    return [str(ROOT / "scripts" / "node")]


def _modules() -> Path:
    folder = BUILD / "node"
    lock = SOURCE / "node" / "package-lock.json"
    if not _is_done(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SOURCE / "node", folder)
        where = subprocess.run([*_node(), "--bin-dir"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(
            [f"{where}/npm", "ci", "--no-progress", "--silent"], cwd=folder, check=True, timeout=_LIMIT,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _done(folder, lock)
    for source in (SOURCE / "node").glob("*.mjs"):
        shutil.copy(source, folder)
    return folder


def _python() -> Path:
    lock = SOURCE / "python" / "requirements.txt"
    return make(BUILD / "python", environment.chosen().path, locks=[lock])


class NoGoError(Exception):
    """Centrifugo is built with Go, and there is none on PATH."""


def centrifugo(folder: Path, *, port: int, redis: str, secret: str, issuer: str) -> list[str]:
    """What starts Centrifugo on that port, with its settings in `folder`; it is built first where it is not. redis: its
    address; secret: of HS256, the only algorithm here (it takes Ed25519 keys from a key set's URL only). Raises
    NoGoError, CalledProcessError."""
    settings = json.loads((SOURCE / CENTRIFUGO / "config.json").read_text())
    settings["http_server"]["port"] = port
    settings["engine"]["redis"]["address"] = [redis]
    settings["client"]["token"] |= {"hmac_secret_key": secret, "issuer": issuer}
    path = folder / "centrifugo.json"
    path.write_text(json.dumps(settings))
    return [str(_centrifugo()), "--config", str(path)]


def centrifugo_version() -> str:
    """The version that is locked."""
    found = re.search(r"centrifugo/v\d+ (v\S+)", (SOURCE / CENTRIFUGO / "go.mod").read_text())
    assert found is not None
    return found[1]


def _centrifugo() -> Path:
    """The program, built from its module and the sums in go.sum. Kept in .cache, for it takes minutes."""
    program = ROOT / ".cache" / "bin" / f"centrifugo-{centrifugo_version()}"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise NoGoError("Centrifugo is built with Go, and there is no go on PATH")
        print(f"building centrifugo {centrifugo_version()} with Go (minutes, once)", flush=True)
        made = program.with_suffix(".new")
        # On all cores: the bench itself is pinned to one.
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(made), "github.com/centrifugal/centrifugo/v6"],
            cwd=SOURCE / CENTRIFUGO, check=True, timeout=_GO_LIMIT, env={**os.environ, "GOFLAGS": "-mod=readonly"},
            preexec_fn=lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
        )  # fmt: skip
        made.rename(program)
    return program


def _stamp(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _is_done(folder: Path, lock: Path) -> bool:
    mark = folder / ".lock"
    return mark.exists() and mark.read_text() == _stamp(lock)


def _done(folder: Path, lock: Path) -> None:
    (folder / ".lock").write_text(_stamp(lock))


__all__ = ["CENTRIFUGO", "KINDS", "SOCKET_IO", "WITH_ROOMS", "NoGoError", "centrifugo", "centrifugo_version", "command"]
