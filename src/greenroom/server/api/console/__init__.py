"""The console at /console/: a page for people. It consists of static files, and reads all that it shows from the server
API.

The page signs in with app key and secret, keeps the API token in memory, and talks to the server API. All its addresses
are relative: a proxy may serve it below any path. It opens no session, so an operator who watches is not counted.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import PurePath
from typing import Any

import msgspec

from greenroom.errors import NotFoundError
from greenroom.server.http.routes import Answer, Call, Nothing, public
from greenroom.server.http.static import Packed, packed, send

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # img-src https: avatars are anywhere. Not http:, which shows everybody on the network path who is looked at. Text
    # becomes markup nowhere: Trusted Types would stop it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    # A page that was shown has names in it: no window that it opened, or that opened it, may reach in.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


class FilePath(msgspec.Struct, frozen=True):
    """A file of the page."""

    name: str


@lru_cache(maxsize=1)
def files() -> dict[str, Packed]:
    """The page's files by name."""
    folder = resources.files("greenroom.server.api.console").joinpath("page")
    return {file.name: packed(file.read_bytes()) for file in folder.iterdir() if PurePath(file.name).suffix in _TYPES}


async def page(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The console."""
    return _file(call, "index.html")


async def page_file(call: Call[FilePath, Nothing, Nothing]) -> Answer:
    """What belongs to it."""
    return _file(call, call.path.name)


async def without_slash(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The page's links are relative to console/, wherever a proxy serves that."""
    return Answer(b"", 308, {"Location": "console/"}, "text/plain")


def _file(call: Call[Any, Nothing, Nothing], name: str) -> Answer:
    file = files().get(name)
    if file is None:
        raise NotFoundError("There is no such file.")
    return send(file, call.headers, _TYPES[PurePath(name).suffix], "no-cache")


ROUTES = (
    public("GET /console", without_slash, "The console", tag="console"),
    public("GET /console/", page, "The console", tag="console", headers=HEADERS),
    public("GET /console/{name}", page_file, "A file of the console", tag="console", headers=HEADERS),
)
"""Not in /openapi.json: it is a page, and no interface."""
