"""The page at /: what there is under this address, for people who open the URL that the service prints."""

from __future__ import annotations

from html import escape
from typing import Any

from greenroom.errors import NotFoundError
from greenroom.server.api import demo
from greenroom.server.http.routes import Answer, Call, Nothing, Route, public
from greenroom.server.version import version

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Greenroom</title>
    <link rel="icon" href="console/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="console/console.css">
  </head>
  <body>
    <header class="bar">
      <span class="brand"><img src="console/icon.svg" alt="" width="28" height="28">Greenroom</span>
    </header>
    <main class="door"><div class="card">
      <h1>The session service is running.</h1>
      <p class="muted">Version {version}.</p>
      {body}
    </div></main>
  </body>
</html>
"""
_DEV = """<p><a href="lobby/">Lobby</a>: an example app. Open it in two tabs.</p>
      <p>Demo application: app key <code>{key}</code>. Its secret was printed where the service was started.</p>"""
_PLAIN = """<p><a href="console/">Console</a>: who is online, for operators. It asks for app key and secret.</p>
      <h2 id="docs">Documentation</h2>
      <p><a href="openapi.json">HTTP API</a> (OpenAPI 3.1) and <a href="asyncapi.json">session protocol</a>
      (AsyncAPI 3.0), for people and for generators of clients.</p>
      <p><a href="sdk/">SDKs</a>: the browser module, npm packages and the Python wheel of this version.</p>"""


async def start(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The start page. With the demo page it has the way to that one, and the demo application's key."""
    body = _PLAIN
    if call.context.config.demo_page == "on":
        try:
            body = _DEV.format(key=escape(demo.application(call).key)) + body
        except NotFoundError:
            pass
    page = _PAGE.format(version=escape(version()), body=body)
    return Answer(page.encode(), headers=_HEADERS, content_type="text/html; charset=utf-8")


async def docs(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """People type it."""
    return Answer(b"", 308, {"Location": "./#docs"}, "text/plain")


async def lobby(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The page's links are relative to lobby/."""
    return Answer(b"", 308, {"Location": "lobby/"}, "text/plain")


def routes(*, demo_page: bool) -> tuple[Route, ...]:
    """Not in /openapi.json: they are pages, and no interface."""
    more: dict[str, Any] = {"tag": "start"}
    rows = (public("GET /", start, "The start page", **more), public("GET /docs", docs, "The way to it", **more))
    return (*rows, public("GET /lobby", lobby, "Redirect to the example page", **more)) if demo_page else rows
