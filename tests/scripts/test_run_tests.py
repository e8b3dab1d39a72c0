"""The closing line of `make test` counts all passes, and nothing that failed hides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

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


def test_the_closing_line_names_what_passed_only_alone() -> None:
    line = run_tests.closing_line(Counter(passed=12, failed=1), {"side by side": True}, 1.0, ["tests/a.py::test_b"])
    assert line.startswith("unsteady, passed when run alone: tests/a.py::test_b\n")


def test_the_ids_of_failed_tests_are_those_that_pytest_takes(tmp_path: Path) -> None:
    (tmp_path / "parallel.xml").write_text(
        "<testsuites><testsuite>"
        "<testcase classname='tests.core.test_ids' name='test_a[a@b.c]'><failure message='no'/></testcase>"
        "<testcase classname='tests.fuzz.test_api.TestAll' name='test_b@site'><error/></testcase>"
        "<testcase classname='tests.core.test_ids' name='test_c'/>"
        "</testsuite></testsuites>"
    )
    assert run_tests.failed_tests(tmp_path / "parallel.xml") == [
        "tests/core/test_ids.py::test_a[a@b.c]",
        "tests/fuzz/test_api.py::TestAll::test_b",
    ]
    assert run_tests.failed_tests(tmp_path / "absent.xml") == []


@pytest.mark.parametrize(("again", "fails", "well"), [("1", 1, True), ("1", 2, False), ("", 1, False), ("1", 9, False)])
def test_what_failed_beside_others_has_another_chance_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str, fails: int, well: bool
) -> None:
    """A real run of pytest over tests that fail so many times, and then pass; 9: as many of them fail always."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_some.py").write_text(
        "import pathlib, pytest\n"
        f"@pytest.mark.parametrize('number', range({fails if fails > 2 else 1}))\n"
        "def test_some(number):\n"
        "    runs = pathlib.Path(__file__).with_name(f'runs{number}')\n"
        "    runs.write_text((runs.read_text() if runs.exists() else '') + '.')\n"
        f"    assert len(runs.read_text()) > {fails}\n"
    )
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--forbid-skips', action='store_true')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / run_tests.RESULTS).mkdir(parents=True)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setenv("GREENROOM_TEST_AGAIN", again)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:schemathesis -p no:hypothesispytest")  # to load them takes seconds
    assert run_tests.run_pass("parallel", "not serial", "tests") == well
    unsteady = tmp_path / run_tests.UNSTEADY
    assert unsteady.exists() == well
    if well:
        assert unsteady.read_text() == "tests/test_some.py::test_some[0]\n"


def test_servers_in_sbin_are_found_too() -> None:
    assert set(run_tests.SBIN) <= set(run_tests.environment()["PATH"].split(":"))


def test_bytecode_is_kept_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers compiled 300 files of tests each, and every service that they started its own modules."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in run_tests.environment()


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
    assert run_tests.files_marked("waiting")[0].startswith(run_tests.WAITING_FIRST[0])
    path = tmp_path / "test_a.py"
    path.write_text("@pytest.mark.waiting_room\ndef test_a() -> None: ...\n")
    assert not run_tests.has_mark(path, "waiting")
    path.write_text("pytestmark = [pytest.mark.slow, pytest.mark.waiting]\n")
    assert run_tests.has_mark(path, "waiting")
