"""Every row of the API, and which pages come beside them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from greenroom.server.api import routes
from greenroom.server.api.routes import API_ROUTES, all_routes
from greenroom.server.http.openapi import document
from greenroom.server.version import version
from tests.server.http_service import http_site


def test_the_rows_of_every_module_are_there() -> None:
    """A module that is added must be added here too."""
    folder = Path(routes.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\nROUTES = (" in path.read_text()}
    assert len(modules) > 12
    rows = {(row.method, row.path) for row in all_routes(demo_page=True)}
    for name in modules:
        own = getattr(routes, name).ROUTES
        assert {(row.method, row.path) for row in own} <= rows, name


def test_the_demo_page_is_there_where_it_is_asked_for_and_never_described() -> None:
    plain, demo = ({row.path for row in all_routes(demo_page=on)} for on in (False, True))
    assert demo - plain == {"/lobby/", "/lobby/token", "/lobby/{name}"} | ({"/lobby"} & demo)
    assert not any(row.path.startswith(("/lobby", "/console")) for row in API_ROUTES)
    assert {row.path for row in API_ROUTES} < plain


async def test_the_description_is_served() -> None:
    async with http_site() as site:
        reply = await site.send("GET", "/openapi.json")
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        assert reply.json == msgspec.json.decode(msgspec.json.encode(document(API_ROUTES, version=version())))
