"""Where the CPU of an open and close goes: a profile of the service under opens, as a tree, a table and a drawing."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from benchmarks import environment
from benchmarks.runs import measure
from benchmarks.servers import RunningServer
from greenroom.bench.dialect import GreenroomDialect

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

Stack = tuple[Sequence[str], float]
"""(frames, the outermost first; seconds)."""
SMALLEST = 0.004
"""Share of all below which a frame is not kept: it could not be read."""
_WIDTH, _ROW, _HEAD = 1200, 17, 30
_FILLS = {
    "server/wire": "#7fb2e5", "server/sessions": "#f0b35c", "core": "#e58f7f", "tokens": "#b59ae0",
    "engines": "#8cc98a", "asyncio": "#c9c9c9",
}  # fmt: skip
_OTHER = "#d9d0b8"
_REST = "the rest of the service"
AREAS = (
    ("server/wire", "sockets, the handshake, frames"),
    ("server/sessions", "connections, the hub, calls of the engine"),
    ("core", "the session's machine and its rules"),
    ("tokens", "the token: claims and signature"),
    ("engines", "rows, events, SQLite and its commits"),
    ("server", _REST),
    ("messages", "messages"),
)
"""What a frame's file begins with, and what is done there."""
_ELSE = "interpreter, event loop, threads"


def job(bench: Bench) -> None:
    """Opens against the service in plain Python while its stacks are sampled."""
    found = bench.folder / "stacks.json"
    server = bench.world.sampled(environment.python(), found)
    try:
        subject = RunningServer(server, bench.world.target(server, GreenroomDialect()))
        measure("profile", "greenroom", -1, subject, bench.storm(64))
        server.process.send_signal(signal.SIGUSR2)
        one = measure("profile", "greenroom", 0, subject, bench.storm(64))
    finally:
        server.stop()
    stacks: list[Stack] = [(frames, seconds) for frames, seconds in json.loads(found.read_text())]
    bench.extra["profile"] = {"cpuUs": one.cpu_us, "areas": areas(stacks), "tree": tree(stacks)}
    bench.say(f"  {one.cpu_us:.0f} µs each while sampled: {areas(stacks)}")


def areas(stacks: Iterable[Stack]) -> dict[str, float]:
    """The share of each area: of the innermost function of ours in a stack, with all that it calls elsewhere."""
    shares: dict[str, float] = {}
    for frames, seconds in stacks:
        own = next((area for frame in reversed(frames) if (area := area_of(frame)) is not None), _ELSE)
        shares[own] = shares.get(own, 0.0) + seconds
    total = sum(shares.values()) or 1.0
    return {area: round(value / total, 4) for area, value in sorted(shares.items(), key=lambda one: -one[1])}


def area_of(frame: str) -> str | None:
    """What is done in a file of ours; None: it is another's."""
    for start, text in AREAS:
        if frame.startswith((f"{start}/", f"{start}.py")):
            return text
    return None


def tree(stacks: Iterable[Stack]) -> dict[str, Any]:
    """{"name", "share", "children"}, without what is smaller than SMALLEST. Of a stack there are its thread and what
    stands below the first function of the service's hot path; what has none is the interpreter's and the loop's."""
    known = list(stacks)
    total = sum(seconds for _, seconds in known) or 1.0
    root: dict[str, Any] = {"name": "all", "seconds": 0.0, "below": {}}
    for frames, seconds in known:
        first = next((number for number, frame in enumerate(frames) if area_of(frame) not in (None, _REST)), 0)
        node = root
        node["seconds"] += seconds
        for frame in [frames[0], *frames[first:]] if first else frames:
            node = node["below"].setdefault(frame, {"name": frame, "seconds": 0.0, "below": {}})
            node["seconds"] += seconds

    def kept(node: dict[str, Any]) -> dict[str, Any]:
        children = [kept(one) for one in node["below"].values() if one["seconds"] / total >= SMALLEST]
        children.sort(key=lambda one: -one["share"])
        return {"name": node["name"], "share": round(node["seconds"] / total, 4), "children": children}

    return kept(root)


def draw(title: str, root: dict[str, Any]) -> str:
    """The tree as SVG, callers above what they call. Boxes have a ground of their own, for light and dark pages."""
    boxes: list[str] = []
    deepest = 0

    def box(node: dict[str, Any], x: float, row: int) -> None:
        nonlocal deepest
        deepest = max(deepest, row)
        width = node["share"] * _WIDTH
        y = _HEAD + row * _ROW
        name = node["name"]
        fill = next((colour for start, colour in _FILLS.items() if name.startswith(start)), _OTHER)
        letters = int(width / 6.9)
        short = name.rpartition(":")[2] if len(name) > letters else name
        text = escape(short if len(short) <= letters else short[: max(0, letters - 1)] + "…") if letters > 3 else ""
        boxes.append(
            f'<g><title>{escape(name)}: {node["share"]:.1%}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}"'
            f' height="{_ROW - 1}" fill="{fill}"/>'
            + (f'<text x="{x + 3:.1f}" y="{y + 12}">{text}</text>' if text else "")
            + "</g>"
        )
        at = x
        for child in node["children"]:
            box(child, at, row + 1)
            at += child["share"] * _WIDTH

    box(root, 0.0, 0)
    height = _HEAD + (deepest + 1) * _ROW + 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
        ' font-size="11"><style>text{fill:#1a1a1a}.title{fill:#333;font-weight:bold;font-size:14px}'
        "@media (prefers-color-scheme:dark){.title{fill:#eee}}</style>"
        f'<text class="title" x="2" y="18">{escape(title)}</text>'
    )
    return "\n".join([head, *boxes, "</svg>"]) + "\n"


__all__ = ["areas", "draw", "job", "tree"]
