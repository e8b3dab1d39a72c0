"""Which interpreters `make test-interpreters` chooses, of those that a machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import test_interpreters as chore


def interpreter(path: Path, said: str) -> Path:
    """A program that says what an interpreter would, asked for its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


def test_one_of_each_minor_version_the_newest_patch(tmp_path: Path) -> None:
    older = interpreter(tmp_path / "a", "cpython 3 12 1 final")
    newer = interpreter(tmp_path / "b", "cpython 3 12 10 final")
    other = interpreter(tmp_path / "c", "cpython 3 11 2 final")
    assert list(chore.newest([older, newer, older, other]).items()) == [((3, 11, 2), other), ((3, 12, 10), newer)]


@pytest.mark.parametrize(
    "said",
    ["cpython 3 10 13 final", "cpython 3 15 0 final", "cpython 3 14 0 candidate", "pypy 3 11 9 final", "pyenv: no"],
)
def test_what_is_not_a_cpython_of_ours_is_left_out(said: str, tmp_path: Path) -> None:
    assert chore.newest([interpreter(tmp_path / "python", said)]) == {}


def test_those_of_pyenv_and_of_the_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyenv = interpreter(tmp_path / "versions" / "3.13.0" / "bin" / "python3.13", "")
    on_path = interpreter(tmp_path / "bin" / "python3.14", "")
    interpreter(tmp_path / "versions" / "3.9.18" / "bin" / "python3.9", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert chore.candidates() == [Path(sys.executable), on_path, pyenv]


def test_eager_tasks_from_3_12_on() -> None:
    assert chore.passes((3, 11, 9)) == [()]
    assert chore.passes((3, 12, 0)) == [(), ("--eager-tasks",)]
