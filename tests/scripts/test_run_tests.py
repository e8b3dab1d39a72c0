"""The closing line of `make test` counts all passes, and nothing that failed hides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from scripts import run_tests

PARALLEL = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><skipped type="pytest.skip" message="why"/></testcase>
<testcase name="d"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"""
SERIAL = "<testsuites><testsuite><testcase name='e'/><testcase name='f'><error/></testcase></testsuite></testsuites>"


def test_counts_add_up_over_all_passes(tmp_path: Path) -> None:
    (tmp_path / "parallel.xml").write_text(PARALLEL)
    (tmp_path / "serial.xml").write_text(SERIAL)
    assert run_tests.outcomes(tmp_path) == {"passed": 2, "failed": 1, "skipped": 1, "xfailed": 1, "errors": 1}


def test_the_closing_line_reads_like_pytests() -> None:
    line = run_tests.closing_line(Counter(passed=12, skipped=1), {"side by side": True}, 3.5)
    assert line.strip("=") == " 12 passed, 1 skipped in 3.50s "


def test_the_closing_line_names_the_part_that_failed() -> None:
    line = run_tests.closing_line(Counter(passed=12), {"browser SDK": False, "side by side": True}, 1.0)
    assert line.startswith("not well: browser SDK\n")


def test_servers_in_sbin_are_found_too() -> None:
    assert set(run_tests.SBIN) <= set(run_tests.environment()["PATH"].split(":"))


def test_of_the_browser_sdk_only_tests_are_started() -> None:
    """Node would start every module below `test/`, and a server among them never ends by itself."""
    found = run_tests.browser_tests()
    assert "test/scenarios.test.mjs" in found
    assert all(name.endswith(".test.mjs") for name in found)
    script = json.loads((run_tests.BROWSER / "package.json").read_text())["scripts"]["test"]
    assert script == "node --test test/*.test.mjs"


def test_passes_of_marked_tests_collect_their_files_alone(tmp_path: Path) -> None:
    assert "tests/cluster/test_faults.py" in run_tests.files_marked("waiting")
    assert "tests/acceptance/test_kill.py" in run_tests.files_marked("serial")
    path = tmp_path / "test_a.py"
    path.write_text("@pytest.mark.waiting_room\ndef test_a() -> None: ...\n")
    assert not run_tests.has_mark(path, "waiting")
    path.write_text("pytestmark = [pytest.mark.slow, pytest.mark.waiting]\n")
    assert run_tests.has_mark(path, "waiting")
