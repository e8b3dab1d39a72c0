"""mypy --strict passes on users' code, and finds their mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def _mypy(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cache, check=False)


@pytest.mark.slow
def test_users_code_passes_and_mistakes_are_found(tmp_path: Path) -> None:
    good = _mypy(_HERE / "sample.py", tmp_path)
    assert good.returncode == 0, good.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from greenroom import Greenroom\n"
        "sdk = Greenroom('http://h')\n"
        "sdk.initialize_token('t', lambda is_expired: None)\n"
        "async def main() -> None:\n"
        "    await sdk.session.open('Ada')\n"
        "    sdk.session.participant.id\n"
    )
    bad = _mypy(wrong, tmp_path)
    lines = {line.split(":")[1] for line in bad.stdout.splitlines() if ": error:" in line}
    assert lines == {"3", "5", "6"}, bad.stdout
