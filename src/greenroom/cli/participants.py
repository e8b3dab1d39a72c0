"""``greenroom participants``: who there is; kick, block and erase."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.options import Json, duration, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_participant(text: str | None) -> str | None:
    """A participant's id is a UUID: what is none was meant as an external id."""
    if text is not None and not text.startswith("ext:") and not _UUID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a participant id (a UUID). An external id is written ext:{text}.")
    return text


Who = Annotated[
    str, typer.Argument(help="The participant's id, or ext: and the external id.", callback=check_participant)
]
Why = Annotated[str, typer.Option("--reason", help="A text for the participant.")]
_READ, _ADMIN = "participants:read", "participants:admin"


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Participants: list, show, update, kick, block, unblock, erase.", no_args_is_help=True)
    for name, command in (
        ("list", list_),
        ("show", show),
        ("update", update),
        ("kick", kick),
        ("block", block),
        ("blocks", blocks),
        ("unblock", unblock),
        ("erase", erase),
    ):
        verb.command(name)(command)
    app.add_typer(verb, name="participants")


@with_backend(_READ)
def list_(
    backend: ServerApi,
    presence: Annotated[
        list[str] | None, typer.Option(help="online, unreachable or offline; repeatable. Left out: all.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="A part of the name, external id or id, in upper or lower case. Left out: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most items to list.")] = 100,
    json: Json = False,
) -> None:
    """List participants.

    Example: greenroom participants list --presence online --search anna
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = backend.pages("/v1/participants", limit, presence=presence, search=search)
    if json:
        print_json(items)
        return
    rows = [
        (
            one["name"] or "",
            one["externalId"] or "",
            one["presence"],
            str(one["sessions"]),
            instant(one["lastSeen"]),
            one["id"],
        )
        for one in items
    ]
    print_table(
        ("Name", "External id", "Presence", "Sessions", "Last seen", "Id"), rows, empty="There are no participants."
    )


@with_backend(_READ)
def show(backend: ServerApi, who: Who, json: Json = False) -> None:
    """Show one participant.

    Example: greenroom participants show ext:anna
    """
    from greenroom.cli.service import segment

    _print_participant(backend.call("GET", "/v1/participants/" + segment(who)), json)


@with_backend(_ADMIN)
def update(
    backend: ServerApi,
    who: Who,
    name: Annotated[str | None, typer.Option(help='The new name; "" clears it.', show_default=False)] = None,
    avatar_url: Annotated[
        str | None, typer.Option(help='The new avatar URL; "" clears it.', show_default=False)
    ] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeatable.")] = None,
    remove_attribute: Annotated[
        list[str] | None, typer.Option(help="NAME of an attribute to remove; repeatable.")
    ] = None,
    if_revision: Annotated[
        int | None, typer.Option(help="Change it only if this is the present revision.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Change a participant's name, avatar and attributes; what is left out stays as it is.

    Example: greenroom participants update ext:anna --attribute role=nurse --attribute team=blue
    """
    from greenroom.cli.service import segment

    attributes = _attributes(attribute or (), remove_attribute or ())
    body = {"name": name, "avatarUrl": avatar_url, "attributes": attributes or None}
    headers = {} if if_revision is None else {"If-Match": f'"{if_revision}"'}
    _print_participant(backend.call("PATCH", "/v1/participants/" + segment(who), body, headers=headers), json)


@with_backend(_ADMIN)
def kick(backend: ServerApi, who: Who, reason: Why = "", json: Json = False) -> None:
    """End a participant's sessions and revoke the tokens issued so far. A new token lets them in again.

    Example: greenroom participants kick ext:anna --reason "Please be kind"
    """
    _restrict(backend, json, who, {"reason": reason})


@with_backend(_ADMIN)
def block(
    backend: ServerApi,
    who: Who,
    seconds: Annotated[
        float | None, duration("--for", least=1, help="How long, like 1h or 2d. Left out: for good.")
    ] = None,
    reason: Why = "",
    json: Json = False,
) -> None:
    """Kick a participant and keep them out.

    Example: greenroom participants block ext:anna --for 1d
    """
    term = {} if seconds is None else {"seconds": int(seconds)}
    _restrict(backend, json, who, {"reason": reason, "block": term})


@with_backend(_READ)
def blocks(
    backend: ServerApi,
    limit: Annotated[int, typer.Option(min=1, help="The most items to list.")] = 1000,
    json: Json = False,
) -> None:
    """List blocks.

    Example: greenroom participants blocks
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = backend.pages("/v1/blocks", limit)
    if json:
        print_json(items)
        return
    rows = [
        (one["participantId"], "for good" if one["until"] is None else instant(one["until"]), one["reason"])
        for one in items
    ]
    print_table(("Participant", "Until", "Reason"), rows, empty="Nobody is blocked.")


@with_backend(_ADMIN)
def unblock(backend: ServerApi, who: Who, json: Json = False) -> None:
    """Lift a block.

    Example: greenroom participants unblock ext:anna
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    reply = backend.call("DELETE", "/v1/blocks/" + segment(who))
    if json:
        print_json(reply)
    else:
        print("The block is lifted. Earlier tokens stay revoked.")


@with_backend(_ADMIN)
def erase(
    backend: ServerApi,
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """End a participant's sessions, and remove the record and everything that names the participant. A block stays,
    under the hash of the id.

    Example: greenroom participants erase ext:anna --yes
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    if not yes:
        typer.confirm(f"Erase {who}? This cannot be undone.", abort=True, err=True)
    reply = backend.call("DELETE", "/v1/participants/" + segment(who))
    if json:
        print_json(reply)
    else:
        print(f"Erased. {_ended(reply)}")


def _attributes(given: Iterable[str], removed: Iterable[str]) -> dict[str, str | None]:
    changes: dict[str, str | None] = dict.fromkeys(removed)
    for each in given:
        name, divider, value = each.partition("=")
        if not divider:
            raise typer.BadParameter(f"{each!r} is not NAME=VALUE.", param_hint="--attribute")
        changes[name] = value
    return changes


def _print_participant(found: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import print_json, print_pairs

    if as_json:
        print_json(found)
        return
    pairs = {name: "" if value is None else str(value) for name, value in found.items() if name != "attributes"}
    print_pairs(pairs | {f"attributes.{name}": value for name, value in found["attributes"].items()})


def _restrict(backend: ServerApi, as_json: bool, who: str, body: dict[str, Any]) -> None:
    from greenroom.cli.output import instant, print_json
    from greenroom.cli.service import segment

    reply = backend.call("POST", f"/v1/participants/{segment(who)}/kick", body)
    if as_json:
        print_json(reply)
        return
    print(_ended(reply))
    if reply["blocked"]:
        print(
            "Blocked " + ("for good." if reply["blockedUntil"] is None else f"until {instant(reply['blockedUntil'])}.")
        )


def _ended(reply: dict[str, Any]) -> str:
    number = len(reply["ended"])
    return "1 session was ended." if number == 1 else f"{number or 'No'} sessions were ended."
