"""On what the figures were made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

_PACKAGES = (
    "greenroom", "picows", "uvloop", "aiohttp", "msgspec", "joserfc", "cryptography", "apsw", "redis", "hiredis",
)  # fmt: skip


def describe() -> dict[str, str]:
    """Names and versions, as text."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "load before": " ".join(f"{one:.2f}" for one in os.getloadavg()),
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    import apsw

    found["sqlite"] = apsw.sqlite_lib_version()
    for command in (("node", "--version"), ("redis-server", "--version")):
        if shutil.which(command[0]):
            found[command[0]] = _first_line(command)
    return found


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


__all__ = ["describe"]
