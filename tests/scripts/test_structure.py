"""`scripts.structure`: what it counts, and that the structure stays as planned."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

from scripts.structure import (
    CONTRACT,
    PACKAGE,
    assigned_from_outside,
    circles,
    imports,
    is_declaration,
    modules,
    shared_names,
    spread_classes,
    untested,
)
from tests.scripts.test_wheel import ROOT

SOURCE = ROOT / "src" / PACKAGE
Trees = dict[str, ast.Module]


@pytest.fixture(scope="module")
def source() -> Trees:
    return modules(SOURCE)


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


def _write(root: Path, *names: str, text: str = "def f(): return 1") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_modules_without_a_test_file_of_their_name(tmp_path: Path) -> None:
    _write(tmp_path, "src/core/a.py", "src/core/b.py", "src/core/__init__.py", "src/testing/tool.py")
    _write(tmp_path, "tests/core/test_a.py", "tests/test_b.py")
    assert untested(tmp_path / "src", tmp_path / "tests") == ["core/b.py"]


@pytest.mark.parametrize(
    "text",
    [
        '"""Words."""\nimport a\nfrom b import c',
        "A = 1\nB: int = 2\nC = {'a': (1, -2)}\nD: int\nE = A | B",
        "class Row(Struct, frozen=True):\n    a: int = 1\n    b: Row = Row(2)\nT = TypeVar('T')",
        "class P(Protocol):\n    @property\n    def a(self) -> int: ...\n    async def b(self):\n        'Words.'",
    ],
)
def test_a_file_that_only_declares_needs_no_test(tmp_path: Path, text: str) -> None:
    assert all(map(is_declaration, ast.parse(text).body))
    _write(tmp_path, "src/core/a.py", text=text)
    assert untested(tmp_path / "src", tmp_path / "tests") == []


@pytest.mark.parametrize(
    "text",
    [
        "def f(): return 1",
        "class Row(Struct):\n    a: int\n    def twice(self): return 2 * self.a",
        "class Row(Struct):\n    a: int = next(numbers)",
        "A = sorted(B)",
        "A = [b for b in B]",
        "A = lambda: 1",
        "decode = msgspec.json.Decoder(Row).decode",
        "if A:\n    B = 1",
        "f()",
    ],
)
def test_a_file_that_does_something_needs_one(tmp_path: Path, text: str) -> None:
    _write(tmp_path, "src/core/a.py", text=text)
    assert untested(tmp_path / "src", tmp_path / "tests") == ["core/a.py"]


def test_steps_of_the_engine_contract_are_tested_where_its_suite_is_run(tmp_path: Path) -> None:
    _write(tmp_path, "src/engines/embedded/attach.py", "src/engines/embedded/rows.py")
    assert untested(tmp_path / "src", tmp_path / "tests") == ["engines/embedded/attach.py", "engines/embedded/rows.py"]
    _write(tmp_path, "tests/engines/embedded/test_contract.py")
    assert untested(tmp_path / "src", tmp_path / "tests") == ["engines/embedded/rows.py"]


def _reached(graph: dict[str, set[str]], begin: Iterable[str]) -> set[str]:
    reached, todo = set[str](), list(begin)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += graph[name]
    return reached


def test_steps_of_the_contract_are_what_its_implementations_call_and_have_no_test_of_their_own(source: Trees) -> None:
    graph = imports(source)
    for folder, names in CONTRACT.items():
        package = ".".join((PACKAGE, *Path(folder).parts))
        begin = (f"{package}.{contract}" for contract in ("registry", "rooms", "statistics"))
        assert {f"{package}.{name}" for name in names} <= _reached(graph, begin)
        assert [name for name in sorted(names) if (ROOT / "tests" / folder / f"test_{name}.py").exists()] == []


def test_the_structure_of_the_source(source: Trees) -> None:
    assert circles(imports(source)) == []
    assert assigned_from_outside(source) == []
    assert spread_classes(source) == []
    assert len([path for path in (SOURCE / "server").glob("*.py") if path.name != "__init__.py"]) <= 8
    assert shared_names(source) == []


def test_every_module_has_its_test_file() -> None:
    """CONTRIBUTING.md says which need none."""
    assert untested(SOURCE, ROOT / "tests") == []
