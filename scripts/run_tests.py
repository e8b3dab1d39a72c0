"""Runs every test: those of the browser SDK in Node, and those in Python in three passes.

Side by side run all that are marked neither `waiting` nor `serial`, and beside them those of the browser SDK. Then
those that wait more than they work (real faults, real timers, pages), five files at a time; then those that must have
the machine to themselves.

usage: python scripts/run_tests.py [arguments for pytest]

With arguments (`-k resume`, a path) only the Python tests are run, and only those that they choose. What is missing of
system packages and npm packages is installed first; tests that need none of it run meanwhile. The closing line counts
the Python tests of all passes. Exits 1 if any part failed.

With GREENROOM_TEST_AGAIN=1, as in CI on machines of others, the failed tests of a pass are run once more, alone, if
they are few. If they pass then, the closing lines name them as unsteady: such a test is a defect, to be mended next.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
BROWSER = ROOT / "browser"
RESULTS = Path("build/test")
BROWSER_OUTPUT = RESULTS / "browser.txt"
UNSTEADY = RESULTS / "unsteady.txt"
NO_TESTS_COLLECTED = 5
BASE_TIMEOUT = 600  # seconds for one test; a quiet machine needs less than a tenth for each
NODE_TIMEOUT = 1800  # seconds for one file of the browser SDK's tests
AGAIN_AT_MOST = 3  # failed tests of a pass; more have another cause than the machine
WAITING_AT_ONCE = "5"
WAITING_FIRST = ("tests/cluster/", "tests/network/", "tests/browser/")
"""In this order: the files that take longest, so that none of them is begun when all others have ended."""

# Tests of pure rules: they need no program of this machine, so they begin at once.
EARLY = ("tests/core", "tests/tokens")

# Debian keeps servers (nginx, haproxy) where not everybody's PATH looks.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def environment() -> dict[str, str]:
    """This process's environment, with the system's sbin at the end of PATH; and bytecode is kept: without it each
    worker, and each process that a test starts, would compile everything again."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = os.environ | {"PATH": os.pathsep.join([*path, *(folder for folder in SBIN if folder not in path)])}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def workers() -> str:
    """How many tests run side by side: GREENROOM_TEST_WORKERS, else two more than there are cores, since many wait for
    a process, a disk or a socket: four at least and six at most."""
    return os.environ.get("GREENROOM_TEST_WORKERS") or str(max(4, min(6, (os.cpu_count() or 2) + 2)))


def run(command: Sequence[str | Path], folder: Path = ROOT, output: IO[bytes] | None = None) -> bool:
    """Run `command` in `folder` with nothing on its stdin; whether its exit code is one of success. output: where its
    lines go instead of to the terminal."""
    print("$", *command, flush=True)
    code = subprocess.run(
        command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ).returncode
    return code == 0 or (code == NO_TESTS_COLLECTED and "pytest" in command)


def pytest(result: Path, marks: str, *arguments: str) -> bool:
    """One pass of pytest over the tests that `marks` choose, whose results are also left in `result`; whether all went
    well."""
    return run(
        [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", "--forbid-skips",
            f"--timeout={BASE_TIMEOUT}", f"--junitxml={result}", "-m", marks, *arguments,
        ],
        ROOT,
    )  # fmt: skip


def run_pass(name: str, marks: str, *arguments: str) -> bool:
    """As `pytest`; the few tests that failed get another chance where GREENROOM_TEST_AGAIN asks for it."""
    result = RESULTS / f"{name}.xml"
    if pytest(result, marks, *arguments):
        return True
    failed = failed_tests(ROOT / result)
    if not has_another_chance() or not 0 < len(failed) <= AGAIN_AT_MOST:
        return False
    print(f"once more, alone: {', '.join(failed)}", flush=True)
    again = RESULTS / "again" / result.name  # beside the pass's own results, which keep how they failed
    if not pytest(again, marks, "-n", "0", *failed):
        return False
    note_unsteady(failed)
    return True


def has_another_chance() -> bool:
    """Whether tests that failed are to be run once more."""
    return os.environ.get("GREENROOM_TEST_AGAIN") == "1"


def note_unsteady(tests: Sequence[str]) -> None:
    """Keep `tests` for the closing lines."""
    with (ROOT / UNSTEADY).open("a", encoding="utf-8") as file:
        file.writelines(f"{test}\n" for test in tests)


def failed_tests(results: Path) -> list[str]:
    """The ids of the tests that failed, from what pytest left in `results`; none if it left nothing."""
    if not results.exists():
        return []
    cases = ElementTree.parse(results).iter("testcase")
    return sorted({test_id(case) for case in cases if outcome(case) in ("failed", "errors")})


def test_id(case: ElementTree.Element) -> str:
    """Path and name, as pytest takes them: of its file's dotted name and, where there is one, its class."""
    module, *inner = re.split(r"\.(?=[A-Z])", case.get("classname", ""))
    name = re.sub(r"@\w+$", "", case.get("name", ""))  # without the group that pytest-xdist appends
    return "::".join([module.replace(".", "/") + ".py", *inner, name])


def install_system_packages() -> int:
    """The exit code of `scripts/system-packages test`; 0 where nothing is missing."""
    return subprocess.run([ROOT / "scripts/system-packages", "test"], stdin=subprocess.DEVNULL).returncode


def install_node() -> Path | None:
    """The folder of node and npm, with what the browser SDK's tests need installed; None if that failed."""
    found = subprocess.run([ROOT / "scripts/node", "--bin-dir"], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        return None
    bin_dir = Path(found.stdout.strip())
    os.environ["PATH"] = f"{bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return bin_dir if install_node_packages(BROWSER, bin_dir / "npm") else None


def install_node_packages(browser: Path, npm: Path) -> bool:
    """`npm ci`, unless what the lock asks for was installed before; whether it worked."""
    lock = browser / "package-lock.json"
    installed = browser / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return True
    command: list[str | Path] = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    ran = subprocess.run(command, cwd=browser, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode == 0:
        return True
    print(f"{ran.stderr}greenroom: 'npm ci' in browser/ failed: is the npm registry within reach?", file=sys.stderr)
    return False


def outcomes(results: Path) -> Counter[str]:
    """How many tests passed, failed, …, from the results pytest left in `results`."""
    counts: Counter[str] = Counter()
    for path in sorted(results.glob("*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            counts[outcome(case)] += 1
    return counts


def outcome(case: ElementTree.Element) -> str:
    """What became of one test, in pytest's own word for it."""
    if case.find("failure") is not None:
        return "failed"
    if case.find("error") is not None:
        return "errors"
    skipped = case.find("skipped")
    if skipped is not None:
        return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"
    return "passed"


def closing_line(counts: Counter[str], parts: dict[str, bool], seconds: float, unsteady: Sequence[str] = ()) -> str:
    """One line for all passes, as pytest would write it, and which part failed."""
    order = ("failed", "passed", "skipped", "xfailed", "errors")
    text = ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no tests ran"
    failed = [name for name, went_well in parts.items() if not went_well]
    lines = [f"not well: {', '.join(failed)}"] if failed else []
    lines += [f"unsteady, passed when run alone: {test}" for test in unsteady]
    return "\n".join([*lines, f" {text} in {seconds:.2f}s ".center(100, "=")])


def browser_tests() -> list[str]:
    """The browser SDK's tests, by name: Node alone would also start the programs that tests run."""
    return sorted(str(path.relative_to(BROWSER)) for path in (BROWSER / "test").glob("*.test.mjs"))


def run_browser_tests(bin_dir: Path | None) -> bool:
    """The tests of the browser SDK in Node; their lines are kept in `BROWSER_OUTPUT`. Whether all went well.

    With GREENROOM_SOAK=1 they build what takes long too."""
    if bin_dir is None:
        return False
    # With a limit for a file: where a test fails, a timer of its may keep the file's process alive for ever.
    command = ["--test", "--test-reporter=spec", "--test-concurrency=2", f"--test-timeout={NODE_TIMEOUT}000"]
    (ROOT / RESULTS).mkdir(parents=True, exist_ok=True)
    with (ROOT / BROWSER_OUTPUT).open("wb") as output:
        return run([bin_dir / "node", *command, *browser_tests()], BROWSER, output)


def files_marked(mark: str) -> list[str]:
    """Files that have tests with this mark. To collect these alone takes a second, to collect all a third of a minute.
    `tests/conftest.py` fails a marked test of another file. Those of `WAITING_FIRST` come first."""
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if has_mark(path, mark)]
    return sorted(files, key=lambda name: ([not name.startswith(first) for first in WAITING_FIRST], name))


def has_mark(path: Path, mark: str) -> bool:
    """Whether the file's text has ``pytest.mark.<mark>``."""
    return re.search(rf"\bpytest\.mark\.{mark}\b", path.read_text("utf-8")) is not None


def main(arguments: Sequence[str]) -> int:
    started = time.monotonic()
    shutil.rmtree(ROOT / RESULTS, ignore_errors=True)
    (ROOT / RESULTS).mkdir(parents=True)
    parts: dict[str, bool] = {}
    side_by_side = ["not serial and not waiting", "-n", workers(), "--dist", "loadgroup"]
    with ThreadPoolExecutor() as pool:
        packages = pool.submit(install_system_packages)
        node = pool.submit(install_node if not arguments else lambda: None)
        missing: list[Future[Any]] = [packages, node]
        if wait(missing, timeout=2).not_done and not arguments:
            parts["rules"] = run_pass("early", *side_by_side, *EARLY)
            side_by_side += [f"--ignore={folder}" for folder in EARLY]
        if code := packages.result():
            return code
        in_browser = None if arguments else pool.submit(run_browser_tests, node.result())
        parts["side by side"] = run_pass("parallel", *side_by_side, *arguments)
        if in_browser is not None:
            parts["browser SDK"] = in_browser.result()
            print((ROOT / BROWSER_OUTPUT).read_text("utf-8", "replace"), flush=True)
            if not parts["browser SDK"] and has_another_chance():
                parts["browser SDK"] = run_browser_tests(node.result())
                note_unsteady(["the tests of the browser SDK"])
    chosen = {mark: arguments or files_marked(mark) for mark in ("waiting", "serial")}
    in_files = ["-n", WAITING_AT_ONCE, "--dist", "loadfile", "--no-loadscope-reorder"]
    parts["waiting"] = run_pass("waiting", "waiting", *in_files, *chosen["waiting"])
    parts["one by one"] = run_pass("serial", "serial", "-n", "0", *chosen["serial"])
    counts = outcomes(ROOT / RESULTS)
    unsteady = (ROOT / UNSTEADY).read_text("utf-8").splitlines() if (ROOT / UNSTEADY).exists() else ()
    print("\n" + closing_line(counts, parts, time.monotonic() - started, unsteady), flush=True)
    return 0 if all(parts.values()) and counts["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
