"""The version before this one, as users have it: built from its commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "4faa8cd6e5aed4b966e60dd722225b86b550e296"
"""0.1.0. When this version is released, its own commit takes the place of this one."""


def unpack(folder: Path) -> Path:
    """The wheel of the version before, built and unpacked below `folder`: what to put on PYTHONPATH."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "--format=tar", COMMIT], cwd=ROOT, capture_output=True)
    if archive.returncode != 0:
        raise AssertionError(
            f"git has no commit {COMMIT}, which a shallow clone lacks (git fetch --unshallow): {archive.stderr!r}"
        )
    subprocess.run(["tar", "-xf", "-"], cwd=source, input=archive.stdout, check=True)
    built = folder / "built"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)], cwd=source, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,) = built.glob("*.whl")
    installed = folder / "installed"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(installed)], check=True)
    return installed


def npm_package(source: Path, node: Path, tools: Path) -> Path:
    """The npm package of the version before, built and packed from its sources, and unpacked into a node_modules: the
    folder that has it. tools: the node_modules that the build needs; `ws` is taken from there too."""
    browser = source / "browser"
    (browser / "node_modules").symlink_to(tools)
    subprocess.run([node, "scripts/build.mjs"], cwd=browser, check=True, stdout=subprocess.DEVNULL)
    pack: list[str | Path] = [node.with_name("npm"), "pack", "--json", "--ignore-scripts"]
    (packed,) = json.loads(subprocess.run(pack, cwd=browser, check=True, capture_output=True).stdout)
    modules = source.parent / "node_modules"
    package = modules / packed["name"]
    package.mkdir(parents=True)
    subprocess.run(["tar", "-xf", browser / packed["filename"], "--strip-components=1", "-C", package], check=True)
    (modules / "ws").symlink_to(tools / "ws")
    return modules.parent
