"""``greenroom status``: how the service is."""

from __future__ import annotations

import typer

from greenroom.cli.options import AdminToken, Data, Json, Url


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("status")(status)


def status(json: Json = False, url: Url = None, admin_token: AdminToken = None, data: Data = None) -> None:
    """Show what the service is and does.

    Example: greenroom status
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.service import Service

    reply = Service.find(url, data, admin_token).admin("GET", "/status")
    if json:
        print_json(reply)
    else:
        print_pairs({name: _text(value) for name, value in reply.items()})


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
