"""``greenroom events``: what happened, and what happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from greenroom.cli.options import Json, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

WAIT = 5
"""Seconds that one poll waits; well below the HTTP client's patience."""


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("events")(events)


@with_backend("events:read")
def events(
    backend: ServerApi,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events.")] = False,
    type: Annotated[
        list[str] | None,
        typer.Option(help="An event type, like session.ended or 'session.*'; repeatable. Left out: all."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            help="Start after this cursor, or `now` for only new events. Left out: all stored events.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print events, oldest first: all stored ones (72 hours), and with --follow new ones as they happen.

    Example: greenroom events --follow --after now
    """
    from greenroom.cli.backend import TOKEN_LIFE

    renewed = time.monotonic()
    while True:
        page = backend.call("GET", "/v1/events", None, after=after, type=type, wait=WAIT if follow else None, limit=500)
        for event in page["items"]:
            _print(event, json)
        # With a filter a page may be empty and yet not the last: the cursor has moved then.
        if not follow and page["cursor"] == after:
            return
        after = page["cursor"]
        if time.monotonic() - renewed > TOKEN_LIFE / 2:
            backend.renew()
            renewed = time.monotonic()


def _print(event: dict[str, object], as_json: bool) -> None:
    from greenroom.cli.output import print_json, printable

    if as_json:
        print_json(event)
        return
    who = event["sessionId"] or event["participantId"] or ""
    details = event["data"]
    text = " ".join(f"{name}={value}" for name, value in details.items()) if isinstance(details, dict) else ""
    print(f"{event['timestamp']}  {event['type']:<24} {who}  {printable(text)}", flush=True)
