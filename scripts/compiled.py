"""The compiled wheel: the same source, with the modules named in pyproject.toml compiled to C by mypyc.

usage: python -m scripts.compiled [--quick] FOLDER

Builds it for the Python that runs this, from a copy of the source tree (mypyc writes beside what it compiles, and a
source tree stays pure), and copies it to FOLDER. What was built before from the same source is taken from
.cache/compiled. --quick leaves the C compiler's optimisation out: for tests. Exits 3 where there is no C compiler, or
Python has no headers here.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.environments import EnvironmentFailedError, make

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "compiled"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src", "examples/web")
"""What a wheel is built from."""
LOCK = ROOT / "requirements" / "compile.txt"
LIMIT = 900
"""Seconds that a build may take."""
KEPT = 4
"""Wheels that are kept for later."""


class NoCompilerError(Exception):
    """There is no C compiler, or no Python.h. The text says what to install."""


class BuildFailedError(Exception):
    """The text is the end of what the build said."""


def wheel(python: str | Path = sys.executable, *, quick: bool = False) -> Path:
    """The compiled wheel for that Python. quick: without optimisation. Raises NoCompilerError, BuildFailedError."""
    program = _program(python)
    folder = HOME / _key(program, quick)
    if (found := built(program, quick=quick)) is not None:
        return found
    _require_compiler(program)
    build = _environment(program)
    with tempfile.TemporaryDirectory(prefix="greenroom-compile-") as name:
        copy = Path(name)
        _copy(copy, quick)
        _run(
            [build, "-m", "hatchling", "build", "--target", "wheel", "--directory", copy / "out"],
            copy, {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "true"},
        )  # fmt: skip
        (made,) = (copy / "out").glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, folder / f"{made.name}.new")
        (folder / f"{made.name}.new").rename(folder / made.name)
    _forget(folder)
    return folder / made.name


def built(python: str | Path = sys.executable, *, quick: bool = False) -> Path | None:
    """The wheel of this source that was built before; None: there is none."""
    folder = HOME / _key(_program(python), quick)
    found = sorted(folder.glob("*.whl"))
    if not found:
        return None
    os.utime(folder)
    return found[0]


def _program(python: str | Path) -> Path:
    """The interpreter itself, where `python` is an environment's."""
    code = "import os, sys; print(os.path.realpath(sys.executable))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def _key(program: Path, quick: bool) -> str:
    """A hash of all that the wheel depends on."""
    version = subprocess.run([program, "-VV"], capture_output=True, text=True, check=True).stdout
    found = hashlib.sha256(f"{program} {version} {quick}".encode() + LOCK.read_bytes())
    for source in SOURCES:
        path = ROOT / source
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if one.is_file() and "__pycache__" not in one.parts:
                found.update(f"{one.relative_to(ROOT)}\0".encode() + one.read_bytes())
    return found.hexdigest()[:20]


def _require_compiler(program: Path) -> None:
    code = "import os, sysconfig; print(os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))"
    headers = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"
    if not headers or (shutil.which("cc") or shutil.which("gcc")) is None:
        raise NoCompilerError(
            f"compiling needs a C compiler and the headers of {program} (on Debian: apt-get install gcc libc6-dev "
            "python3-dev)"
        )


def _environment(program: Path) -> Path:
    """The Python of an environment with what compiles."""
    server = ROOT / "requirements" / "server.txt"  # the types of what the modules import
    folder = HOME / f"tools-{hashlib.sha256(str(program).encode() + LOCK.read_bytes()).hexdigest()[:12]}"
    try:
        return make(folder, program, locks=[LOCK, server])
    except EnvironmentFailedError as error:
        raise BuildFailedError(str(error)) from None


def _copy(folder: Path, quick: bool) -> None:
    for source in SOURCES:
        path, target = ROOT / source, folder / source
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(path, target)
    if quick:
        project = folder / "pyproject.toml"
        text, count = re.subn(r'opt_level = "\d"', 'opt_level = "0"', project.read_text())
        assert count == 1
        project.write_text(text)


def _run(command: list[str | Path], folder: Path, env: dict[str, str] | None = None) -> None:
    ran = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    if ran.returncode != 0:
        raise BuildFailedError((ran.stdout + ran.stderr)[-4000:])


def _forget(latest: Path) -> None:
    """Drop all wheels but the last few."""
    folders = [path for path in HOME.iterdir() if not path.name.startswith("tools-") and path != latest]
    for old in sorted(folders, key=lambda path: path.stat().st_mtime)[: -KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.compiled", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the C compiler's optimisation")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        made = wheel(quick=options.quick)
    except (NoCompilerError, BuildFailedError) as error:
        print(f"greenroom: {error}", file=sys.stderr)
        return 3 if isinstance(error, NoCompilerError) else 1
    options.folder.mkdir(parents=True, exist_ok=True)
    print(shutil.copy(made, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
