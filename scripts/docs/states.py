"""docs/explanation/states.md and its drawings: the three tables of greenroom.core.states."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from html import escape
from typing import Any

from greenroom.core import states
from greenroom.core.states import (
    CLIENT_TRANSITIONS,
    REGISTRY_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientEvent,
    RegistryEvent,
    ServerEvent,
)

Table = Mapping[Any, StrEnum]
"""(state, event) to state; a mapping's keys are invariant, so that three enums have no closer name."""

_BOX = (150, 34)
_ROW = 92
_LANE = 46
_STYLE = (
    "text{font:13px sans-serif;fill:#222}.box{fill:#eef4fb;stroke:#3b6ea5}.edge{fill:none;stroke:#667}"
    ".label{font-size:11px;fill:#445}.ground{fill:#fff}"
)

_PARTS = (
    (
        "client",
        "A session in an SDK",
        "The platform's own names. `is_open()` is true in `connected` and `reconnecting`.",
        CLIENT_TRANSITIONS,
        ClientEvent,
    ),
    ("server", "A connection of the service", "One per WebSocket.", SERVER_TRANSITIONS, ServerEvent),
    (
        "registry",
        "A session in the registry",
        "What the engine stores; each arrow is one atomic step.",
        REGISTRY_TRANSITIONS,
        RegistryEvent,
    ),
)


def generate() -> dict[str, str]:
    """The page and one drawing for each table."""
    lines = [
        "# States",
        "",
        "Three tables in `greenroom.core.states` say what may follow from what. One function in each machine applies",
        "its table. An event without a row for the present state changes nothing: it is late. This page and its",
        "drawings are made from the tables, and a test walks every pair of state and event.",
        "",
    ]
    pages: dict[str, str] = {}
    for name, title, about, table, events in _PARTS:
        drawing = f"states-{name}.svg"
        pages[f"explanation/{drawing}"] = draw(title, table)
        lines += [f"## {title}", "", about, "", f"![{title}: the table below as a drawing]({drawing})", ""]
        lines += [*_rows(table), "", "```mermaid", *_mermaid(table), "```", "", *_events(events), ""]
    pages["explanation/states.md"] = "\n".join(lines).rstrip() + "\n"
    return pages


def _states(table: Table) -> list[StrEnum]:
    kind: type[StrEnum] = type(next(iter(table))[0])
    return list(kind)


def _edges(table: Table) -> dict[tuple[StrEnum, StrEnum], list[str]]:
    edges: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for (start, event), end in table.items():
        edges.setdefault((start, end), []).append(event.value)
    return edges


def _rows(table: Table) -> list[str]:
    lines = ["| in | on | goes to |", "|---|---|---|"]
    for (start, end), events in _edges(table).items():
        lines.append(f"| `{start.value}` | {', '.join(f'`{event}`' for event in events)} | `{end.value}` |")
    return lines


def _mermaid(table: Table) -> list[str]:
    lines = ["stateDiagram-v2", f"    [*] --> {_states(table)[0].value}"]
    return lines + [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in _edges(table).items()]


def _events(events: type[StrEnum]) -> list[str]:
    meanings = _docstrings(events.__name__)
    return ["| event | |", "|---|---|", *(f"| `{event.value}` | {meanings.get(event.name, '')} |" for event in events)]


def _docstrings(class_name: str) -> dict[str, str]:
    """What stands under each member of an enum: Python keeps it in the source only."""
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(states))
    (found,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == class_name]
    meanings: dict[str, str] = {}
    for member, text in zip(found.body, found.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            target = member.targets[0]
            assert isinstance(target, ast.Name)
            meanings[target.id] = " ".join(str(text.value.value).split())
    return meanings


# -- drawings ----------------------------------------------------------------------------------------------------


def draw(title: str, table: Table) -> str:
    """An SVG: the states in a column, what leads down on its right, what leads up on its left, a lane for each."""
    order = {state: number for number, state in enumerate(_states(table))}
    edges = _edges(table)
    down = [edge for edge in edges if order[edge[1]] >= order[edge[0]]]
    up = [edge for edge in edges if order[edge[1]] < order[edge[0]]]
    # Short ones inside, so that lanes cross as little as they can.
    for chosen in (down, up):
        chosen.sort(key=lambda edge: (abs(order[edge[1]] - order[edge[0]]), order[edge[0]]))
    left = 40 + _LANE * len(up) + 90
    width = left + _BOX[0] + _LANE * len(down) + 170
    height = _ROW * len(order) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    for side, chosen in ((1, down), (-1, up)):
        ports = _ports(chosen, order)
        for lane, edge in enumerate(chosen):
            parts += _edge(edge, edges[edge], side, lane, left, ports)
    for state, number in order.items():
        y = _ROW * number + 30
        parts.append(f'<rect class="box" x="{left}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6"/>')
        parts.append(f'<text x="{left + _BOX[0] / 2}" y="{y + 22}" text-anchor="middle">{escape(state.value)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


_Edge = tuple[StrEnum, StrEnum]


def _ports(edges: list[_Edge], order: Mapping[StrEnum, int]) -> dict[tuple[_Edge, int], float]:
    """At which height each end of each edge meets its box: spread, so that they do not lie on one another."""
    heights: dict[tuple[_Edge, int], float] = {}
    for state, number in order.items():
        ends = [(edge, which) for edge in edges for which in (0, 1) if edge[which] is state]
        for place, end in enumerate(ends):
            heights[end] = _ROW * number + 30 + _BOX[1] * (place + 1) / (len(ends) + 1)
    return heights


def _edge(
    edge: _Edge, events: list[str], side: int, lane: int, left: float, ports: Mapping[tuple[_Edge, int], float]
) -> list[str]:
    edge_x = left + _BOX[0] if side > 0 else left
    x = edge_x + side * (24 + _LANE * lane)
    start, end = ports[edge, 0], ports[edge, 1]
    path = f"M{edge_x} {start:.1f}H{x}V{end:.1f}H{edge_x + side}"
    anchor = "start" if side > 0 else "end"
    middle = (start + end) / 2 - 5.5 * (len(events) - 1) + (14 * (lane % 2))
    words = [
        f'<text class="label" x="{x + side * 4}" y="{middle + 11 * row:.1f}" text-anchor="{anchor}">'
        f"{escape(event)}</text>"
        for row, event in enumerate(events)
    ]
    return [f'<path class="edge" d="{path}" marker-end="url(#tip)"/>', *words]
