"""``greenroom sessions``: which sessions there are, what happened to one, and ending it."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Annotated

import typer

from greenroom.cli.options import Json, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

Which = Annotated[str, typer.Argument(help="The session's id.")]
_READ, _ADMIN = "sessions:read", "sessions:read sessions:admin"


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Sessions: list, show with what happened, end.", no_args_is_help=True)
    verb.command("list")(list_)
    verb.command("show")(show)
    verb.command("end")(end)
    app.add_typer(verb, name="sessions")


@with_backend(_READ)
def list_(
    backend: ServerApi,
    external_id: Annotated[
        str | None, typer.Option(help="Only sessions of the participant with this external id.", show_default=False)
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only sessions that this node holds.", show_default=False)] = None,
    state: Annotated[str | None, typer.Option(help="attached, detached or closed.", show_default=False)] = None,
    ended: Annotated[
        bool,
        typer.Option(
            "--ended", help="Only sessions that ended within the last day, the latest first, with time and reason."
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most items to list.")] = 100,
    json: Json = False,
) -> None:
    """List sessions. With --ended: sessions that have ended, for a participant the latest 64.

    Example: greenroom sessions list --external-id anna --ended
    """
    from greenroom.cli.exits import CliError, Exit
    from greenroom.cli.output import instant, print_json, print_table

    if ended and state not in (None, "closed"):
        raise CliError(f"--ended lists closed sessions, not {state}: leave --state out.", Exit.USAGE)
    query: dict[str, str | None] = {"externalId": external_id, "node": node, "state": "closed" if ended else state}
    if query["state"] == "closed":
        # They come in no order: the latest are known when all were seen.
        items = nlargest(limit, backend.every("/v1/sessions", **query), key=lambda one: one["endedAt"])
    else:
        items = backend.pages("/v1/sessions", limit, **query)
    if json:
        print_json(items)
        return
    if query["state"] == "closed":
        rows = [
            (
                one["externalId"] or one["participantId"],
                instant(one["endedAt"]),
                one["endReason"] + (f": {one['endText']}" if one["endText"] else ""),
                instant(one["openedAt"]),
                one["device"]["name"] or one["device"]["id"] or "",
                one["node"],
                one["id"],
            )
            for one in items
        ]
        print_table(("Participant", "Ended", "Why", "Opened", "Device", "Node", "Id"), rows, empty="None has ended.")
        return
    rows = [
        (
            one["externalId"] or one["participantId"],
            one["state"],
            instant(one["since"]),
            one["device"]["name"] or one["device"]["id"] or "",
            one["node"],
            one["address"],
            one["id"],
        )
        for one in items
    ]
    print_table(("Participant", "State", "Since", "Device", "Node", "Address", "Id"), rows, empty="There are none.")


@with_backend(_READ)
def show(backend: ServerApi, session: Which, json: Json = False) -> None:
    """Show a session and its timeline: what happened, when, on which node and why. Ended sessions are kept for a day.

    Example: greenroom sessions show p17-0f3c…
    """
    from greenroom.cli.output import instant, print_json, print_pairs, print_table
    from greenroom.cli.service import segment

    path = f"/v1/sessions/{segment(session)}/timeline"
    found = backend.call("GET", path)
    if json:
        print_json(found)
        return
    record = found["session"]
    print_pairs(
        {
            "participant": record["externalId"] or record["participantId"],
            "state": record["state"] + (f" ({record['endReason']})" if record["endReason"] else ""),
            "device": record["device"]["name"] or record["device"]["id"] or "",
            "sdk": record["sdk"],
            "address": record["address"],
        }
    )
    rows = [(instant(one["at"]), one["what"], one["node"], one["detail"]) for one in found["items"]]
    print_table(("When", "What", "Node", "Detail"), rows, empty="Nothing is known of it.")


@with_backend(_ADMIN)
def end(
    backend: ServerApi,
    session: Which,
    reason: Annotated[str, typer.Option(help="A text for the participant.")] = "",
    json: Json = False,
) -> None:
    """End one session. Its token stays valid: to keep the participant out, kick or block them.

    Example: greenroom sessions end p17-0f3c…
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    path = f"/v1/sessions/{segment(session)}"
    ended = backend.call("DELETE", path, None, reason=reason or None)
    if json:
        print_json(ended)
    else:
        print(f"The session has ended: {ended['endReason']}.")
