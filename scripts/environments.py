"""Python environments that chores make beside .venv, with uv and locked files: made once, and again where what they
consist of has changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / "scripts" / "uv"
_LIMIT = 600
"""Seconds that an installation may take."""


class EnvironmentFailedError(Exception):
    """The environment could not be made. The text is the end of what the installer said."""


def make(folder: Path, interpreter: str | Path, *packages: Path, locks: Sequence[Path], editable: bool = False) -> Path:
    """An environment's Python, made where it is not there or not up to date. locks: requirements with hashes;
    packages: wheels installed besides; editable: this source tree instead. Raises EnvironmentFailedError."""
    sources = [*locks, *packages, *([ROOT / "pyproject.toml"] if editable else [])]
    parts = [str(interpreter).encode(), str(folder).encode(), _run(interpreter, "-VV").encode()]
    contents = hashlib.sha256(b"\0".join([*parts, *(path.read_bytes() for path in sources)])).hexdigest()
    stamp, program = folder / ".complete", folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == contents:
        return program
    shutil.rmtree(folder, ignore_errors=True)
    _run(UV, "venv", "--quiet", "--no-python-downloads", "--python", interpreter, folder)
    install(program, "--require-hashes", *(f"--requirement={path}" for path in locks))
    if own := ["--editable", ROOT] if editable else packages:
        install(program, "--offline", "--no-deps", "--no-build-isolation", *own)
    stamp.write_text(contents)
    return program


def install(program: Path, *arguments: str | Path) -> None:
    """`uv pip install` with these arguments into the environment of this Python. Raises EnvironmentFailedError."""
    _run(UV, "pip", "install", "--quiet", "--python", program, *arguments)


def _run(*command: str | Path) -> str:
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, timeout=_LIMIT)
    if ran.returncode != 0:
        raise EnvironmentFailedError(ran.stderr[-2000:])
    return ran.stdout
