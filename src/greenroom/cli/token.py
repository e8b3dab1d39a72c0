"""``greenroom token``: get tokens, and look into them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import AppKey, AppSecret, Data, Json, Url

Scope = Annotated[str | None, typer.Option(help="Scopes with spaces between; left out means all.", show_default=False)]
ExpiresIn = Annotated[
    int | None,
    typer.Option(min=1, max=86400, help="Seconds; else the service's default.", show_default=False),
]


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
    """Get an API token, which a backend calls the service with.

    Example: greenroom token api --key 5f2c… --secret 8b1e… --scope "sessions:read"
    """
    _print(_api_token(_service(url, data), key, secret, scope, expires_in), json)


def client(
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of the participant; left out means anonymous.", show_default=False)
    ] = None,
    key: AppKey = None,
    secret: AppSecret = None,
    scope: Scope = None,
    expires_in: ExpiresIn = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Get a client access token, which one participant's SDK opens a session with.

    Example: greenroom token client --key 5f2c… --secret 8b1e… --external-id anna
    """
    service = _service(url, data)
    api_token = _api_token(service, key, secret, "comms:client_access_token:create", 60)["access_token"]
    asked = {"externalId": external_id, "sessionScope": scope, "expires_in": expires_in}
    body = {name: value for name, value in asked.items() if value is not None}
    headers = {"Authorization": f"Bearer {api_token}"}
    _print(service.call("POST", "/v2/client-access-token", body, headers), json)


def inspect(
    token: Annotated[str, typer.Argument(help="The token, or - to read it from stdin.")] = "-",
    verify: Annotated[bool, typer.Option("--verify", help="Check its signature with the service's keys.")] = False,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what a token says. Without --verify nothing is sent anywhere, and nothing says that it is genuine.

    Example: greenroom token client --external-id anna | greenroom token inspect --verify
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.tokens import looked_into, verified

    text = (sys.stdin.readline() if token == "-" else token).strip()
    found = looked_into(text)
    if verify:
        found["signature"] = verified(text, _service(url, data).call("GET", "/.well-known/jwks.json"))
    if json:
        print_json(found)
        return
    print_pairs({name: str(value) for name, value in found.items()})


def _service(url: str | None, data: Any) -> Any:
    from greenroom.cli.service import Service

    return Service.find(url, data)


def _api_token(service: Any, key: str | None, secret: str | None, scope: str | None, expires_in: int | None) -> Any:
    if not key or not secret:
        raise CliError(
            "App key and secret are needed: --key and --secret, or GREENROOM_APP_KEY and GREENROOM_APP_SECRET.",
            Exit.USAGE,
        )
    asked = {"grant_type": "client_credentials", "scope": scope, "expires_in": expires_in}
    fields = {name: str(value) for name, value in asked.items() if value is not None}
    return service.form("/v1/auth/token", fields, key, secret)


def _print(reply: dict[str, Any], as_json: bool) -> None:
    """The bare token: $(greenroom token api) is what people write."""
    from greenroom.cli.output import print_json

    if as_json:
        print_json(reply)
    else:
        print(reply["access_token"])
