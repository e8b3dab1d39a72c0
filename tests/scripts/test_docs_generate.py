"""Generated pages: written when out of date, found out when stale, kept inside docs/."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts import docs_generate


@pytest.fixture
def generators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Generators by name, in place of those in scripts/docs; the root is a folder of the test's own."""
    pages: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(docs_generate, "ROOT", tmp_path)
    monkeypatch.setattr(docs_generate, "generator_names", lambda: sorted(pages))
    monkeypatch.setattr(docs_generate, "pages_of", pages.__getitem__)
    return pages


def test_writes_then_is_up_to_date(generators: dict[str, dict[str, str]], tmp_path: Path) -> None:
    generators["codes"] = {"reference/codes.md": "# Codes"}
    assert docs_generate.main(["--check"]) == 1
    assert docs_generate.main([]) == 0
    assert (tmp_path / "docs/reference/codes.md").read_text() == "# Codes\n"
    assert docs_generate.main(["--check"]) == 0


def test_a_stale_page_is_shown(
    generators: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generators["codes"] = {"codes.md": "4000 draining"}
    docs_generate.main([])
    (tmp_path / "docs/codes.md").write_text("4000 something else\n")
    assert docs_generate.main(["--check"]) == 1
    assert "+4000 draining" in capsys.readouterr().out


def test_two_generators_of_one_page_are_refused(generators: dict[str, dict[str, str]]) -> None:
    generators["a"] = {"page.md": "1"}
    generators["b"] = {"page.md": "2"}
    assert docs_generate.main([]) == 2


@pytest.mark.parametrize("page", ["/etc/motd", "../README.md", "reference/../../README.md"])
def test_pages_outside_docs_are_refused(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = ModuleType("scripts.docs.wild")
    vars(wild)["generate"] = lambda: {page: ""}
    monkeypatch.setitem(sys.modules, wild.__name__, wild)
    with pytest.raises(docs_generate.GeneratorError, match="outside docs/"):
        docs_generate.pages_of("wild")


def test_an_unknown_generator_is_named() -> None:
    with pytest.raises(docs_generate.GeneratorError, match=r"no scripts/docs/nowhere\.py"):
        docs_generate.pages_of("nowhere")
