"""Builds what a release consists of into dist/, and checks it as its users will meet it.

usage: python -m scripts.dist

- wheel, compiled wheel (of this Python and machine) and sdist of the Python package: `twine check`, and each installed
  into an empty environment: the bare SDK with its two dependencies, and the service from its lock, which then runs;
- the npm packages, packed as npm would publish them, and all of them installed into an empty folder and imported;
- the context of the container image: a tarball that `docker build` takes;
- a software bill of materials (CycloneDX) of the service as its lock installs it;
- SHA256SUMS.

Exits 1 at the first thing that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.compiled import BuildFailedError, NoCompilerError
from scripts.compiled import wheel as compiled_wheel
from scripts.run_tests import install_node_packages

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
UV = ROOT / "scripts" / "uv"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


class WrongError(Exception):
    """What is wrong with a package."""


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """What `command` prints to stdout. Raises WrongError if it fails."""
    ran = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        raise WrongError(f"{' '.join(map(str, command))}\n{ran.stdout}")
    return ran.stdout


def environment(folder: Path, *install: str | Path) -> Path:
    """A new environment in `folder` with what `install`, arguments of `uv pip install`, names; its programs' folder."""
    run(UV, "venv", "--quiet", "--no-python-downloads", "--python", sys.executable, folder)
    add(folder / "bin", *install)
    return folder / "bin"


def add(programs: Path, *install: str | Path) -> None:
    run(UV, "pip", "install", "--quiet", "--python", programs / "python", *install)


def locked(*names: str) -> list[str | Path]:
    """Arguments that install these locks, by hash."""
    return ["--require-hashes", *(f"--requirement={ROOT}/requirements/{name}.txt" for name in names)]


# --- Python ----------------------------------------------------------------------------------------------------------


def build_python() -> list[Path]:
    """Wheel, sdist and compiled wheel."""
    run(sys.executable, "-m", "hatchling", "build", "--directory", DIST)
    wheel, sdist = DIST / f"greenroom-{VERSION}-py3-none-any.whl", DIST / f"greenroom-{VERSION}.tar.gz"
    for path in (wheel, sdist):
        if not path.exists():
            raise WrongError(f"{path.name} was not built")
    try:
        compiled = Path(shutil.copy(compiled_wheel(), DIST))
    except (NoCompilerError, BuildFailedError) as error:
        raise WrongError(str(error)) from None
    return [wheel, sdist, compiled]


def check_python(packages: Iterable[Path], tools: Path, scratch: Path) -> None:
    """Each is what an index takes; alone it is the SDK, and with its lock the service."""
    for package in packages:
        run(tools / "twine", "check", "--strict", package)
        bare = environment(scratch / f"bare-{package.stem}", *locked("build"))
        names = [f"{name}=={version}" for name, version in sdk_dependencies()]
        add(bare, "--no-build-isolation", package, *names)
        run(bare / "python", "-c", "import greenroom, greenroom.blocking; greenroom.Greenroom('http://localhost')")
        service = environment(scratch / f"service-{package.stem}", *locked("server", "build"))
        add(service, "--offline", "--no-deps", "--no-build-isolation", package)
        if VERSION not in run(service / "greenroom", "--version"):
            raise WrongError(f"{package.name}: 'greenroom --version' does not say {VERSION}")
        check_serves(service / "greenroom", scratch / f"data-{package.stem}")


def sdk_dependencies() -> list[tuple[str, str]]:
    """(name, version) of what the bare install needs, as locked."""
    text = (ROOT / "requirements" / "server.txt").read_text()
    versions = dict(re.findall(r"^([\w.-]+)==([^\s\\]+)", text, re.MULTILINE))
    return [(name, versions[name]) for name in ("aiohttp", "msgspec")]


def check_serves(greenroom: Path, data: Path) -> None:
    """`greenroom serve --dev` comes up, prints where, and stops when asked."""
    command: list[str | Path] = [greenroom, "serve", "--dev", "--port", "0", "--data", data]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not any("Lobby" in line for line in process.stdout):
            raise WrongError(f"{greenroom} serve --dev printed no lobby, and ended")
    finally:
        process.terminate()
        process.communicate(timeout=60)


# --- npm -------------------------------------------------------------------------------------------------------------


def build_npm() -> list[Path]:
    """The tarballs of all npm packages."""
    before = set(DIST.iterdir())
    node = ROOT / "scripts" / "node"
    bin_dir = Path(run(node, "--bin-dir").strip())
    os.environ["PATH"] = f"{bin_dir}{os.pathsep}{os.environ['PATH']}"
    if not install_node_packages(ROOT / "browser", bin_dir / "npm"):
        raise WrongError("npm ci failed")
    run(node, ROOT / "browser" / "scripts" / "pack.mjs", DIST)
    return sorted(set(DIST.iterdir()) - before)


def check_npm(tarballs: list[Path], scratch: Path) -> None:
    """Each holds what it says it exports, of this version and under its licence, and no tests; all install together."""
    folder = scratch / "npm"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    names = []
    for tarball in tarballs:
        with tarfile.open(tarball) as archive:
            files = {name.removeprefix("package/") for name in archive.getnames()}
            held = archive.extractfile("package/package.json")
            assert held is not None
            package = json.load(held)
        if package["version"] != VERSION:
            raise WrongError(f"{tarball.name}: version {package['version']}, and not {VERSION}")
        missing = {path.removeprefix("./") for path in entries(package)} - files
        if (
            missing
            or "LICENSE" not in files
            or any(name.startswith(("test/", "src/", "node_modules/")) for name in files)
        ):
            raise WrongError(
                f"{tarball.name}: lacks {sorted(missing)}, or its licence, or holds tests: {sorted(files)}"
            )
        names.append(package["name"])
    npm = Path(run(ROOT / "scripts" / "node", "--bin-dir").strip()) / "npm"
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=peer", "--legacy-peer-deps", "--loglevel=error"]
    run(npm, "install", *quiet, *tarballs, folder=folder)
    node, tsc = ROOT / "scripts" / "node", ROOT / "browser" / "node_modules" / "typescript" / "bin" / "tsc"
    make = "import { Greenroom } from '@greenroom/client'; new Greenroom('http://localhost');"
    (folder / "make.mjs").write_text(make)
    run(node, "make.mjs", folder=folder)
    imports = [f"import * as module{number} from '{name}'; module{number};" for number, name in enumerate(names)]
    (folder / "all.ts").write_text("\n".join([make, *imports]))
    run(
        node, tsc, "--noEmit", "--strict", "--skipLibCheck", "--module", "node16", "--target", "es2022", "all.ts",
        folder=folder,
    )  # fmt: skip


def entries(package: Mapping[str, object]) -> Iterable[str]:
    """Every file that a package.json names as an entry or as types."""
    found = [package.get(key) for key in ("main", "module", "types", "browser", "exports")]
    while found:
        one = found.pop()
        if isinstance(one, dict):
            found += one.values()
        elif isinstance(one, str) and "*" not in one:
            yield one


# --- the image's context, the bill of materials ----------------------------------------------------------------------


def build_context() -> Path:
    """What `docker build - < FILE` makes the image from: the Dockerfile, and what its ignore file lets through."""
    path = DIST / f"greenroom-{VERSION}-image.tar.gz"
    kept = re.findall(r"^!(\S+)", DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(), re.MULTILINE)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(DOCKERFILE, "Dockerfile", filter=as_root)
        for name in kept:
            archive.add(ROOT / name, name, filter=as_root)
    return path


def as_root(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Whose a file is here says nothing there; what was compiled here stays out."""
    if "__pycache__" in item.name:
        return None
    item.uid = item.gid = 0
    item.uname = item.gname = "root"
    return item


def check_context(path: Path) -> None:
    """All that the Dockerfile copies is in it."""
    with tarfile.open(path) as archive:
        names = archive.getnames()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            if source not in names:
                raise WrongError(f"{path.name} lacks {source}")


def write_bill(tools: Path, scratch: Path) -> Path:
    """The packages of the service, with versions, licences and where they belong, as CycloneDX JSON."""
    programs = environment(scratch / "bill", *locked("server"))
    path = DIST / f"greenroom-{VERSION}.cdx.json"
    run(
        tools / "cyclonedx-py", "environment", "--output-reproducible", "--validate", "--mc-type", "application",
        "--pyproject", ROOT / "pyproject.toml", "--output-format", "JSON", "--output-file", path, programs / "python",
    )  # fmt: skip
    components = {one["name"]: one for one in json.loads(path.read_text())["components"]}
    lacking = {name for name, version in sdk_dependencies() if components.get(name, {}).get("version") != version}
    if lacking:
        raise WrongError(f"{path.name} lacks {lacking}")
    return path


def write_sums() -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def main() -> int:
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory(prefix="greenroom-dist-") as folder:
        scratch = Path(folder)
        try:
            packages = build_python()
            context = build_context()
            tools = environment(scratch / "tools", *locked("dist"))
            check_python(packages, tools, scratch)
            check_npm(build_npm(), scratch)
            check_context(context)
            write_bill(tools, scratch)
            write_sums()
        except WrongError as error:
            print(f"greenroom: {error}", file=sys.stderr)
            return 1
    print((DIST / "SHA256SUMS").read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
