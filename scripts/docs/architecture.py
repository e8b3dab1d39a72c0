"""docs/explanation/architecture.md: the contributor's map, made from the import contract, docstrings and a table."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "greenroom"
TABLE = Path(__file__).with_suffix(".toml")

_HEAD = """# Architecture

The map for contributors. The rules of a session live in `core`, which does no I/O: time and chance are
arguments, and effects come out as data. `server` and `sdk` are the shells around it: they own sockets and timers, and
decide nothing. An engine stores the state that nodes share, and implements one contract. [The rules](rules.md) say what
must hold, [the decisions](decisions.md) why it is built like this, [states](states.md) which transitions there are.

The drawings are made from the import contract in `pyproject.toml`, the table of packages from their docstrings, and
tests check every place that this page names. Paths are relative to `src/greenroom/`.
"""


def generate() -> dict[str, str]:
    """The page and its two drawings."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    whole, service = layers("greenroom"), layers("greenroom.server")
    lines = [
        *(_HEAD, "## Layers", ""),
        *("A package imports only packages below it. Packages side by side do not import each other.", ""),
        *("![The layers of greenroom, made from the import contract](architecture-layers.svg)", ""),
        *("The service has layers of its own:", ""),
        *("![The layers of the service, made from the import contract](architecture-server.svg)", ""),
        *("## Packages", "", "| package | what it holds |", "|---|---|", *_packages(), ""),
        *("## Five journeys", ""),
        "The main steps of five requests on the embedded engine, in the order in which a real request passes them.",
        *("`python -m scripts.journeys` prints every function on the way.", ""),
    ]
    for journey in table["journey"]:
        lines += [f"### {journey['title']}", ""]
        lines += [f"{number}. `{place}` {what}" for number, (place, what) in enumerate(journey["steps"], 1)]
        lines.append("")
    lines += ["## Where is …", "", "| question | answer | where |", "|---|---|---|"]
    lines += [f"| {one['question']} | {one['answer']} | {_places(one['at'])} |" for one in table["place"]]
    lines += ["", "## Where do I add …", "", "| what | how | where | its tests |", "|---|---|---|---|"]
    for one in table["add"]:
        tests = ", ".join(f"`{test.strip()}`" for test in one["test"].split(","))
        lines.append(f"| {one['what']} | {one['steps']} | {_places(one['at'])} | {tests} |")
    lines += [
        "",
        "Every change has its test, its documentation and, where users notice it, its line in `CHANGELOG.md`.",
    ]
    return {
        "explanation/architecture.md": "\n".join(lines) + "\n",
        "explanation/architecture-layers.svg": draw("The layers of greenroom", whole),
        "explanation/architecture-server.svg": draw("The layers of the service", service),
    }


def places() -> Iterator[str]:
    """Every place that the page names."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    for journey in table["journey"]:
        yield from (place for place, _ in journey["steps"])
    for one in (*table["place"], *table["add"]):
        yield from one["at"]


def layers(container: str) -> list[list[str]]:
    """The layers of the import contract of `container`, the highest first; each a list of modules side by side."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (found,) = [one for one in contracts if one["type"] == "layers" and one["containers"] == [container]]
    return [re.findall(r"\w+", layer) for layer in found["layers"]]


def _places(found: list[str]) -> str:
    return "<br>".join(f"`{place}`" for place in found)


def _packages() -> Iterator[str]:
    for package, path in _found("greenroom", SOURCES):
        yield f"| `{package}` | {_summary(path)} |"


def _found(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Packages below a folder, and the modules directly in `greenroom`, by name."""
    for path in sorted(folder.iterdir()):
        inside = f"{name}.{path.stem}"
        if path.is_dir() and (path / "__init__.py").exists():
            yield inside, path / "__init__.py"
            yield from _found(inside, path)
        elif folder == SOURCES and path.suffix == ".py" and not path.stem.startswith("__"):
            yield inside, path


def _summary(path: Path) -> str:
    """The first sentence of the docstring, or what its first line says where that has several."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|").replace("``", "`")


# -- drawings ----------------------------------------------------------------------------------------------------------

_WIDTH, _ROW, _GAP = 640, 46, 8
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#17211b}.box{fill:#e3f3ea;stroke:#147a53}.ground{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e8efe9}.box{fill:#163527;stroke:#2fb37f}.ground{fill:#18201b}}"
)


def draw(title: str, rows: list[list[str]]) -> str:
    """An SVG: a row for each layer, in it a box for each module."""
    height = _ROW * len(rows) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
    ]
    for number, row in enumerate(rows):
        width = (_WIDTH - _GAP * (len(row) + 1)) / len(row)
        y = _ROW * number + _GAP
        for place, module in enumerate(row):
            x = _GAP + place * (width + _GAP)
            box = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - _GAP}" rx="6"'
            parts.append(f'<rect class="box" {box}/>')
            middle = f'x="{x + width / 2:.1f}" y="{y + 24}" text-anchor="middle"'
            parts.append(f"<text {middle}>{escape(module)}</text>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def functions_of(path: Path) -> set[str]:
    """Names of all functions, methods and classes of a module, as `Class.method`; nested ones too."""

    def walk(node: ast.AST, prefix: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                yield name
                name += "."
            yield from walk(child, name)

    tree: Any = ast.parse(path.read_text(encoding="utf-8"))
    return set(walk(tree, ""))
