"""``greenroom participants``: who there is; kick, block and erase."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from greenroom.cli.options import AppKey, AppSecret, Data, Json, Url

Who = Annotated[str, typer.Argument(help="The participant's id, or ext:<external id>.")]
Why = Annotated[str, typer.Option("--reason", help="For people; the participant hears it.")]
_READ, _ADMIN = "participants:read", "participants:admin"


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Participants: list, show, kick, block, unblock, erase.", no_args_is_help=True)
    for name, command in (
        ("list", list_),
        ("show", show),
        ("kick", kick),
        ("block", block),
        ("blocks", blocks),
        ("unblock", unblock),
        ("erase", erase),
    ):
        verb.command(name)(command)
    app.add_typer(verb, name="participants")


def list_(
    presence: Annotated[
        list[str] | None, typer.Option(help="online, unreachable or offline; repeatable. Left out: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """List participants.

    Example: greenroom participants list --presence online
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = _backend(url, data, key, secret, _READ).pages("/v1/participants", limit, presence=presence)
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
    print_table(("Name", "External id", "Presence", "Sessions", "Last seen", "Id"), rows, empty="There is nobody.")


def show(
    who: Who,
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show one participant.

    Example: greenroom participants show ext:anna
    """
    from greenroom.cli.output import print_json, print_pairs
    from greenroom.cli.service import segment

    found = _backend(url, data, key, secret, _READ).call("GET", "/v1/participants/" + segment(who))
    if json:
        print_json(found)
    else:
        print_pairs({name: "" if value is None else str(value) for name, value in found.items()})


def kick(
    who: Who,
    reason: Why = "",
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """End a participant's sessions and revoke the tokens given out so far. A new token lets them in again.

    Example: greenroom participants kick ext:anna --reason "Please be kind"
    """
    _restrict(url, data, key, secret, json, who, {"reason": reason})


def block(
    who: Who,
    seconds: Annotated[int | None, typer.Option("--for", min=1, help="Seconds; left out means for good.")] = None,
    reason: Why = "",
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Kick a participant and keep them out.

    Example: greenroom participants block ext:anna --for 86400
    """
    term = {} if seconds is None else {"seconds": seconds}
    _restrict(url, data, key, secret, json, who, {"reason": reason, "block": term})


def blocks(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1000,
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """List blocks.

    Example: greenroom participants blocks
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = _backend(url, data, key, secret, _READ).pages("/v1/blocks", limit)
    if json:
        print_json(items)
        return
    rows = [
        (one["participantId"], "for good" if one["until"] is None else instant(one["until"]), one["reason"])
        for one in items
    ]
    print_table(("Participant", "Until", "Reason"), rows, empty="Nobody is blocked.")


def unblock(
    who: Who,
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Lift a block.

    Example: greenroom participants unblock ext:anna
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    reply = _backend(url, data, key, secret, _ADMIN).call("DELETE", "/v1/blocks/" + segment(who))
    if json:
        print_json(reply)
    else:
        print("The block is lifted. Tokens from before it stay revoked.")


def erase(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    key: AppKey = None,
    secret: AppSecret = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """End a participant's sessions and remove the record and what names it. A block stays, by hashed id.

    Example: greenroom participants erase ext:anna --yes
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    if not yes:
        typer.confirm(f"Erase {who}? This cannot be undone.", abort=True)
    reply = _backend(url, data, key, secret, _ADMIN).call("DELETE", "/v1/participants/" + segment(who))
    if json:
        print_json(reply)
    else:
        print(f"Erased. {_ended(reply)}")


def _restrict(url: Any, data: Any, key: Any, secret: Any, as_json: bool, who: str, body: dict[str, Any]) -> None:
    from greenroom.cli.output import instant, print_json
    from greenroom.cli.service import segment

    reply = _backend(url, data, key, secret, _ADMIN).call("POST", f"/v1/participants/{segment(who)}/kick", body)
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


def _backend(url: Any, data: Any, key: Any, secret: Any, scope: str) -> Any:
    from greenroom.cli.backend import Backend

    return Backend.find(url, data, key, secret, scope)
