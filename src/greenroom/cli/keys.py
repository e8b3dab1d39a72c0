"""``greenroom keys``: the keys that tokens are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from greenroom.cli.options import Json, with_service

if TYPE_CHECKING:
    from greenroom.cli.service import ServiceClient


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Signing keys: list, rotate.", no_args_is_help=True)
    verb.command("list")(list_)
    verb.command("rotate")(rotate)
    app.add_typer(verb, name="keys")


@with_service
def list_(service: ServiceClient, json: Json = False) -> None:
    """List the keys with which tokens are signed and verified.

    Example: greenroom keys list
    """
    _print(service.admin("GET", "/keys")["items"], json)


@with_service
def rotate(service: ServiceClient, json: Json = False) -> None:
    """Make a new signing key. It is published at once and signs ten minutes later; no token becomes invalid.

    Example: greenroom keys rotate
    """
    _print(service.admin("POST", "/keys/rotate")["items"], json)


def _print(items: list[dict[str, Any]], as_json: bool) -> None:
    from greenroom.cli.output import instant, print_json, print_table

    if as_json:
        print_json(items)
        return
    rows = [(key["kid"], key["alg"], key["state"], instant(key["createdAt"])) for key in items]
    print_table(("Key", "Algorithm", "State", "Made"), rows, empty="There are no keys.")
