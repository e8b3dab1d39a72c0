"""The security page: the settings and the tests that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from greenroom.model import ApplicationSettings, SessionPolicy
from greenroom.server.config import ServerConfig
from scripts.docs.guarantees import check

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")


def _rows(title: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_every_setting_that_bounds_something_exists() -> None:
    structs: tuple[type[msgspec.Struct], ...] = (ServerConfig, ApplicationSettings, SessionPolicy)
    known = {field for struct in structs for field in struct.__struct_fields__}
    named = {name for row in _rows("What is bounded, and by which setting") for name in re.findall(r"`(\w+)`", row[-1])}
    assert len(named) > 15
    assert not named - known


def test_every_test_that_proves_a_defence_exists() -> None:
    for attack, *tests in _rows("Attacks that were tried"):
        check({"text": attack, "bound": "", "tests": re.findall(r"`([^`]+::[^`]+)`", " ".join(tests))})
