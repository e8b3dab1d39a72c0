"""The long form: tests marked soak, those of the browser SDK in their long form, all others on the compiled wheel, then
long scenarios. Four hours at most."""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial

import msgspec

from benchmarks.jobs import FULL, Bench
from benchmarks.process import PYTHON, ROOT
from benchmarks.servers import running
from greenroom.bench.churn import churn
from greenroom.bench.scenarios import idle, storm
from scripts.run_tests import install_node, run_browser_tests

_TESTS_LIMIT = 7_200
"""Seconds."""
_NO_TESTS = 5
"""pytest's exit code where nothing is marked."""
_MOST_GROWTH = 1.10
"""Of memory, from the first storm to the last, on one and the same service."""


def run() -> int:
    """The exit code: 0, or 1 where a test failed or the service grew."""
    started = time.monotonic()
    command = [PYTHON, "-m", "pytest", "-m", "soak", "-p", "no:cacheprovider", "--timeout", "3600"]
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=_TESTS_LIMIT, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"the soak tests took more than {_TESTS_LIMIT} s")
        code = 1
    os.environ["GREENROOM_SOAK"] = "1"
    in_browser = run_browser_tests(install_node())
    del os.environ["GREENROOM_SOAK"]
    # All other tests once more, on the compiled wheel; 3: there is no compiler here, which it has said.
    compiled = subprocess.run([PYTHON, "-m", "scripts.test_compiled"], cwd=ROOT, check=False).returncode
    grown = _endurance()
    print(f"soak: {time.monotonic() - started:.0f} s")
    return 1 if code not in (0, _NO_TESTS) or not in_browser or compiled not in (0, 3) or grown else 0


def _endurance() -> bool:
    """Half an hour of storms, crowds and quiet against one service; whether its memory grew."""
    form = msgspec.structs.replace(FULL, name="soak")
    bench = Bench(form, ROOT / "build" / "soak")
    bench.world.prepare()
    sizes = []
    with running(bench.world, "greenroom") as server:
        for number in range(10):
            bench.against(server, "soak-storm", "greenroom", number, partial(storm, count=19_000, width=128))
            bench.against(
                server, "soak-churn", "greenroom", number,
                partial(churn, watchers=200, crowd=400, per_second=300.0, seconds=60.0),
            )  # fmt: skip
            bench.against(server, "soak-idle", "greenroom", number, partial(idle, count=10_000, seconds=45.0))
            time.sleep(2)
            sizes.append(server.server.memory())
            print(f"resident after round {number}: {sizes[-1] / 2**20:.1f} MiB")
    # The first two rounds fill the allocator's pools.
    return sizes[-1] > sizes[2] * _MOST_GROWTH


__all__ = ["run"]
