"""The architecture page stays true: its places exist, and a real request passes the steps of its journeys in order."""

from __future__ import annotations

import difflib
import re
import tomllib

import pytest

from scripts.docs.architecture import ROOT, SOURCES, TABLE, functions_of, generate, layers, places
from tests.docs.test_journeys import journeys

pytestmark = pytest.mark.xdist_group("journeys")  # one recording for all of them

TEXT = tomllib.loads(TABLE.read_text(encoding="utf-8"))


def test_every_place_exists() -> None:
    for place in places():
        path, _, function = place.partition(":")
        assert (SOURCES / path).is_file(), f"{place}: no such file"
        if function:
            known = functions_of(SOURCES / path)
            assert function in known, f"{place}: perhaps {difflib.get_close_matches(function, known, 3, 0.3)}"


def test_the_tests_it_names_exist() -> None:
    for one in TEXT["add"]:
        for path in one["test"].split(","):
            assert (ROOT / path.strip()).exists(), path


@pytest.mark.interpreted
@pytest.mark.slow
@pytest.mark.parametrize("journey", TEXT["journey"], ids=lambda journey: str(journey["name"]))
def test_a_real_request_passes_the_steps_in_order(journey: dict[str, object]) -> None:
    passed = journeys()[str(journey["name"])]
    steps = [place for place, _ in journey["steps"]]  # type: ignore[attr-defined]
    missing = {step: difflib.get_close_matches(step, passed, 3, 0.3) for step in steps if step not in passed}
    assert not missing, "a request does not pass these; beside them what is alike"
    assert sorted(steps, key=passed.index) == steps


def test_the_drawing_has_every_module_of_the_contract() -> None:
    page = generate()
    for container, drawing in (("greenroom", "layers"), ("greenroom.server", "server")):
        boxes = [module for row in layers(container) for module in row]
        assert len(boxes) > 8
        assert all(f">{module}</text>" in page[f"explanation/architecture-{drawing}.svg"] for module in boxes)


def test_every_package_has_a_line() -> None:
    rows = [line for line in generate()["explanation/architecture.md"].splitlines() if line.startswith("| `greenroom")]
    assert len(rows) > 20
    assert not [row for row in rows if not row.removesuffix(" |").endswith((".", ".)"))], "each is a sentence"


def test_the_five_questions_of_a_newcomer_are_answered() -> None:
    asked = " ".join(one["question"] for one in TEXT["place"]) + " ".join(one["what"] for one in TEXT["add"])
    for words in (
        "bad token refused",
        "grace",
        "webhook signed",
        "metric declared",
        "HTTP route",
        "message",
        "setting",
    ):
        assert words in asked


def test_the_paths_that_contributors_are_shown_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|scripts|docs)/[\w/.-]+)`", text)
    assert len(named) > 6
    assert not [path for path in named if not (ROOT / path).exists()]
