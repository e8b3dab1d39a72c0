"""What `make dist` checks: a package holds what it promises, and the image's context what the Dockerfile copies."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from scripts import dist


def test_every_entry_of_a_package_is_found() -> None:
    package = {
        "main": "./a.cjs",
        "types": "./a.d.ts",
        "exports": {".": {"import": {"types": "./b.d.ts", "default": "./b.js"}, "require": "./b.cjs"}, "./x/*": "./*"},
    }
    assert sorted(dist.entries(package)) == ["./a.cjs", "./a.d.ts", "./b.cjs", "./b.d.ts", "./b.js"]


def tarball(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            item = tarfile.TarInfo(f"package/{name}")
            item.size = len(text)
            archive.addfile(item, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(
    ("version", "files", "wrong"),
    [
        ("0.0.1", {"LICENSE": "", "a.js": ""}, "version 0.0.1"),
        (dist.VERSION, {"LICENSE": ""}, "lacks ['a.js']"),
        (dist.VERSION, {"a.js": ""}, "or its licence"),
        (dist.VERSION, {"LICENSE": "", "a.js": "", "test/a.test.mjs": ""}, "holds tests"),
    ],
)
def test_a_bad_npm_package_is_refused(version: str, files: dict[str, str], wrong: str, tmp_path: Path) -> None:
    package = {"name": "@greenroom/client", "version": version, "main": "./a.js"}
    path = tarball(tmp_path / "a.tgz", {"package.json": json.dumps(package)} | files)
    with pytest.raises(dist.WrongError) as refused:
        dist.check_npm([path], tmp_path)
    assert wrong in str(refused.value)


def test_the_context_of_the_image_holds_what_the_dockerfile_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "DIST", tmp_path)
    path = dist.build_context()
    dist.check_context(path)
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert {(one.uid, one.uname) for one in members} == {(0, "root")}
    assert not [one.name for one in members if "__pycache__" in one.name]
    lacking = tarball(tmp_path / "other.tar.gz", {"Dockerfile": ""})
    with pytest.raises(dist.WrongError, match="lacks requirements/compile.txt"):
        dist.check_context(lacking)


def test_the_sdk_is_installed_with_what_is_locked() -> None:
    assert {name for name, _ in dist.sdk_dependencies()} == {"aiohttp", "msgspec"}
