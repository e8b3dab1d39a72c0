"""``greenroom doctor``: what is wrong in the cluster, and why; repairs on request only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import AdminToken, Data, Json, Url

if TYPE_CHECKING:
    from pathlib import Path

_STYLES = {"problem": "bold red", "warning": "yellow"}


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("doctor")(doctor)


def doctor(
    session: Annotated[
        str | None, typer.Option("--session", help="Print this session's timeline instead.", show_default=False)
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what a node or the reaper would repair.")] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="Read this engine directly: embedded, or the URL of a Redis. For a cluster that is down.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    url: Url = None,
    admin_token: AdminToken = None,
    data: Data = None,
) -> None:
    """Compare registry, leases and live sockets over the whole cluster, and explain differences.

    Also checks the engine's durability, clocks, versions, and settings that contradict each other. A difference is
    reported only if it is found twice. Changes nothing without --repair. Exit code 1: there are problems. With --data
    the pages of the embedded engine's database are checked first, whether the service runs or not.

    Example: greenroom doctor --engine redis://10.0.0.5
    """
    from greenroom.cli.output import print_json

    if data is not None and session is None:
        _check_database(data)
    if engine is not None:
        found = _offline(engine, data, session, repair=repair)
    else:
        from greenroom.cli.service import ServiceClient, segment

        service = ServiceClient.find(url, data, admin_token)
        if session is not None:
            found = service.admin("GET", f"/doctor/sessions/{segment(session)}")
        else:
            found = service.admin("POST", "/doctor/repair", {}) if repair else service.admin("GET", "/doctor")
    if json:
        print_json(found)
    elif session is not None:
        show_life(found)
    else:
        show_report(found)
    problems = sum(one["severity"] == "problem" for one in found.get("findings", ()))
    if problems:
        raise CliError(f"{problems} problem{'' if problems == 1 else 's'} found.", Exit.FAILED)


def _check_database(data: Path) -> None:
    """Raises ServiceUnavailableError that names the damaged file, and how to restore it."""
    from greenroom.engines.embedded.backup import DATABASE, check

    if (data / DATABASE).exists():
        check(data / DATABASE)


def _offline(engine: str, data: Path | None, session: str | None, *, repair: bool) -> dict[str, Any]:
    from greenroom.cli.doctoring import look

    return look(engine, data, session, repair=repair)


def show_report(found: dict[str, Any]) -> None:
    """For people: what was looked at, then what was found."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    sockets = "not asked" if found["sockets"] is None else str(found["sockets"])
    nodes, sessions = found["nodes"], found["sessions"]
    seen = f"{nodes} node{'' if nodes == 1 else 's'}, {sessions} session{'' if sessions == 1 else 's'} in the registry"
    console.print(f"{seen}, {sockets} with a connection.")
    for line in found["durability"]:
        console.print(Text(line, "dim"))
    for one in found["findings"]:
        console.print(
            Text.assemble((f"{one['severity']:<8}", _STYLES[one["severity"]]), f"{one['subject']}: {one['text']}")
        )
        if one["hint"]:
            console.print(Text(f"         {one['hint']}"))
        if one["repair"] and not found["repaired"]:
            console.print(Text(f"         With --repair: {one['repair']}."))
    for line in found["repaired"]:
        console.print(Text.assemble(("repaired ", "green"), line))
    if not found["findings"]:
        console.print("Nothing is wrong.")


def show_life(found: dict[str, Any]) -> None:
    """For people: a session's life, step by step."""
    from greenroom.cli.output import instant, print_pairs, print_table

    print_pairs(
        {
            "session": found["sessionId"],
            "participant": found["externalId"] or found["participantId"],
            "application": found["appKey"],
            "now": found["summary"],
        }
    )
    rows = [
        (instant(one["at"]), f"+{one['after']:.1f} s", one["what"], one["node"], one["meaning"], one["detail"])
        for one in found["steps"]
    ]
    print_table(("When", "After", "What", "Node", "Meaning", "Detail"), rows, empty="Nothing is known of it.")
