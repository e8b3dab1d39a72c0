"""Environments of chores are made once, and again where what they consist of has changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import environments

UV = f"""#!{sys.executable}
import pathlib, sys
log = pathlib.Path(__file__).with_name("log")
log.write_text((log.read_text() if log.exists() else "") + " ".join(sys.argv[1:]) + "\\n")
if pathlib.Path(__file__).with_name("fails").exists():
    sys.exit("no route to host")
if sys.argv[1] == "venv":
    pathlib.Path(sys.argv[-1]).mkdir()
"""


class Uv:
    """A program in place of uv that notes its calls, and fails while a file called `fails` lies beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "uv"
        self.path.write_text(UV)
        self.path.chmod(0o755)

    def calls(self) -> list[str]:
        """What it was called for since the last look."""
        log = self.path.with_name("log")
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.partition(" ")[0] if line.startswith("venv") else line.rpartition("/")[2] for line in lines]


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uv:
    found = Uv(tmp_path)
    monkeypatch.setattr(environments, "UV", found.path)
    return found


def test_it_is_made_once_and_again_after_a_change_of_its_lock(uv: Uv, tmp_path: Path) -> None:
    lock, wheel, folder = tmp_path / "lock.txt", tmp_path / "some.whl", tmp_path / "made"
    lock.write_text("some==1")
    wheel.write_text("one")
    python = environments.make(folder, sys.executable, wheel, locks=[lock])
    assert python == folder / "bin" / "python"
    assert uv.calls() == ["venv", "lock.txt", "some.whl"]
    assert environments.make(folder, sys.executable, wheel, locks=[lock]) == python
    assert uv.calls() == []
    for changed in (lock, wheel):
        changed.write_text("two")
        environments.make(folder, sys.executable, wheel, locks=[lock])
        assert uv.calls() == ["venv", "lock.txt", "some.whl"]


def test_one_that_failed_says_why_and_is_made_again(uv: Uv, tmp_path: Path) -> None:
    lock, folder = tmp_path / "lock.txt", tmp_path / "made"
    lock.write_text("some==1")
    fails = tmp_path / "fails"
    fails.touch()
    with pytest.raises(environments.EnvironmentFailedError, match="no route to host"):
        environments.make(folder, sys.executable, locks=[lock])
    fails.unlink()
    uv.calls()
    environments.make(folder, sys.executable, locks=[lock])
    assert uv.calls() == ["venv", "lock.txt"]
