"""The SDKs that a service hands out: they install."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

from greenroom.server.http.static import sdk_module
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


async def test_the_npm_package_is_of_this_version_and_holds_what_it_names() -> None:
    async with http_site() as site:
        reply = await site.send("GET", "/sdk/greenroom-client.tgz", headers={"Accept-Encoding": "gzip"})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/gzip")
    assert "content-encoding" not in reply.headers
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as archive:
        names = set(archive.getnames())
        package = json.loads(archive.extractfile("package/package.json").read())  # type: ignore[union-attr]
        module = archive.extractfile("package/dist/greenroom.js").read()  # type: ignore[union-attr]
    assert (package["name"], package["version"]) == ("@greenroom/client", version())
    entries = package["exports"]["."]
    for kind in ("import", "require"):
        for file in entries[kind].values():
            assert "package/" + file.removeprefix("./") in names
    assert module == sdk_module().raw, "run: npm run build in browser/"


async def test_what_is_not_there_is_404() -> None:
    async with http_site() as site:
        reply = await site.send("GET", "/sdk/greenroom-0.0.1-py3-none-any.whl")
        assert (reply.status, reply.error["error_reason"]) == (404, "Not_found")
