"""``greenroom webhooks``: endpoints, tests, dead letters, replay, and watching deliveries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.options import Json, duration, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

Endpoint = Annotated[str, typer.Argument(help="The endpoint's id, as `webhooks list` shows it.")]
_READ, _ADMIN = "events:read", "events:read sessions:admin"
TAIL_EVERY = 1.0
"""Seconds between two looks."""


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(
        help="Webhooks: add, list, remove, test, enable, rotate, dead-letters, replay, tail.", no_args_is_help=True
    )
    for name, command in (
        ("add", add),
        ("list", list_),
        ("remove", remove),
        ("test", try_),
        ("enable", enable),
        ("rotate-secret", rotate_secret),
        ("dead-letters", dead_letters),
        ("replay", replay),
        ("tail", tail),
    ):
        verb.command(name)(command)
    app.add_typer(verb, name="webhooks")


@with_backend(_ADMIN)
def add(
    backend: ServerApi,
    address: Annotated[str, typer.Argument(help="The URL to which events are posted: https://…")],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="An event type, like session.ended or 'session.*'; repeatable. Left out: all."),
    ] = None,
    asymmetric: Annotated[bool, typer.Option("--asymmetric", help="Ed25519 (v1a), not HMAC-SHA256 (v1).")] = False,
    json: Json = False,
) -> None:
    """Add an endpoint. Its secret is shown only once.

    Example: greenroom webhooks add https://app.example/hooks/greenroom --event "session.*"
    """
    body = {"url": address, "events": event or [], "signature": "v1a" if asymmetric else "v1"}
    _print_secret(backend.call("POST", "/v1/webhooks", body), json)


@with_backend(_READ)
def list_(backend: ServerApi, json: Json = False) -> None:
    """List endpoints.

    Example: greenroom webhooks list
    """
    from greenroom.cli.output import print_json, print_table

    items = backend.call("GET", "/v1/webhooks")["items"]
    if json:
        print_json(items)
        return
    rows = [
        (one["id"], one["url"], " ".join(one["events"]) or "all", one["disabledReason"] or one["state"])
        for one in items
    ]
    print_table(("Id", "URL", "Events", "State"), rows, empty="There are no endpoints.")


@with_backend(_ADMIN)
def remove(backend: ServerApi, endpoint: Endpoint, json: Json = False) -> None:
    """Remove an endpoint with its dead letters.

    Example: greenroom webhooks remove wh_5d1c…
    """
    _done(backend.call("DELETE", _path(endpoint)), json, "Removed.")


@with_backend(_ADMIN)
def try_(backend: ServerApi, endpoint: Endpoint, json: Json = False) -> None:
    """Send a test event now and print the result. Exit code 1 if it was not delivered.

    Example: greenroom webhooks test wh_5d1c…
    """
    from greenroom.cli.output import print_json

    tried = backend.call("POST", _path(endpoint) + "/test")
    if json:
        print_json(tried)
    elif tried["delivered"]:
        print(f"Delivered: status {tried['status']} in {tried['took']} s.")
    else:
        print(f"Not delivered: {tried['why']} ({tried['took']} s).")
    if not tried["delivered"]:
        raise typer.Exit(1)


@with_backend(_ADMIN)
def enable(backend: ServerApi, endpoint: Endpoint, json: Json = False) -> None:
    """Enable an endpoint again. It continues where it stopped, as far as events are still stored.

    Example: greenroom webhooks enable wh_5d1c…
    """
    reply = backend.call("PATCH", _path(endpoint), {"state": "enabled"})
    _done(reply, json, "Enabled.")


@with_backend(_ADMIN)
def rotate_secret(
    backend: ServerApi,
    endpoint: Endpoint,
    overlap: Annotated[
        float, duration(help="How long messages are also signed with the old secret.", shown="1d")
    ] = 86_400.0,
    json: Json = False,
) -> None:
    """Make a new secret. Messages are signed with both secrets until the overlap is over.

    Example: greenroom webhooks rotate-secret wh_5d1c…
    """
    _print_secret(backend.call("POST", _path(endpoint) + "/rotate-secret", {"overlap": overlap}), json)


@with_backend(_READ)
def dead_letters(
    backend: ServerApi,
    endpoint: Endpoint,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most items to list.")] = 100,
    json: Json = False,
) -> None:
    """List events that could not be delivered.

    Example: greenroom webhooks dead-letters wh_5d1c…
    """
    from greenroom.cli.output import print_json, print_table

    items = backend.call("GET", _path(endpoint) + "/dead-letters", None, limit=limit)["items"]
    if json:
        print_json(items)
        return
    rows = [(one["event"]["timestamp"], one["event"]["type"], one["event"]["id"], one["why"]) for one in items]
    print_table(("When", "Type", "Id", "Why"), rows, empty="There are no dead letters.")


@with_backend(_ADMIN)
def replay(
    backend: ServerApi,
    endpoint: Endpoint,
    first: Annotated[
        int | None, typer.Option("--from", help="From this instant, Unix milliseconds.", show_default=False)
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--to", help="Up to this instant, Unix milliseconds. Left out: now.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Send events again: all dead letters, or with --from and --to all events between two instants.

    Example: greenroom webhooks replay wh_5d1c… --from 1735689600000
    """
    from greenroom.cli.output import print_json

    is_range = first is not None or last is not None
    body: dict[str, Any] = {"from": first or 0, "to": last} if is_range else {"deadLetters": True}
    queued = 0
    while True:
        reply = backend.call("POST", _path(endpoint) + "/replay", body)
        queued += reply["queued"]
        if not reply["more"] or (is_range and reply["next"] == body["from"]):
            break
        if is_range:
            body = {**body, "from": reply["next"]}
    if json:
        print_json({"queued": queued})
        return
    one = queued == 1
    if is_range:
        print(f"{queued} event{' is' if one else 's are'} queued; the endpoint gets those of its types.")
    else:
        print(f"{queued} dead letter{'' if one else 's'} will be sent again.")


@with_backend(_READ)
def tail(backend: ServerApi, endpoint: Endpoint, json: Json = False) -> None:
    """Watch deliveries as they are made, until Ctrl-C. In a cluster: those of the node that answers.

    Example: greenroom webhooks tail wh_5d1c…
    """
    from greenroom.cli.backend import TOKEN_LIFE

    after, renewed = 0, time.monotonic()
    while True:
        found = backend.call("GET", _path(endpoint) + "/attempts", None, after=after)
        for one in found["items"]:
            after = max(after, one["number"])
            _print_attempt(one, json)
        time.sleep(TAIL_EVERY)
        if time.monotonic() - renewed > TOKEN_LIFE / 2:
            backend.renew()
            renewed = time.monotonic()


def _done(reply: Any, as_json: bool, text: str) -> None:
    from greenroom.cli.output import print_json

    if as_json:
        print_json(reply)
    else:
        print(text)


def _print_attempt(one: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import instant, print_json

    if as_json:
        print_json(one)
        return
    outcome = f"{one['status']}" if one["delivered"] else one["why"]
    print(
        f"{instant(one['at'])}  {one['eventType']:<24} attempt {one['attempt']}  {outcome}  {one['took']} s  "
        f"{one['eventId']}",
        flush=True,
    )


def _print_secret(made: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import print_json, print_pairs

    if as_json:
        print_json(made)
        return
    endpoint = made["endpoint"]
    name = "public key" if endpoint["signature"] == "v1a" else "secret"
    print_pairs({"endpoint": endpoint["id"], "url": endpoint["url"], name: made["secret"]})
    if name == "secret":
        print("The secret is shown only once.")


def _path(endpoint: str) -> str:
    from greenroom.cli.service import segment

    return "/v1/webhooks/" + segment(endpoint)
