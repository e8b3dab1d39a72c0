"""Which modules are compiled, and from what. `make test-compiled` runs the tests on the result."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts import compiled, test_compiled

ROOT = Path(__file__).resolve().parents[2]
HOOK: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["hooks"]["mypyc"]
MODULES: list[str] = HOOK["include"]


def _classes(path: str) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.ClassDef)]


def test_an_install_from_source_compiles_nothing_unless_it_is_asked_to() -> None:
    assert HOOK["enable-by-default"] is False


@pytest.mark.parametrize("path", MODULES)
def test_a_compiled_module_has_nothing_that_mypyc_would_change(path: str) -> None:
    """mypyc drops the keywords of a class: a struct would be mutable, or without its tag."""
    for found in _classes(path):
        bases = [ast.unparse(base) for base in found.bases]
        assert not found.keywords, f"{found.name} has keywords: leave {path} interpreted"
        assert not any("asyncio." in base or "WSListener" in base for base in bases), found.name
        if any(base.startswith("Generic[") for base in bases):
            assert not found.decorator_list, f"{found.name} is a generic dataclass: leave {path} interpreted"


def test_the_list_has_each_module_once_in_order() -> None:
    assert sorted(set(MODULES)) == MODULES
    assert len(MODULES) > 30


def test_without_headers_it_says_what_to_install(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho False\n")
    python.chmod(0o755)
    with pytest.raises(compiled.NoCompilerError, match="apt-get install gcc"):
        compiled._require_compiler(python)


def test_the_copy_that_tests_are_built_from_is_not_optimised(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    compiled._copy(tmp_path, quick=True)
    text = (tmp_path / "pyproject.toml").read_text()
    assert 'opt_level = "0"' in text
    assert HOOK["options"]["opt_level"] == "3"
    assert not list((tmp_path / "src").rglob("*.so"))


def test_every_test_runs_in_one_of_the_passes() -> None:
    parallel, serial = test_compiled.passes([])
    assert parallel[-1] == serial[-1] == "tests"
    assert "not soak and not interpreted and not serial" in parallel
    assert "not soak and not interpreted and serial" in serial
    assert all((ROOT / path).exists() for path in test_compiled.SHORT)
