"""The counts in the docs (calls, commands, bytes) are those of a run: CPU is a machine's own, counts are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.redis_cost import Cost, costs
from tests.support.redis_server import single

DOCS = Path(__file__).parents[2] / "docs"
NAMES = {
    "join of a room": "join of a room of ten",
    "leave of a room": "leave of a room of ten",
    "update, watched by one node": "a change, for a node that watches the partition",
    "beat (node)": "a node: renewal of its leases, every 3 s",
    "reaper pass (node)": "a node: reaper pass, every second",
}
"""Rows that the docs name otherwise."""
MOSTLY = 0.1
"""What a table may be off by: it is rounded, and ids and numbers differ in length."""


def table(page: str) -> dict[str, list[float]]:
    """Of the table that has a row `open`: numbers by the name of the row."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (block,) = [block for block in text.split("\n\n") if "\n| open |" in block]
    rows = {}
    for line in block.splitlines()[2:]:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name] = [float(re.sub(r"[^\d.]", "", cell) or 0) for cell in cells]
    return rows


def counts(row: Cost) -> list[float]:
    return [row.fcalls, row.commands, row.bytes_in, row.bytes_out]


@pytest.mark.slow
async def test_the_counts_of_what_redis_does_are_those_of_a_run() -> None:
    with single("--appendonly", "yes") as server:
        found = await costs(server, 600)
    wrong = []
    written, capacity = table("reference/redis.md"), table("explanation/capacity.md")
    for name in ("open", "update", "resume", "close", *NAMES):
        if name == "update, watched by one node":
            continue
        label, measured = NAMES.get(name, name), counts(found[name])
        said = written[label]
        for say, is_really in zip(said, measured, strict=True):
            if abs(say - is_really) > max(MOSTLY * is_really, 0.5):
                wrong.append(f"redis.md, {name}: {[round(one, 1) for one in measured]} and not {said}")
                break
        if label in capacity and capacity[label][1:] != said[2:]:
            wrong.append(f"capacity.md, {name}: {said[2:]} in redis.md and not {capacity[label][1:]}")
    change = [b - a for a, b in zip(counts(found["update"]), counts(found["update, watched by one node"]), strict=True)]
    if abs(change[3] - written["a change, for a node that watches the partition"][3]) > MOSTLY * change[3]:
        wrong.append(f"redis.md, a change: {change[3]:.0f} bytes out")
    assert wrong == []
