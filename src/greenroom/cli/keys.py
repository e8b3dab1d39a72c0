"""``greenroom keys``: the keys that tokens are signed with."""

from __future__ import annotations

from typing import Any

import typer

from greenroom.cli.options import AdminToken, Data, Json, Url


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Signing keys: list, rotate.", no_args_is_help=True)
    verb.command("list")(list_)
    verb.command("rotate")(rotate)
    app.add_typer(verb, name="keys")


def list_(json: Json = False, url: Url = None, admin_token: AdminToken = None, data: Data = None) -> None:
    """List the keys that tokens are signed with and accepted from.

    Example: greenroom keys list
    """
    from greenroom.cli.service import Service

    _print(Service.find(url, data, admin_token).admin("GET", "/keys")["items"], json)


def rotate(json: Json = False, url: Url = None, admin_token: AdminToken = None, data: Data = None) -> None:
    """Make a new signing key. It is published at once and signs ten minutes later; nobody's token is lost.

    Example: greenroom keys rotate
    """
    from greenroom.cli.service import Service

    _print(Service.find(url, data, admin_token).admin("POST", "/keys/rotate")["items"], json)


def _print(items: list[dict[str, Any]], as_json: bool) -> None:
    from greenroom.cli.output import instant, print_json, print_table

    if as_json:
        print_json(items)
        return
    rows = [(key["kid"], key["alg"], key["state"], instant(key["createdAt"])) for key in items]
    print_table(("Key", "Algorithm", "State", "Made"), rows, empty="There are no keys.")
