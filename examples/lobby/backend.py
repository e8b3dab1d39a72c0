"""The lobby's backend: signs people in, and serves the page.

It needs the package `greenroom` alone, and reads GREENROOM_URL, GREENROOM_APP_KEY and GREENROOM_APP_SECRET.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from greenroom.backend import Backend

PAGE = Path(__file__).parent / "page"
PEOPLE = {"anna": "Anna", "ben": "Ben", "chloe": "Chloe"}
URL = os.environ["GREENROOM_URL"]
BACKEND = web.AppKey("backend", Backend)


async def index(request: web.Request) -> web.FileResponse:
    """The page."""
    return web.FileResponse(PAGE / "index.html")


async def sign_in(request: web.Request) -> web.Response:
    """A client access token. A real app checks a password or a cookie first; this one trusts whoever asks."""
    person = (await request.json())["person"]
    if person not in PEOPLE:
        raise web.HTTPNotFound
    token = await request.app[BACKEND].client_token(
        external_id=person,
        scopes=["notifications:set", "session:update"],  # to see who is in the room, and to change their name
    )
    return web.json_response({"url": URL, "token": token, "name": PEOPLE[person]})


async def connected(app: web.Application) -> AsyncIterator[None]:
    """One client of Greenroom for as long as the backend runs."""
    key, secret = os.environ["GREENROOM_APP_KEY"], os.environ["GREENROOM_APP_SECRET"]
    async with Backend(URL, key, secret) as app[BACKEND]:
        yield


def make_app() -> web.Application:
    """The backend's routes."""
    app = web.Application()
    app.cleanup_ctx.append(connected)
    app.add_routes([web.get("/", index), web.post("/sign-in", sign_in), web.static("/page", PAGE)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
