"""The example page of ``greenroom serve --dev`` at /lobby/, and the one call of a backend that it needs.

For trying things out, on loopback alone: whoever reaches these addresses signs in to the demo application as anybody.
They exist only where the setting ``demo_page`` is on, and answer only requests whose Host is this machine's, so that no
page of elsewhere reaches them through a name that was made to resolve to loopback. The page is ``examples/web``; with
a backend of your own it is the same page (``examples/fastapi``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from greenroom.errors import NotFoundError
from greenroom.external_ids import check_external_id
from greenroom.model import Application, participant_id_of
from greenroom.server.http.routes import Answer, Call, Nothing, public
from greenroom.server.http.static import Packed, packed, send
from greenroom.server.wire.addresses import is_loopback
from greenroom.tokens import SESSION_SCOPES, mint_client_token

DEMO_FILE = "demo-app"
"""In the data directory: the key of the demo application, which `greenroom serve --dev` makes once."""
TOKEN_LIFE = 3_600

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE_HEADERS = {
    # img-src: avatars come from anywhere. The rest is this service's own, and nothing runs inline.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https: http:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class DemoFile(msgspec.Struct, frozen=True):
    """A file of the page."""

    name: str


class SignIn(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Who signs in: the app's own id for them. name is for other backends; the page gives it to `open` itself."""

    external_id: Annotated[str, Meta(min_length=1, max_length=128)]
    name: str = ""


class SignedIn(msgspec.Struct, frozen=True):
    """A client access token, and where to use it."""

    token: str
    url: str


@lru_cache(maxsize=1)
def files() -> dict[str, Packed]:
    """The page's files by name: beside this module in a wheel, in examples/web of a source tree."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "http" / "static_files" / "lobby", here.parents[4] / "examples" / "web"):
        if (folder / "index.html").is_file():
            found = [path for path in folder.iterdir() if path.suffix in _TYPES]
            return {path.name: packed(path.read_bytes()) for path in found}
    return {}


async def page(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The page."""
    return _file(call, "index.html")


async def page_file(call: Call[DemoFile, Nothing, Nothing]) -> Answer:
    """What belongs to it."""
    return _file(call, call.path.name)


def _file(call: Call[Any, Nothing, Nothing], name: str) -> Answer:
    _check_host(call)
    file = files().get(name)
    if file is None:
        raise NotFoundError("There is no such file.")
    return send(file, call.headers, _TYPES[Path(name).suffix], "no-cache")


async def sign_in(call: Call[Nothing, Nothing, SignIn]) -> SignedIn:
    """A client access token of the demo application for any external id."""
    tenants, app = call.context.tenants, application(call)
    external_id = check_external_id(call.body.external_id) or ""
    participant_id = participant_id_of(app.namespace, external_id)
    minted = mint_client_token(
        tenants.keys.ring,
        issuer=call.context.issuer,
        app=app.key,
        version=2,
        scopes=SESSION_SCOPES,
        now=call.now,
        random_bytes=tenants.random_bytes,
        participant_id=participant_id,
        external_id=external_id,
        life=TOKEN_LIFE,
        issued_after=tenants.revocations.cutoff(app, participant_id),
    )
    return SignedIn(minted.token, f"http://{call.headers['host']}")


def application(call: Call[Any, Any, Any]) -> Application:
    """The demo application. Raises NotFoundError where there is none, and for requests of other machines."""
    _check_host(call)
    try:
        key = (Path(call.context.config.data_dir) / DEMO_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        key = ""
    app = call.context.tenants.get(key)
    if app is None or app.disabled:
        raise NotFoundError("There is no demo application.", hint="Run greenroom serve --dev.")
    return app


def _check_host(call: Call[Any, Any, Any]) -> None:
    try:
        name = urlsplit("//" + call.headers.get("host", "")).hostname or ""
    except ValueError:
        name = ""
    if not (is_loopback(name) and is_loopback(call.address)):
        raise NotFoundError(
            "The demo page is for this machine alone.", hint="Open it at http://127.0.0.1 or localhost."
        )


_NO_STORE = {"Cache-Control": "no-store"}

ROUTES = (
    public("GET /lobby/", page, "The example page", tag="demo", headers=_PAGE_HEADERS),
    public("POST /lobby/token", sign_in, "A token of the demo application", tag="demo", headers=_NO_STORE),
    public("GET /lobby/{name}", page_file, "A file of the example page", tag="demo", headers=_PAGE_HEADERS),
)
"""Not in /openapi.json: they are not part of the service."""
