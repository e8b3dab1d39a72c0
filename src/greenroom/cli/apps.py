"""``greenroom apps``: the applications of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli import issuers
from greenroom.cli.options import Json, duration, with_service

if TYPE_CHECKING:
    from greenroom.cli.service import ServiceClient

Key = Annotated[str, typer.Argument(help="The app key.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(
        help="Applications: create, list, rotate secrets, disable, enable, issuers, keys.", no_args_is_help=True
    )
    verb.command("create")(create)
    verb.command("list")(list_)
    verb.command("rotate-secret")(rotate_secret)
    verb.command("settings")(settings)
    verb.command("disable")(disable)
    verb.command("enable")(enable)
    issuers.add_to(verb)
    app.add_typer(verb, name="apps")


@with_service
def create(
    service: ServiceClient,
    name: Annotated[str, typer.Argument(help="The application's display name.")],
    json: Json = False,
) -> None:
    """Create an application. Its secret is shown only once.

    Example: greenroom apps create "My app" --json
    """
    _print_secret(service.admin("POST", "/applications", {"name": name}), json)


@with_service
def list_(service: ServiceClient, json: Json = False) -> None:
    """List all applications.

    Example: greenroom apps list
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = service.admin("GET", "/applications")["items"]
    if json:
        print_json(items)
        return
    rows = [
        (app["name"], app["appKey"], app["state"], str(len(app["secrets"])), instant(app["createdAt"])) for app in items
    ]
    print_table(
        ("Name", "App key", "State", "Secrets", "Created"),
        rows,
        empty='There are no applications yet. Make one: greenroom apps create "My app"',
    )


@with_service
def rotate_secret(
    service: ServiceClient,
    app_key: Key,
    overlap: Annotated[float, duration(help="How long the replaced secret stays valid.", shown="1d")] = 86_400.0,
    json: Json = False,
) -> None:
    """Make a new secret for an application. It is shown only once; the old one stays valid for --overlap.

    Example: greenroom apps rotate-secret 5f2c… --overlap 1h
    """
    _print_secret(service.admin("POST", _path(app_key, "rotate-secret"), {"overlap": overlap}), json)


@with_service
def settings(
    service: ServiceClient,
    app_key: Key,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE; repeatable. Nested names have dots: policy.maxSessions=3."),
    ] = None,
    json: Json = False,
) -> None:
    """Show or change an application's settings: devices, limits, allowed origins, external ids.

    Example: greenroom apps settings 5f2c… --set policy.maxSessions=3 --set 'allowedOrigins=["https://app.example"]'
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.service import segment
    from greenroom.cli.settings import flat, patch_of

    path = f"/applications/{segment(app_key)}"
    reply = service.admin("PATCH", f"{path}/settings", patch_of(change)) if change else service.admin("GET", path)
    if json:
        print_json(reply["settings"])
    else:
        print_pairs(flat(reply["settings"]))


@with_service
def disable(service: ServiceClient, app_key: Key, json: Json = False) -> None:
    """Disable an application: its sessions end, and it gets no tokens until it is enabled again.

    Example: greenroom apps disable 5f2c…
    """
    _print_state(service.admin("POST", _path(app_key, "disable")), json)


@with_service
def enable(service: ServiceClient, app_key: Key, json: Json = False) -> None:
    """Enable an application that was disabled.

    Example: greenroom apps enable 5f2c…
    """
    _print_state(service.admin("POST", _path(app_key, "enable")), json)


def _path(app_key: str, action: str) -> str:
    from greenroom.cli.service import segment

    return f"/applications/{segment(app_key)}/{action}"


def _print_secret(reply: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import print_json, print_pairs

    if as_json:
        print_json(reply)
        return
    print_pairs({"Application": reply["name"], "App key": reply["appKey"], "App secret": reply["appSecret"]})
    print("The secret is not shown again: store it where your backend reads it.")


def _print_state(reply: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import print_json

    if as_json:
        print_json(reply)
    else:
        print(f"{reply['name']} ({reply['appKey']}) is {reply['state']}.")
