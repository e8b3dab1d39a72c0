"""``greenroom nodes``: which nodes there are, and how they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from greenroom.cli.options import Json, with_service

if TYPE_CHECKING:
    from greenroom.cli.service import ServiceClient


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("nodes")(nodes)


@with_service
def nodes(service: ServiceClient, json: Json = False) -> None:
    """List the nodes of the cluster: state, sessions, lease, lag of the reaper, clock, version.

    Example: greenroom nodes
    """
    from greenroom.cli.output import instant, print_json, print_table

    items = service.admin("GET", "/nodes")["items"]
    if json:
        print_json(items)
        return
    rows = [
        (
            one["node"],
            state_of(one),
            str(one["sessions"]),
            f"{one['leaseLeft']:.0f} s" if one["leaseLeft"] > 0 else "over",
            _of(one, "reaperLag", "{:.1f} s"),
            _of(one, "clockDifference", "{:+.2f} s"),
            instant(one["startedAt"]),
            one["boot"][:8],
            one["version"],
        )
        for one in items
    ]
    print_table(
        ("Node", "State", "Sessions", "Lease", "Reaper lag", "Clock", "Started", "Boot", "Version"),
        rows,
        empty="There are none.",
    )


def state_of(one: dict[str, Any]) -> str:
    """A node's state in a word or a few."""
    if one["leaseLeft"] <= 0:
        return "dead"
    if one["draining"]:
        return "draining"
    if one["report"] is None:
        return "silent"
    return one["report"]["notReady"] or "ready"


def _of(one: dict[str, Any], name: str, form: str) -> str:
    return "?" if one["report"] is None else form.format(one["report"][name])
