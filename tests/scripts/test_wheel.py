"""What is installed from the wheel is the whole thing, and the bare install is the SDK alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "greenroom"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (made,) = folder.glob("greenroom-*.whl")
    return made


def test_everything_of_the_package_and_the_lobby_is_in_it(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "greenroom/" + path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    lobby = ROOT / "examples" / "web"
    wanted |= {"greenroom/server/http/static_files/lobby/" + path.name for path in lobby.iterdir() if path.is_file()}
    assert not sorted(wanted - held)
    assert "greenroom/py.typed" in held
    assert any(name.endswith(".lua") for name in held)
    assert "greenroom/server/http/static_files/greenroom.js" in held
    assert not [name for name in held if name.startswith(("tests/", "docs/", "browser/"))]


def test_the_bare_install_needs_two_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    bare = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert sorted(line.split()[1].rstrip("<>=.,0123456789") for line in bare) == ["aiohttp", "msgspec"]


def test_the_front_door_loads_nothing_of_the_service_and_no_fakes() -> None:
    code = (
        "import sys, greenroom, greenroom.blocking; [getattr(greenroom, name) for name in greenroom.__all__]; "
        "print([name for name in sys.modules if name.startswith(('greenroom.testing', 'greenroom.server', "
        "'greenroom.engines', 'picows', 'typer', 'joserfc', 'cryptography', 'redis'))])"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
