"""``greenroom rooms``: which rooms are open, who is in them; messages, kicks, and ending one."""

from __future__ import annotations

import json as jsons
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.options import Json, duration, with_backend
from greenroom.cli.participants import Who, check_participant

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

WAIT = 5
"""Seconds that one poll waits; well below the HTTP client's patience."""
_READ, _ADMIN, _FOLLOW = "rooms:read", "rooms:admin", "rooms:read events:read"


Which = Annotated[str, typer.Argument(help="The room's name.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Rooms: list, show who is there, watch, send, kick, end.", no_args_is_help=True)
    verb.command("list")(list_)
    verb.command("show")(show)
    verb.command("watch")(watch)
    verb.command("send")(send)
    verb.command("kick")(kick)
    verb.command("end")(end)
    app.add_typer(verb, name="rooms")


@with_backend(_READ)
def list_(
    backend: ServerApi,
    search: Annotated[
        str | None, typer.Option(help="A part of the name, in upper or lower case. Left out: all.")
    ] = None,
    participant: Annotated[
        str | None,
        typer.Option(
            help="Only rooms that this participant is in: id, or ext: and the external id.", callback=check_participant
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most items to list.")] = 100,
    json: Json = False,
) -> None:
    """List the rooms that are open, by name.

    Example: greenroom rooms list --search standup
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = backend.pages("/v1/rooms", limit, search=search, **_who(participant))
    if json:
        print_json(items)
        return
    rows = [
        (
            one["name"],
            str(one["count"]),
            "ending" if one["ending"] else "detailed" if one["detailed"] else "counted",
            instant(one["openedAt"]),
            one["openedBy"] or "the backend",
            one["id"],
        )
        for one in items
    ]
    print_table(("Name", "Members", "Kind", "Opened", "By", "Id"), rows, empty="No room is open.")


@with_backend(_READ)
def show(
    backend: ServerApi,
    room: Which,
    limit: Annotated[int, typer.Option(min=1, help="The most members to list.")] = 1000,
    json: Json = False,
) -> None:
    """Show a room and who is in it.

    Example: greenroom rooms show standup
    """
    from greenroom.cli.output import instant, print_json, print_pairs, print_table

    found = backend.call("GET", _path(room))
    members = backend.pages(_path(room, "members"), limit)
    if json:
        print_json({**found, "members": members})
        return
    print_pairs(
        {
            "id": found["id"],
            "members": str(found["count"]),
            "kind": "detailed" if found["detailed"] else "counted",
            "opened": f"{instant(found['openedAt'])} by {found['openedBy'] or 'the backend'}",
            "outlasts its last member by": f"{found['ttl']:g} s",
            "state": "ending" if found["ending"] else "open",
        }
    )
    rows = [
        (
            one["name"] or "",
            one["externalId"] or "",
            one["presence"],
            one["status"],
            str(one["sessions"]),
            instant(one["joinedAt"]),
            one["id"],
        )
        for one in members
    ]
    columns = ("Name", "External id", "Presence", "Status", "Sessions", "Since", "Id")
    print_table(columns, rows, empty="It has no members.")


@with_backend(_FOLLOW)
def watch(backend: ServerApi, room: Which, json: Json = False) -> None:
    """Print who is in a room, and then who joins and leaves, with the reason. The room need not be open yet.

    Example: greenroom rooms watch standup
    """
    from greenroom.cli.backend import TOKEN_LIFE

    def poll(after: str, wait: int | None) -> dict[str, Any]:
        page: dict[str, Any] = backend.call(
            "GET", "/v1/events", None, after=after, type=["room.*"], wait=wait, limit=500
        )
        return page

    cursor = poll("now", None)["cursor"]  # before the roster is read: nothing is missed in between
    for one in backend.every(_path(room, "members")):
        _print_member("is here", one["id"], one["externalId"], one["name"], "", json)
    renewed = time.monotonic()
    while True:
        page = poll(cursor, WAIT)
        cursor = page["cursor"]
        for event in page["items"]:
            data = event["data"]
            if data.get("room") == room:
                what = event["type"].removeprefix("room.")
                names = data.get("externalId"), data.get("name")
                _print_member(what, event["participantId"] or "", *names, data.get("reason", ""), json)
        if time.monotonic() - renewed > TOKEN_LIFE / 2:
            backend.renew()
            renewed = time.monotonic()


@with_backend(_ADMIN)
def send(
    backend: ServerApi,
    room: Which,
    message: Annotated[str, typer.Argument(help="JSON, at most 16 KiB; what is not JSON is sent as a text.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="A participant: id, or ext: and the external id; repeatable. Left out: all members.",
            callback=lambda given: [check_participant(one) for one in given or ()],
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Send a message to the members of a room, as the backend. It is not stored.

    Example: greenroom rooms send standup '{"ends": "in 5 minutes"}'
    """
    from greenroom.cli.output import print_json

    try:
        value = jsons.loads(message)
    except ValueError:
        value = message
    outside = [one.removeprefix("ext:") for one in to or () if one.startswith("ext:")]
    ids = [one for one in to or () if not one.startswith("ext:")]
    reply = backend.call("POST", _path(room, "messages"), {"message": value, "to": ids, "toExternalIds": outside})
    if json:
        print_json(reply)
    else:
        print("The message was sent.")


@with_backend(_ADMIN)
def kick(
    backend: ServerApi,
    room: Which,
    who: Who,
    seconds: Annotated[
        float, duration("--for", shown="1m", help="How long the participant is kept out, like 90s or 1h.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Kick a participant out of a room. Its sessions stay open.

    Example: greenroom rooms kick standup ext:anna --for 10m
    """
    from greenroom.cli.output import print_json

    reply = backend.call("POST", _path(room, "kick"), {**_who(who), "seconds": seconds})
    if json:
        print_json(reply)
        return
    number = len(reply["sessions"])
    print("1 session was removed." if number == 1 else f"{number or 'No'} sessions were removed.")


@with_backend(_ADMIN)
def end(backend: ServerApi, room: Which, json: Json = False) -> None:
    """End a room: it refuses joins, and its members are removed. Their sessions stay open.

    Example: greenroom rooms end standup
    """
    from greenroom.cli.output import print_json

    reply = backend.call("DELETE", _path(room))
    if json:
        print_json(reply)
    else:
        print("Its members leave." if reply["state"] == "ending" else "It is not open.")


def _path(room: str, below: str = "") -> str:
    from greenroom.cli.service import segment

    return f"/v1/rooms/{segment(room)}" + (f"/{below}" if below else "")


def _who(participant: str | None) -> dict[str, str]:
    if participant is None:
        return {}
    external_id = participant.removeprefix("ext:")
    return {"participantId": participant} if external_id == participant else {"externalId": external_id}


def _print_member(
    what: str, participant_id: str, external_id: str | None, name: str | None, reason: str, as_json: bool
) -> None:
    from greenroom.cli.output import instant, print_json, printable

    now = int(time.time() * 1000)
    if as_json:
        fields = {"participantId": participant_id, "externalId": external_id, "name": name, "reason": reason or None}
        print_json({"at": now, "what": what, **fields})
        return
    who = printable(" ".join(one for one in (name, external_id, participant_id) if one))
    print(f"{instant(now)}  {what:<8}{who}{f'  ({reason})' if reason else ''}", flush=True)
