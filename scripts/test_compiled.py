"""Runs the Python tests on the compiled wheel (scripts/compiled.py), installed into an environment of its own.

usage: python -m scripts.test_compiled [--short] [arguments for pytest]

Without arguments: all tests but those marked soak, and those marked interpreted, which look at calls of Python
functions. --short runs a third of them: the rules, tokens, the embedded engine's contract and live sessions. The wheel
is built without the C compiler's optimisation, which tests do not need. Exits 1 if a test failed, 3 where there is no
C compiler.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from scripts import compiled
from scripts.environments import EnvironmentFailedError, install, make
from scripts.run_tests import NO_TESTS_COLLECTED, environment, workers

ROOT = Path(__file__).resolve().parent.parent
HOME = compiled.HOME / "tools-tests"
LOCK = ROOT / "requirements" / "dev.txt"
SHORT = (
    "tests/core", "tests/tokens", "tests/engines/embedded/test_contract.py", "tests/server/sessions",
    "tests/server/wire", "tests/server/test_instrumentation.py",
)  # fmt: skip
_SHOW = "import greenroom.core.server.session as module; print(module.__file__)"


def prepare(wheel: Path) -> Path:
    """The Python of an environment with what tests need and this wheel. Raises EnvironmentFailedError."""
    python = make(HOME, sys.executable, locks=[LOCK])
    install(python, "--offline", "--no-deps", "--reinstall", wheel)
    return python


def is_compiled(python: Path) -> bool:
    """Whether the package that this Python imports is the compiled one."""
    ran = subprocess.run([python, "-c", _SHOW], capture_output=True, text=True, check=True, cwd=HOME)
    return ran.stdout.strip().endswith(".so")


def passes(arguments: list[str]) -> list[list[str]]:
    """Arguments of pytest, for each pass. A test that must have the machine to itself runs in the second one."""
    chosen = arguments or ["tests"]
    marks = "not soak and not interpreted"
    return [["-n", workers(), "-m", f"{marks} and not serial", *chosen], ["-m", f"{marks} and serial", *chosen]]


def main(arguments: list[str]) -> int:
    started = time.monotonic()
    if "--short" in arguments:
        arguments = [*(one for one in arguments if one != "--short"), *SHORT]
    try:
        python = prepare(compiled.wheel(quick=True))
    except compiled.NoCompilerError as error:
        print(f"greenroom: the compiled tests were left out: {error}", file=sys.stderr)
        return 3
    except (compiled.BuildFailedError, EnvironmentFailedError) as error:
        print(f"greenroom: {error}", file=sys.stderr)
        return 1
    if not is_compiled(python):
        print("greenroom: what was installed is not compiled", file=sys.stderr)
        return 1
    print(f"the compiled wheel is there after {time.monotonic() - started:.0f} s", flush=True)
    failed = False
    for one in passes(arguments):
        command: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=.", *one]
        code = subprocess.run(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL).returncode
        failed = failed or code not in (0, NO_TESTS_COLLECTED)
    print(f"compiled: {'failed' if failed else 'passed'} after {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
