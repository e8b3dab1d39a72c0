"""The SDKs that a service hands out: they install."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from greenroom.server.http.static import NPM_PACKAGES, sdk_module
from greenroom.server.http.wheel import wheel
from greenroom.server.version import version
from tests.server.http_service import http_site


def test_the_wheel_is_the_same_in_every_process_and_names_all_that_it_holds() -> None:
    made = wheel()
    wheel.cache_clear()
    assert wheel() == made
    assert made.file == f"greenroom-{version()}-py3-none-any.whl"
    archive = zipfile.ZipFile(io.BytesIO(made.content))
    names = archive.namelist()
    assert len(set(names)) == len(names)
    (record,) = [name for name in names if name.endswith("/RECORD")]
    assert [line.partition(",")[0] for line in archive.read(record).decode().splitlines()] == names
    assert "greenroom/py.typed" in names
    assert not [name for name in names if "__pycache__" in name]


async def test_pip_finds_and_installs_the_wheel(tmp_path: Path) -> None:
    async with http_site() as site:
        command = (
            "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check",
            "--find-links", f"http://127.0.0.1:{site.port}/sdk/", "--target", str(tmp_path), "greenroom",
        )  # fmt: skip
        pip = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await pip.communicate()
        assert pip.returncode == 0, printed.decode()
    assert (tmp_path / "greenroom" / "__init__.py").is_file()
    assert (tmp_path / f"greenroom-{version()}.dist-info" / "METADATA").is_file()


@pytest.mark.parametrize("name", NPM_PACKAGES)
async def test_npm_packages_are_of_this_version_and_hold_what_they_name(name: str) -> None:
    async with http_site() as site:
        reply = await site.send("GET", f"/sdk/greenroom-{name}.tgz", headers={"Accept-Encoding": "gzip"})
        page = await site.send("GET", "/sdk/")
    assert f'href="greenroom-{name}.tgz"' in page.body.decode()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/gzip")
    assert "content-encoding" not in reply.headers
    files = unpacked(reply.body)
    package = json.loads(files["package.json"])
    assert (package["name"], package["version"]) == (f"@greenroom/{name}", version())
    for target in targets(package["exports"]):
        assert target in files
    if name == "client":
        assert files["dist/greenroom.js"] == sdk_module().raw, "run: npm run build in browser/"
    else:
        kinds = [package.get(kind, {}).get("@greenroom/client") for kind in ("dependencies", "peerDependencies")]
        assert version() in kinds


def targets(exports: Any) -> list[str]:
    """The files that `exports` of a package.json names."""
    if isinstance(exports, str):
        return [exports.removeprefix("./")]
    return [file for one in exports.values() for file in targets(one)]


def unpacked(tarball: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        return {
            one.name.removeprefix("package/"): file.read()
            for one in archive.getmembers()
            if (file := archive.extractfile(one)) is not None
        }


async def test_the_platforms_names_come_as_one_script() -> None:
    async with http_site() as site:
        reply = await site.send("GET", "/sdk/voxeet-sdk.js", headers={"Origin": "https://app.example.com"})
        packed = await site.send("GET", "/sdk/greenroom-web-compat.tgz")
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.body == unpacked(packed.body)["dist/voxeet-sdk.js"]
    assert b"VoxeetSDK" in reply.body


async def test_what_is_not_there_is_404() -> None:
    async with http_site() as site:
        for name in ("greenroom-0.0.1-py3-none-any.whl", "client", "greenroom-client", "greenroom-.tgz", "client.tgz"):
            reply = await site.send("GET", f"/sdk/{name}")
            assert (reply.status, reply.error["error_reason"]) == (404, "Not_found")
