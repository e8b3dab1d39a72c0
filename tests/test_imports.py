"""Circles of imports: import-linter sees those between siblings, this also those through a package's own door."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

SOURCES = Path(__file__).parents[1] / "src" / "greenroom"


def circles(graph: grimp.ImportGraph) -> list[set[str]]:
    """Modules that import each other, directly or not; what is imported for type checkers alone counts too."""
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    found: list[set[str]] = []
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_path: list[str] = []

    def visit(module: str) -> None:
        # Tarjan: a module that reaches nothing older than itself closes a component.
        numbers[module] = lowest[module] = len(numbers)
        open_path.append(module)
        for other in imported[module]:
            if other not in numbers:
                visit(other)
            if other in open_path:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == numbers[module]:
            component = set(open_path[open_path.index(module) :])
            del open_path[open_path.index(module) :]
            if len(component) > 1:
                found.append(component)

    for module in sorted(imported):
        if module not in numbers:
            visit(module)
    return found


def _graph(*imports: tuple[str, str]) -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for importer, other in imports:
        graph.add_import(importer=importer, imported=other)
    return graph


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ([("a", "b"), ("b", "c"), ("a", "c")], []),
        ([("a", "b"), ("b", "a")], [{"a", "b"}]),
        ([("p", "p.x"), ("p.x", "q"), ("q", "p"), ("q", "r")], [{"p", "p.x", "q"}]),
    ],
)
def test_a_circle_is_found(imports: list[tuple[str, str]], expected: list[set[str]]) -> None:
    assert circles(_graph(*imports)) == expected


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = grimp.build_graph("greenroom", exclude_type_checking_imports=False, cache_dir=None)
    assert [sorted(one) for one in circles(graph)] == []


def test_only_the_doors_of_packages_say_what_they_export() -> None:
    """In any other module the underscore says it, and a second list goes stale."""
    leaves = [path for path in sorted(SOURCES.rglob("*.py")) if path.name != "__init__.py"]
    listed = [str(path.relative_to(SOURCES)) for path in leaves if "\n__all__ =" in path.read_text(encoding="utf-8")]
    assert listed == ["blocking.py"], "which is a door too: `greenroom.blocking`"
