"""The Python that servers under test run on: the fastest CPython of this machine, in an environment of its own.

Builds differ: with PGO and LTO (Debian's, python.org's) CPython runs our code in 7 to 25 % less time than without
(pyenv's default). What a build says of itself is not enough: Debian's `sysconfig` describes its
shared library, which is another build than the program. So each interpreter is timed with a loop of calls, attributes
and dictionaries, and the fastest one is taken.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

from benchmarks.process import ROOT
from scripts import compiled
from scripts.environments import make
from scripts.test_interpreters import candidates

HOME = ROOT / ".cache" / "bench"
LOCKS = tuple(ROOT / "requirements" / f"{name}.txt" for name in ("server", "build"))
"""What the service needs, and what installs this package."""
_LOOK = """
import json, os, sys, sysconfig, time
class Row:
    __slots__ = ("key", "value")
    def __init__(self, key, value):
        self.key, self.value = key, value
    def add(self, number):
        return self.key + number
def work():
    found, rows, total = {}, [Row(number, number) for number in range(100)], 0
    for turn in range(1500):
        for row in rows:
            total += row.add(turn)
            found[row.key] = (row.value, total)
best = 9.0
for _ in range(9):
    start = time.process_time()
    work()
    best = min(best, time.process_time() - start)
arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
header = os.path.join(sysconfig.get_path("include"), "Python.h")
print(json.dumps({
    "path": os.path.realpath(sys.executable), "version": sys.version.split()[0], "seconds": best,
    "pgo": "--enable-optimizations" in arguments, "lto": "--with-lto" in arguments, "headers": os.path.exists(header),
    "implementation": sys.implementation.name,
}))
"""


class Interpreter(msgspec.Struct, frozen=True):
    """One CPython. seconds: CPU of the loop, the best of nine; pgo, lto: whether its configuration says so; headers:
    whether extensions can be compiled for it."""

    path: str
    version: str
    seconds: float
    pgo: bool
    lto: bool
    headers: bool
    implementation: str = "cpython"

    @property
    def build(self) -> str:
        """How it was built, as far as one can know."""
        if self.pgo or self.lto:
            return " and ".join(name for name, there in (("PGO", self.pgo), ("LTO", self.lto)) if there)
        if self.path.startswith("/usr/bin/") and Path("/etc/debian_version").exists():
            return "Debian's package, whose program is built with PGO and LTO"
        return "no PGO, no LTO"


def look(path: Path) -> Interpreter | None:
    """What the interpreter is; None for what is not a CPython that runs."""
    ran = subprocess.run([path, "-c", _LOOK], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    try:
        found = msgspec.json.decode(ran.stdout, type=Interpreter)
    except msgspec.DecodeError:
        return None
    return found if found.implementation == "cpython" else None


def fastest(interpreters: Iterable[Interpreter]) -> Interpreter:
    """The one with the shortest loop. Raises ValueError where there is none."""
    return min(interpreters, key=lambda one: one.seconds)


@cache
def interpreters() -> tuple[Interpreter, ...]:
    """Every CPython 3.11 to 3.14 of this machine, the fastest first. Debian's is looked for off PATH too."""
    system = [Path("/usr/bin") / f"python3.{minor}" for minor in range(11, 15)]
    paths = {path.resolve() for path in (*candidates(), *(one for one in system if one.exists()))}
    found = {one.path: one for path in sorted(paths) if (one := look(path)) is not None}
    return tuple(sorted(found.values(), key=lambda one: one.seconds))


@cache
def python() -> Path:
    """The Python of the servers under test, in an environment with what the service needs and this source tree."""
    return make(HOME / "plain", chosen().path, locks=LOCKS, editable=True)


@cache
def compiled_python(*, build: bool = False) -> Path | None:
    """The same with the compiled wheel of this source tree; None where there is none. build: whether it is built then,
    which takes minutes; where it cannot be, that is said."""
    try:
        wheel = compiled.wheel(chosen().path) if build else compiled.built(chosen().path)
    except (compiled.NoCompilerError, compiled.BuildFailedError) as error:
        print(f"no compiled service: {error}", flush=True)
        return None
    return make(HOME / "compiled", chosen().path, wheel, locks=LOCKS) if wheel is not None else None


@cache
def chosen() -> Interpreter:
    """The fastest; the one chosen before where it is there still, so that figures of two runs compare."""
    kept = HOME / "interpreter.json"
    now = {one.path: one for one in interpreters()}
    if kept.exists():
        path = json.loads(kept.read_text())["path"]
        if path in now and now[path].seconds <= 1.1 * fastest(now.values()).seconds:
            return now[path]
    best = fastest(now.values())
    HOME.mkdir(parents=True, exist_ok=True)
    kept.write_text(msgspec.json.encode(best).decode())
    return best


__all__ = ["Interpreter", "chosen", "compiled_python", "fastest", "interpreters", "look", "python"]
