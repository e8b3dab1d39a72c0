"""`scripts.structure`: what it counts, and that the structure stays as planned."""

from __future__ import annotations

import ast
from pathlib import Path

from scripts.structure import (
    PACKAGE,
    assigned_from_outside,
    circles,
    imports,
    modules,
    shared_names,
    spread_classes,
    untested,
)
from tests.scripts.test_wheel import ROOT


def _trees(**sources: str) -> dict[str, ast.Module]:
    return {f"greenroom.server.{name}": ast.parse(text) for name, text in sources.items()}


def test_circles_are_found_under_type_checking_too() -> None:
    trees = _trees(
        a="from greenroom.server import b",
        b="if TYPE_CHECKING:\n    from greenroom.server.c import X",
        c="def f():\n    import greenroom.server.a",
        d="from greenroom.server import a",
    )
    assert circles(imports(trees)) == [[f"greenroom.server.{name}" for name in "abc"]]


def test_what_another_module_assigns() -> None:
    trees = _trees(
        hub="class Hub:\n    def __init__(self):\n        self.on_joined = None\n        self.own = 1",
        node="def wire(hub):\n    hub.on_joined = print\n    hub.unknown = 2",
    )
    assert assigned_from_outside(trees) == ["greenroom.server.node: hub.on_joined"]


def test_names_and_spread_classes() -> None:
    trees = _trees(a="class Link: ...\nclass Half: ...", b="class Link: ...\nclass Whole(Half): ...")
    assert shared_names(trees) == ["Link"]
    assert spread_classes(trees) == ["greenroom.server.b.Whole < Half"]


def test_modules_without_a_test_file_of_their_name(tmp_path: Path) -> None:
    for name in (
        "src/core/a.py",
        "src/core/b.py",
        "src/core/__init__.py",
        "src/testing/tool.py",
        "tests/core/test_a.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert untested(tmp_path / "src", tmp_path / "tests") == ["core/b.py"]


def test_the_structure_of_the_source() -> None:
    source = ROOT / "src" / PACKAGE
    trees = modules(source)
    assert circles(imports(trees)) == []
    assert assigned_from_outside(trees) == []
    assert spread_classes(trees) == []
    assert len([path for path in (source / "server").glob("*.py") if path.name != "__init__.py"]) <= 8
    assert shared_names(trees) == []
