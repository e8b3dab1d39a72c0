"""Skipping is not passing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.skips import forbidden_skips

ROOT = Path(__file__).parents[2]


def test_only_reasons_on_the_list_are_allowed() -> None:
    skips = [
        ("tests/a.py::test_a", "Skipped: ../shared/vectors is not here"),
        ("tests/b.py::test_b", "Skipped: no Redis"),
    ]
    assert forbidden_skips(skips) == ["tests/b.py::test_b: Skipped: no Redis"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "failed"), [("no Redis", True), ("no ../shared/vectors", False)], ids=["forbidden", "allowed"]
)
def test_a_forbidden_skip_fails_the_run(pytester: pytest.Pytester, reason: str, failed: bool) -> None:
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.makepyfile(f"import pytest\ndef test_it(): pytest.skip({reason!r})\ndef test_well(): pass")
    pytester.makeini(f"[pytest]\npythonpath = '{ROOT}'\nmarkers = uvloop")
    result = pytester.runpytest_subprocess("--forbid-skips", "-p", "no:cacheprovider")
    assert result.ret == (1 if failed else 0)
    if failed:
        result.stdout.fnmatch_lines(["*skipped without leave*", f"*{reason}*"])
