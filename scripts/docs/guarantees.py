"""docs/reference/guarantees.md: each promise with its bound, the tests that fail when it is broken, and the figure.

The source is promises.toml beside this file. A clause without a test that is not marked as planned, and a test that
does not exist, stop the build.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("promises.toml")
FIGURES = ROOT / "benchmarks" / "results" / "latest.json"


class PromiseError(Exception):
    """A promise that nothing proves."""


@cache
def _tests_in(path: str) -> frozenset[str]:
    """Names of the tests of a Python file (functions, and methods as Class::name), or of a JavaScript test file."""
    file = ROOT / path
    if not file.is_file():
        raise PromiseError(f"promises.toml names {path}, which does not exist")
    if file.suffix != ".py":
        return frozenset(line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            functions = (item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
            names.update(f"{node.name}::{item.name}" for item in functions)
    return frozenset(names)


def check(clause: dict[str, Any]) -> None:
    """Raises PromiseError where nothing proves the clause."""
    if not clause["tests"] and "planned" not in clause:
        raise PromiseError(f'no test proves: {clause["text"]!r} (add one, or say planned = "why")')
    for test in clause["tests"]:
        path, _, name = test.partition("::")
        known = _tests_in(path)
        found = name in known if path.endswith(".py") else any(name in line for line in known)
        if not found:
            raise PromiseError(f"there is no test {test}, which is to prove: {clause['text']!r}")


def _measured(clause: dict[str, Any], results: dict[str, Any]) -> str:
    """The figures of the clause with their units and the day they were measured; "" where it has none."""
    text: str = clause.get("measured", "")
    if not text:
        return ""
    figures = results["figures"]
    keys = re.findall(r"\{(\w+)\}", text)
    if any(key not in figures for key in keys):
        return "not measured yet"
    # Jobs that were run again on their own have dates of their own.
    dates = {done["date"] for done in results.get("jobs", {}).values() if not set(keys).isdisjoint(done["figures"])}
    date = min(dates, default=results["date"])
    return re.sub(r"\{(\w+)\}", lambda found: _rounded(figures[found[1]]), text) + f" ({date[:10]})"


def _rounded(value: float) -> str:
    """Three digits say all that a measurement on one machine can say."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def generate() -> dict[str, str]:
    """The page."""
    promises = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["promise"]
    results = json.loads(FIGURES.read_text(encoding="utf-8"))
    lines = [
        "# What Greenroom guarantees",
        "",
        "Each promise with its bounds, the setting that changes a bound, and the tests that fail if it is broken. The",
        "build fails for a clause without one. A measured figure stands beside its bound, with the day of the",
        f"measurement: the last whole `make bench` ran on {results['date']}, on {results['machine']['processor']},",
        f"{results['machine']['cores']} core. [The rules](../explanation/rules.md) are the fine print.",
    ]
    planned: list[str] = []
    for promise in promises:
        lines += ["", f"## {promise['number']}. {promise['title']}", ""]
        lines += ["| what | bound | measured | setting |", "|---|---|---|---|"]
        proofs: list[str] = []
        for clause in promise["clause"]:
            check(clause)
            setting = ", ".join(f"`{name}`" for name in clause.get("setting", "").split(", ") if name)
            lines.append(f"| {clause['text']} | {clause['bound']} | {_measured(clause, results)} | {setting} |")
            proofs += [f"- {clause['text']}", *(f"    - `{test}`" for test in clause["tests"])]
            if "planned" in clause:
                planned.append(f"- {promise['number']}: {clause['text']} ({clause['planned']})")
        lines += ["", '<details markdown="1"><summary>Tests that fail when it is broken</summary>', "", *proofs, ""]
        lines.append("</details>")
    lines += ["", "## Planned", "", *(planned or ["Nothing: every clause is built and tested."])]
    return {"reference/guarantees.md": "\n".join(lines) + "\n"}
