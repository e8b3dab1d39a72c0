"""scripts/journeys.py sees the whole way of a request through a real service, and nothing beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("journeys")  # one recording for all of them

ROOT = Path(__file__).resolve().parents[2]


@cache
def journeys() -> dict[str, list[str]]:
    """The journeys of the service as it is, each a list of file:function."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.journeys", "--json"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.interpreted
@pytest.mark.slow
def test_a_journey_leads_from_the_bytes_over_the_engine_to_the_answer() -> None:
    for name, steps in journeys().items():
        assert 40 < len(steps) == len(set(steps)), name
        folders = [step.split("/")[0] for step in steps]
        # Where the bytes arrive; on a busy machine the reaper may have its turn before each of them.
        assert folders.index("server") < 10, name
        assert name == "token" or folders.index("engines") < len(folders) - 1 - folders[::-1].index("server"), name


# Three functions and a file of each are the transport, which does what uvloop does with TLS.
LONGEST = {"open": (95, 29), "token": (106, 27), "update": (100, 30), "kick": (166, 53), "join": (138, 39)}
"""Functions and files, with two or three to spare: on a busy machine a timer fires in the middle."""


@pytest.mark.interpreted
@pytest.mark.slow
@pytest.mark.parametrize("journey", LONGEST)
def test_a_journey_is_no_longer_than_it_was(journey: str) -> None:
    steps, (functions, files) = journeys()[journey], LONGEST[journey]
    assert len(steps) <= functions
    assert len({step.split(":")[0] for step in steps}) <= files


@pytest.mark.interpreted
@pytest.mark.slow
def test_an_unknown_journey_and_one_that_is_too_long_fail() -> None:
    wrong = [sys.executable, "-m", "scripts.journeys", "resume"]
    assert subprocess.run(wrong, cwd=ROOT, capture_output=True, timeout=240).returncode == 2
    long = [sys.executable, "-m", "scripts.journeys", "token", "--at-most", "10", "5"]
    done = subprocess.run(long, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert "token passes more than 10 functions or 5 files" in done.stderr
