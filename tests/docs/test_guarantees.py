"""The guarantees page: every figure has its unit, its day and its bound beside it, and every clause its test."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from scripts.docs.guarantees import FIGURES, SOURCE, PromiseError, check, generate


def _clauses() -> list[dict[str, Any]]:
    promises = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["promise"]
    return [clause for promise in promises for clause in promise["clause"]]


def test_every_figure_has_a_unit_and_a_day_and_stands_beside_its_bound() -> None:
    day = json.loads(FIGURES.read_text(encoding="utf-8"))["date"][:10]
    rows = [line.split(" | ") for line in generate()["reference/guarantees.md"].splitlines() if line.startswith("| ")]
    measured = [row for row in rows if row[0] != "| what" and row[2].strip()]
    assert len(measured) == sum("measured" in clause for clause in _clauses()) >= 5
    for _, bound, figure, *_ in measured:
        assert figure.endswith(f"({day})")
        assert re.search(r"\d (ms|s|%|MiB)\b", figure)
        assert re.search(r"\d+ (ms|s|MiB)\b", bound)


def test_every_figure_is_one_that_the_bench_makes() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))["figures"]
    named = {key for clause in _clauses() for key in re.findall(r"\{(\w+)\}", clause.get("measured", ""))}
    assert named
    assert not named - set(figures)


def test_a_clause_that_nothing_proves_stops_the_build() -> None:
    with pytest.raises(PromiseError, match="no test proves"):
        check({"text": "x", "bound": "y", "tests": []})
    with pytest.raises(PromiseError, match="there is no test"):
        check({"text": "x", "bound": "y", "tests": ["tests/docs/test_guarantees.py::test_of_nothing"]})
    check({"text": "x", "bound": "y", "tests": [], "planned": "next"})
