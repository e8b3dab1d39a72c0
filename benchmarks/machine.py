"""On what the figures were made."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

from benchmarks import environment
from benchmarks.peers.install import centrifugo_version

_PACKAGES = (
    "greenroom", "picows", "uvloop", "aiohttp", "msgspec", "joserfc", "cryptography", "apsw", "redis", "hiredis",
)  # fmt: skip
_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
import apsw
print(json.dumps({**found, "sqlite": apsw.sqlite_lib_version()}))
"""


def describe() -> dict[str, str]:
    """Names and versions, as text."""
    load = load_average()  # first: to look for interpreters is work too
    chosen = environment.chosen()
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": _system(),
        "python of the servers": f"{chosen.version}: {chosen.build}",
        "python of the generator": platform.python_version(),
        "load before": load,
    }
    versions = subprocess.run(
        [environment.python(), "-c", _VERSIONS, *_PACKAGES], capture_output=True, text=True, check=True
    )
    found |= json.loads(versions.stdout)
    for command in (("node", "--version"), ("redis-server", "--version")):
        if shutil.which(command[0]):
            found[command[0]] = _first_line(command)
    if shutil.which("go"):
        found["centrifugo"] = centrifugo_version().removeprefix("v")
    return found


def load_average() -> str:
    """Of the last minute, 5 and 15 minutes."""
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _first_line(command: tuple[str, ...]) -> str:
    output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    text = output.partition("\n")[0]
    return text.partition("v=")[2].partition(" ")[0] if "v=" in text else text.lstrip("v")


__all__ = ["describe", "load_average"]
