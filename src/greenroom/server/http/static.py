"""The browser SDK: ``/sdk/greenroom.js``, the same under a name that never changes its content, and its integrity hash.

The module is built in ``browser/`` (``npm run build``) and committed under ``static_files``, so that the service needs
no Node; a test builds it again and compares.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

import msgspec

from greenroom.errors import NotFoundError
from greenroom.server.http.routes import Answer, Call, Nothing, Origin, public
from greenroom.server.http.wheel import wheel
from greenroom.server.version import version

SHORT = "public, max-age=300, stale-while-revalidate=86400"
"""For the name that moves with the service's version: asked again after five minutes, by ETag."""
FOREVER = "public, max-age=31536000, immutable"
"""For the name that holds the hash of its content."""


class SdkFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser SDK is. integrity: for the attribute of that name (W3C Subresource Integrity); url never
    changes its content, so the two stay true together."""

    version: str
    url: str
    integrity: str


class SdkPath(msgspec.Struct, frozen=True):
    """digest: the first twelve hexadecimal digits of the module's SHA-384."""

    digest: str


class PackagePath(msgspec.Struct, frozen=True):
    """file: a package's name, as /sdk/ lists it."""

    file: str


class Packed(NamedTuple):
    """A file as it is sent."""

    raw: bytes
    zipped: bytes
    digest: str
    integrity: str


def packed(raw: bytes) -> Packed:
    """A file, compressed once, with its hash."""
    digest = hashlib.sha384(raw)
    integrity = "sha384-" + base64.b64encode(digest.digest()).decode()
    # mtime 0: the same bytes in every process, behind every load balancer
    return Packed(raw, gzip.compress(raw, 9, mtime=0), digest.hexdigest()[:12], integrity)


@lru_cache(maxsize=1)
def sdk_module() -> Packed:
    """The browser SDK."""
    return packed(resources.files("greenroom.server.http").joinpath("static_files", "greenroom.js").read_bytes())


def send(file: Packed, headers: Mapping[str, str], content_type: str, caching: str) -> Answer:
    """The file, compressed where the client takes that (RFC 9110, section 12.5.3), or 304 where it has it already.

    headers: of the request, by lower-case name.
    """
    zipped = _takes_gzip(headers.get("accept-encoding", ""))
    # Two encodings of one file are two representations (RFC 9110, section 8.8.3): each has its own tag.
    tag = f'"{file.digest}-gzip"' if zipped else f'"{file.digest}"'
    said = {"ETag": tag, "Cache-Control": caching, "Vary": "Accept-Encoding"}
    if tag in {one.strip().removeprefix("W/") for one in headers.get("if-none-match", "").split(",")}:
        return Answer(b"", 304, said, content_type)
    if zipped:
        said["Content-Encoding"] = "gzip"
    return Answer(file.zipped if zipped else file.raw, None, said, content_type)


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


_JAVASCRIPT = "text/javascript; charset=utf-8"


async def sdk(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The browser SDK, one ES module. It changes with the service's version: with an integrity attribute, take the
    address that /sdk/greenroom.json names."""
    return send(sdk_module(), call.headers, _JAVASCRIPT, SHORT)


async def sdk_by_digest(call: Call[SdkPath, Nothing, Nothing]) -> Answer:
    """The browser SDK under a name that never changes its content."""
    if call.path.digest != sdk_module().digest:
        raise NotFoundError("This version of the SDK is not here.", hint="Ask /sdk/greenroom.json for the present one.")
    return send(sdk_module(), call.headers, _JAVASCRIPT, FOREVER)


async def sdk_file(_call: Call[Nothing, Nothing, Nothing]) -> SdkFile:
    """Version, address and integrity hash of the browser SDK."""
    file = sdk_module()
    return SdkFile(version=version(), url=f"/sdk/{file.digest}/greenroom.js", integrity=file.integrity)


NPM_PACKAGES = ("client", "react", "react-native-compat", "web-compat")
"""`@greenroom/` before each."""


@cache
def _npm_package(name: str) -> Packed:
    file = f"greenroom-{name}.tgz"
    return packed(resources.files("greenroom.server.http").joinpath("static_files", file).read_bytes())


@cache
def _voxeet_sdk() -> Packed:
    with tarfile.open(fileobj=io.BytesIO(_npm_package("web-compat").raw)) as archive:
        file = archive.extractfile("package/dist/voxeet-sdk.js")
        assert file is not None
        return packed(file.read())


async def voxeet_sdk(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The names of the Voxeet / Dolby.io Web SDK, for a script element: it makes `VoxeetSDK` a global."""
    return send(_voxeet_sdk(), call.headers, _JAVASCRIPT, SHORT)


async def sdk_page(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The SDKs of this version. Python's: `pip install --find-links <service>/sdk/ greenroom`. JavaScript's:
    `npm install <service>/sdk/greenroom-client.tgz`."""
    made = await asyncio.to_thread(wheel)
    page = _SDK_PAGE.format(wheel=made.file, sha256=made.sha256)
    return Answer(page.encode(), headers=_SHORT, content_type="text/html; charset=utf-8")


async def package(call: Call[PackagePath, Nothing, Nothing]) -> Answer:
    """An npm package, or the Python package, of this version."""
    name = call.path.file.removeprefix("greenroom-").removesuffix(".tgz")
    if name in NPM_PACKAGES and call.path.file == f"greenroom-{name}.tgz":
        return send(_npm_package(name), {**call.headers, "accept-encoding": ""}, "application/gzip", SHORT)
    made = await asyncio.to_thread(wheel)
    if call.path.file != made.file:
        raise NotFoundError("There is no such file.", hint="See /sdk/ for what there is.")
    return Answer(made.content, headers=_SHORT, content_type="application/zip")


_SHORT = {"Cache-Control": "public, max-age=300"}
_SDK_PAGE = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Greenroom SDKs</title></head>
  <body>
    <h1>SDKs of this service's version</h1>
    <ul>
      <li><a href="greenroom.js">greenroom.js</a>: browser module</li>
      <li><a href="voxeet-sdk.js">voxeet-sdk.js</a>: the names of the Voxeet / Dolby.io Web SDK, for a script tag</li>
      <li>npm packages, for npm install with their address: <a href="greenroom-client.tgz">greenroom-client.tgz</a>,
        and beside it <a href="greenroom-react.tgz">greenroom-react.tgz</a>,
        <a href="greenroom-react-native-compat.tgz">greenroom-react-native-compat.tgz</a>,
        <a href="greenroom-web-compat.tgz">greenroom-web-compat.tgz</a></li>
      <li><a href="{wheel}#sha256={sha256}">{wheel}</a>: Python package; pip install --find-links finds it here</li>
    </ul>
  </body>
</html>
"""

PAGES = (
    public("GET /sdk/", sdk_page, "This version's SDKs", tag="sdk"),
    public("GET /sdk/voxeet-sdk.js", voxeet_sdk, "The names of the platform's Web SDK", tag="sdk", origin=Origin.ANY),
    public("GET /sdk/{file}", package, "A package of this version", tag="sdk"),
)
"""Not in /openapi.json: for package managers, and people."""

ROUTES = (
    public(
        "GET /sdk/greenroom.js",
        sdk,
        "The browser SDK",
        reply_type=str,
        tag="sdk",
        reply_content_type="text/javascript",
        origin=Origin.ANY,
    ),
    public(
        "GET /sdk/greenroom.json",
        sdk_file,
        "Version, address and integrity hash of the browser SDK",
        tag="sdk",
        headers=_SHORT,
        origin=Origin.ANY,
    ),
    public(
        "GET /sdk/{digest}/greenroom.js",
        sdk_by_digest,
        "The browser SDK, under a name that never changes its content",
        reply_type=str,
        tag="sdk",
        reply_content_type="text/javascript",
        origin=Origin.ANY,
    ),
)
