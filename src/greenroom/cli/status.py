"""``greenroom status``: how the service is."""

from __future__ import annotations

from typing import Annotated

import typer

from greenroom.cli.config import ConfigFile
from greenroom.cli.options import AdminToken, Data, Json, Url


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("status")(status)


def status(
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Check only whether the service of these settings is alive on this machine. For health checks.",
        ),
    ] = False,
    file: ConfigFile = None,
    json: Json = False,
    url: Url = None,
    admin_token: AdminToken = None,
    data: Data = None,
) -> None:
    """Show the state of the service.

    With --local neither URL nor admin token is needed: address, port and TLS come from the settings, no proxy is used,
    and the certificate is not checked. Exit code 3: it does not answer.

    Example: greenroom status
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.service import ServiceClient, local_service

    if local:
        reply = local_service(file).call("GET", "/healthz")
    else:
        reply = ServiceClient.find(url, data, admin_token).admin("GET", "/status")
    if json:
        print_json(reply)
    else:
        print_pairs({name: _text(value) for name, value in reply.items()})


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
