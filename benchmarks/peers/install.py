"""Installs the peers into build/peers from their locks, once for each lock, and says how to start them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from benchmarks.process import PYTHON, ROOT

SOURCE = ROOT / "benchmarks" / "peers"
BUILD = ROOT / "build" / "peers"
KINDS = ("ws", "socket.io", "python-socketio")
_LIMIT = 300
"""Seconds that an installation may take."""


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
    folder = BUILD / "python"
    lock = SOURCE / "python" / "requirements.txt"
    python = folder / "bin" / "python"
    if not _is_done(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([PYTHON, "-m", "venv", str(folder)], check=True, timeout=_LIMIT)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r",
             str(lock)], check=True, timeout=_LIMIT,
        )  # fmt: skip
        _done(folder, lock)
    return python


def _stamp(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _is_done(folder: Path, lock: Path) -> bool:
    mark = folder / ".lock"
    return mark.exists() and mark.read_text() == _stamp(lock)


def _done(folder: Path, lock: Path) -> None:
    (folder / ".lock").write_text(_stamp(lock))


__all__ = ["KINDS", "command"]
