"""The scenarios shared with the browser SDK, played against the Python machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.scenarios import FOLDER, play

FILES = sorted(FOLDER.glob("*.json"))


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 70


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = json.loads(path.read_text())
    assert scenario["name"] == path.stem
    play(scenario)


def test_a_scenario_that_expects_something_else_fails() -> None:
    scenario: dict[str, Any] = json.loads((FOLDER / "open.json").read_text())
    for number, step in enumerate(scenario["steps"]):
        if "expect" not in step:
            continue
        spoiled = json.loads(json.dumps(scenario))
        spoiled["steps"][number]["expect"].pop()
        with pytest.raises(AssertionError, match=f"step {number} "):
            play(spoiled)
