"""``greenroom token``: get tokens, and look into them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.options import AppKey, AppSecret, Data, Json, Url, duration, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

Scope = Annotated[str | None, typer.Option(help="Scopes, separated by spaces. Left out: all.", show_default=False)]
ExpiresIn = Annotated[
    float | None,
    duration(least=1, most=86_400, help="The token's lifetime, like 3600 or 1h. Left out: the service's default."),
]  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Tokens: get an API token or a client access token, inspect one.", no_args_is_help=True)
    verb.command("api")(api)
    verb.command("client")(client)
    verb.command("inspect")(inspect)
    app.add_typer(verb, name="token")


def api(
    key: AppKey = None,
    secret: AppSecret = None,
    scope: Scope = None,
    expires_in: ExpiresIn = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Get an API token, with which a backend calls the service.

    Example: greenroom token api --key 5f2c… --secret 8b1e… --scope "sessions:read"
    """
    from greenroom.cli.backend import api_token
    from greenroom.cli.service import ServiceClient

    _print(api_token(ServiceClient.find(url, data), key, secret, scope, _whole(expires_in)), json)


@with_backend("comms:client_access_token:create")
def client(
    backend: ServerApi,
    external_id: Annotated[
        str | None,
        typer.Option(help="Your own id of the participant. Left out: an anonymous participant.", show_default=False),
    ] = None,
    scope: Scope = None,
    expires_in: ExpiresIn = None,
    json: Json = False,
) -> None:
    """Get a client access token, with which a participant's SDK opens a session.

    Example: greenroom token client --key 5f2c… --secret 8b1e… --external-id anna
    """
    asked = {"externalId": external_id, "sessionScope": scope, "expires_in": _whole(expires_in)}
    body = {name: value for name, value in asked.items() if value is not None}
    _print(backend.call("POST", "/v2/client-access-token", body), json)


def inspect(
    token: Annotated[str, typer.Argument(help="The token, or - to read it from standard input.")] = "-",
    verify: Annotated[bool, typer.Option("--verify", help="Verify the signature with the service's keys.")] = False,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what a token contains. Without --verify nothing is sent, and the token may be forged.

    Example: greenroom token client --external-id anna | greenroom token inspect --verify
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.tokens import looked_into, verified

    text = (sys.stdin.readline() if token == "-" else token).strip()
    found = looked_into(text)
    if verify:
        from greenroom.cli.service import ServiceClient

        found["signature"] = verified(text, ServiceClient.find(url, data).call("GET", "/.well-known/jwks.json"))
    if json:
        print_json(found)
        return
    print_pairs({name: str(value) for name, value in found.items()})


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _print(reply: dict[str, Any], as_json: bool) -> None:
    """The bare token: $(greenroom token api) is what people write."""
    from greenroom.cli.output import print_json

    if as_json:
        print_json(reply)
    else:
        print(reply["access_token"])
