"""``greenroom drain``: move the clients of a node to the others, and stop it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import Json, duration, with_service

if TYPE_CHECKING:
    from greenroom.cli.service import ServiceClient

LOOK_EVERY = 0.5
"""Seconds between two looks at what is left."""


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("drain")(drain)


@with_service
def drain(
    service: ServiceClient,
    node: Annotated[
        str | None,
        typer.Argument(help="The node's name; see greenroom nodes. Left out: the node at --url.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Sessions that move a second. Left out: as many as the other nodes accept.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[float, duration(least=1, help="How long to wait until the node has stopped.", shown="2m")] = 120.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the last node is stopped.")] = False,
    json: Json = False,
) -> None:
    """Drain a node: it stops being ready, its clients move to other nodes, and it stops. No session ends.

    Shows how many sessions are left until the node has stopped. Asks before it stops the only node, which ends the
    service: its clients are notified when to reconnect. Exit code 7: the node has not stopped within --limit; it
    continues to drain.

    Example: greenroom drain node2 --rate 50
    """
    from greenroom.cli.output import print_json

    if not yes and _is_last(service, node):
        typer.confirm("This is the only node: draining it stops the service. Continue?", abort=True, err=True)
    order = {} if node is None else {"node": node}
    ordered = service.admin("POST", "/drain", {**order, **({} if rate is None else {"rate": rate})})
    name, total = ordered["node"], ordered["sessions"]
    began = time.monotonic()
    *_, left = (total, *_watched(service, name, total, limit, as_json=json))
    took = round(time.monotonic() - began, 1)
    if json:
        print_json({"node": name, "sessions": total, "left": left or 0, "seconds": took, "gone": left is None})
    if left is not None:
        raise CliError(f"{name} has {_sessions(left)} after {took:.0f} s. It continues to drain.", Exit.TRY_LATER)
    if not json:
        print(f"{name} is gone; {_sessions(total)} had {took:.0f} s to move.")


def _sessions(number: int) -> str:
    return f"{number} session{'' if number == 1 else 's'}"


def _is_last(service: ServiceClient, node: str | None) -> bool:
    """Whether no other node takes what this one gives up."""
    alive = [one["node"] for one in service.admin("GET", "/nodes")["items"] if one["leaseLeft"] > 0]
    return len(alive) == 1 and node in (None, alive[0])


def _watched(service: Any, name: str, total: int, limit: float, *, as_json: bool) -> Iterator[int | None]:
    """How many sessions are left, again and again, until the node is gone (None, last) or the limit is over."""
    if as_json or not sys.stdout.isatty():
        yield from _left(service, name, limit)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("moved"))
    with Progress(*columns, TimeElapsedColumn(), transient=True) as progress:
        task = progress.add_task(f"draining {name}", total=max(total, 1))
        for left in _left(service, name, limit):
            progress.update(task, completed=total - (left or 0))
            yield left


def _left(service: Any, name: str, limit: float) -> Iterator[int | None]:
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            items = service.admin("GET", "/nodes")["items"]
        except CliError as error:
            if error.exit is not Exit.UNREACHABLE:
                raise
            # The node that was asked is the one that is gone.
            yield None
            return
        found = next((one for one in items if one["node"] == name and one["leaseLeft"] > 0), None)
        if found is None:
            yield None
            return
        yield found["sessions"]
        time.sleep(LOOK_EVERY)
