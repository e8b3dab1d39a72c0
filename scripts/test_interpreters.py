"""Runs the tests of the SDK and of the core on every CPython from 3.11 to 3.14 that this machine has.

usage: python -m scripts.test_interpreters [--short] [arguments for pytest]

Interpreters are found on PATH and among pyenv's, the newest patch of each minor version. Each gets an environment in
.cache/interpreters. From 3.12 on the tests run a second time with asyncio's eager task factory. `--short` leaves out
the version of .venv, with which `make test` runs them, and tests marked slow. Exits 1 if a run failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.environments import EnvironmentFailedError, make

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "interpreters"
LOCK = ROOT / "requirements" / "dev.txt"
MINORS = range(11, 15)
FOLDERS = ("tests/core", "tests/sdk", "tests/support")

Version = tuple[int, int, int]


def candidates() -> list[Path]:
    """Paths that may be interpreters of the versions wanted."""
    names = [f"python3.{minor}" for minor in MINORS]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = [Path(found) for name in names if (found := shutil.which(name)) is not None]
    return [Path(sys.executable), *on_path, *(path for name in names for path in sorted(pyenv.glob(f"3.*/bin/{name}")))]


def version(interpreter: Path) -> Version | None:
    """The version of a CPython; None for anything else, such as a shim of pyenv that leads nowhere."""
    code = "import sys; print(sys.implementation.name, *sys.version_info[:3], sys.version_info.releaselevel)"
    ran = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.fullmatch(r"cpython (\d+) (\d+) (\d+) final\n", ran.stdout)
    if found is None:
        return None
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def newest(interpreters: Iterable[Path]) -> dict[Version, Path]:
    """One interpreter for each minor version wanted, the one with the newest patch; in order."""
    best: dict[tuple[int, int], tuple[Version, Path]] = {}
    for path in interpreters:
        it = version(path)
        if it is not None and it[0] == 3 and it[1] in MINORS and it > best.get(it[:2], ((0, 0, 0), path))[0]:
            best[it[:2]] = it, path
    return dict(sorted(best.values()))


def passes(it: Version) -> list[tuple[str, ...]]:
    """Arguments of pytest, for each time that the tests are run on this version."""
    return [(), ("--eager-tasks",)] if it >= (3, 12, 0) else [()]


def pytest(python: Path, *arguments: str) -> bool:
    """Run the tests with this Python; whether all went well."""
    command: list[str | Path] = [
        python,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--forbid-skips",
        *arguments,
        *FOLDERS,
    ]
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode == 0


def main(arguments: Sequence[str]) -> int:
    short = "--short" in arguments
    quiet = "not serial and not waiting"
    chosen = ["-m", f"{quiet} and not slow" if short else quiet, "-n", str(min(4, os.cpu_count() or 2))]
    chosen += [one for one in arguments if one != "--short"]
    found = newest(candidates())
    if short:
        found = {it: path for it, path in found.items() if it[:2] != sys.version_info[:2]}
    lines = []
    for it, path in found.items():
        try:
            python = make(HOME / ".".join(map(str, it)), path, locks=[LOCK], editable=True)
        except EnvironmentFailedError as error:
            lines.append((False, f"CPython {'.'.join(map(str, it))}: no environment: {error}"))
            continue
        for extra in passes(it):
            started = time.monotonic()
            well = pytest(python, *extra, *chosen)
            took = f"{time.monotonic() - started:.0f} s"
            name = " ".join(["CPython " + ".".join(map(str, it)), *extra])
            lines.append((well, f"{name}: {'well' if well else 'NOT well'}, {took}"))
    print(*(line for _, line in lines), sep="\n", flush=True)
    return 0 if all(well for well, _ in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
