"""`scripts/venv` and `scripts/uv` in a small clone: the real pip with its hashes, and a uv that notes its arguments."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "1.0"

UV = f"""#!{sys.executable}
import os, pathlib, subprocess, sys, time
with open(os.environ["UV_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "venv":
    time.sleep(float(os.environ.get("UV_SECONDS", "0")))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", sys.argv[-1]], check=True)
elif os.environ.get("UV_FAILS"):
    sys.exit("no route to host")
"""


class Clone:
    """A folder with the scripts and locks, a folder of wheels in place of a package index, and a log of uv's calls."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "a clone"
        self.wheels = root / "wheels"
        self.log = root / "uv.log"
        (self.folder / "scripts").mkdir(parents=True)
        self.wheels.mkdir()
        for script in ("uv", "venv"):
            shutil.copy(ROOT / "scripts" / script, self.folder / "scripts")
        requirements = self.folder / "requirements"
        requirements.mkdir()
        for lock in ("dev", "server", "build"):
            (requirements / f"{lock}.txt").write_text("some==1 \\\n    --hash=sha256:00\n")
        digest = self.make_wheel()
        (requirements / "uv.txt").write_text(f"uv=={VERSION} \\\n    --hash=sha256:{digest}\n")
        (self.folder / "pyproject.toml").write_text("")

    def make_wheel(self) -> str:
        """A wheel called uv in `wheels`, whose program is `UV`; its SHA-256."""
        path = self.wheels / f"uv-{VERSION}-py3-none-any.whl"
        info = f"uv-{VERSION}.dist-info"
        files = {
            f"uv-{VERSION}.data/scripts/uv": UV,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: uv\nVersion: {VERSION}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = ""
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in files.items():
                item = zipfile.ZipInfo(name)
                item.external_attr = (stat.S_IFREG | 0o755) << 16
                wheel.writestr(item, text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                record += f"{name},sha256={digest},{len(text)}\n"
            wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def give_uv(self) -> None:
        """As after the first use of `scripts/uv`; pip takes seconds."""
        home = self.folder / ".cache" / "uv"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "uv").write_text(UV)
        (home / "bin" / "uv").chmod(0o755)
        shutil.copy(self.folder / "requirements" / "uv.txt", home / ".complete")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        given = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder.parent), "PYTHON": sys.executable,
            "UV_LOG": str(self.log), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        return subprocess.Popen(
            [self.folder / "scripts" / "venv", *arguments], env=given | environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code and what was printed."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=240)
        return process.returncode, out + err

    def calls(self) -> list[str]:
        """Each call of uv since the last look, by what it was for."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines()
        self.log.unlink()
        return ["venv" if line.startswith("venv") else " ".join(self.installed(line)) for line in lines]

    @staticmethod
    def installed(line: str) -> list[str]:
        words = line.split()
        return [word.rpartition("/")[2] for word in words if word.startswith("--requirement=") or word == "--editable"]


EVERYTHING = ["dev.txt", "--editable"]
SERVICE = ["server.txt build.txt", "--editable"]


@pytest.fixture
def fresh(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.fixture
def clone(fresh: Clone) -> Clone:
    fresh.give_uv()
    return fresh


@pytest.mark.slow
def test_uv_comes_from_the_index_by_pip(fresh: Clone) -> None:
    code, said = fresh.run("run")
    assert (code, fresh.calls()) == (0, ["venv", *SERVICE]), said
    assert said.splitlines() == [
        f"greenroom: making .venv with Python {sys.version.split()[0]} ({sys.executable})",
        "greenroom: fetching uv, which installs the rest",
        "greenroom: installing 1 packages into .venv",
    ]


def test_the_service_alone_then_everything_in_the_same_environment(clone: Clone) -> None:
    assert clone.run("run")[0] == 0
    assert clone.calls() == ["venv", *SERVICE]
    assert clone.run("run") == (0, "")
    assert clone.run()[0] == 0
    assert clone.calls() == EVERYTHING
    assert clone.run("run") == (0, ""), "an environment with everything will do"
    assert clone.calls() == []


def test_a_changed_lock_is_installed_in_place(clone: Clone) -> None:
    clone.run()
    clone.calls()
    (clone.folder / "requirements" / "dev.txt").write_text("other==2 \\\n    --hash=sha256:00\n")
    assert clone.run()[0] == 0
    assert clone.calls() == EVERYTHING


def test_half_made_is_made_again(clone: Clone) -> None:
    code, said = clone.run(UV_FAILS="1")
    assert code == 1
    assert "no route to host" in said
    assert "Without a network or package index: give one" in said
    clone.calls()
    code, said = clone.run()
    assert (code, clone.calls()) == (0, ["venv", *EVERYTHING]), said
    assert "incomplete" in said


def test_a_folder_that_was_moved_gets_a_new_one(clone: Clone) -> None:
    clone.run()
    clone.calls()
    clone.folder = clone.folder.rename(clone.folder.with_name("moved"))
    code, said = clone.run()
    assert (code, clone.calls()) == (0, ["venv", *EVERYTHING]), said


def test_two_at_once_make_one(clone: Clone) -> None:
    both = [clone.start(UV_SECONDS="0.5") for _ in range(2)]
    for process in both:
        said = "".join(process.communicate(timeout=240))
        assert process.returncode == 0, said
    assert clone.calls() == ["venv", *EVERYTHING]


@pytest.mark.slow
def test_another_file_than_the_locked_one_is_refused(fresh: Clone) -> None:
    (fresh.folder / "requirements" / "uv.txt").write_text(f"uv=={VERSION} --hash=sha256:{'0' * 64}\n")
    code, said = fresh.run()
    assert code == 1
    assert "HASH" in said.upper()
    assert "do not work around it" in said
    assert not (fresh.folder / ".cache" / "uv").exists()
    assert not (fresh.folder / ".venv").exists()


@pytest.mark.slow
def test_without_an_index_it_says_what_to_do(fresh: Clone) -> None:
    for wheel in fresh.wheels.iterdir():
        wheel.unlink()
    code, said = fresh.run()
    assert code == 1
    assert "installing uv failed" in said
    assert "PIP_INDEX_URL" in said


def test_an_older_python_is_refused(clone: Clone) -> None:
    code, said = clone.run(PYTHON="/bin/false")
    assert code == 1
    assert "Python 3.11 or newer is needed and /bin/false is not one." in said


def test_uv_is_given_the_package_index_of_pip(clone: Clone) -> None:
    clone.run(PIP_INDEX_URL="https://mirror.example/simple", PIP_TRUSTED_HOST="mirror.example")
    lines = clone.log.read_text().splitlines()
    (packages,) = [line for line in lines if "--require-hashes" in line]
    assert packages.endswith(
        f"--default-index https://mirror.example/simple --find-links {clone.wheels} "
        "--allow-insecure-host mirror.example --no-index"
    )
    (itself,) = [line for line in lines if "--editable" in line]
    assert "--offline" in itself
    assert "mirror" not in itself


def test_settings_of_uv_itself_go_before_those_of_pip(clone: Clone) -> None:
    clone.run(UV_DEFAULT_INDEX="https://other.example/simple")
    assert "--no-index" not in clone.log.read_text()
