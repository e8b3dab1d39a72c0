"""What a join and a leave cost, beside an open and close of the same server in the same laps; and what opens cost where
others are in rooms.

Both engines, and peers that have rooms. `rooms-join` is in a room where one member stays, who is notified of both;
`rooms-alone` in an otherwise empty room, which the join opens and the leave ends. `rooms-beside` and
`rooms-beside-none` are opens and closes while others are there, in rooms of four or in none: who is in no room is to
pay nothing for them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.peers.install import WITH_ROOMS
from benchmarks.runs import Scenario, measure
from benchmarks.servers import GREENROOM, HS256, RunningServer, cluster, running
from benchmarks.world import World
from greenroom.bench.rooms import join_and_leave, opens_beside
from greenroom.bench.scenarios import storm

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

SEED = 16
STAYING = 64
"""Rooms in which someone stays."""
JOINING = 250
"""Sessions that take turns: one participant may join 160 times at once."""
LONGEST = 45.0
"""Seconds for one server's part of a lap. A server that hangs is left out of the laps that follow."""
PRESENT = 500
"""Sessions beside which others open and close."""


class _Entry(NamedTuple):
    prefix: str
    """Of its jobs."""
    subject: str
    start: Callable[[World], AbstractContextManager[RunningServer]]


def job(bench: Bench) -> None:
    """The laps. What does not start is left out, and its reason kept."""
    form = bench.form
    chance = random.Random(SEED)
    tokens = STAYING + JOINING + form.joins
    on_redis = partial(cluster, nodes=1, tokens=tokens, alg=HS256)
    entries = [
        *(_Entry("rooms", name, partial(running, name=name, alg=HS256)) for name in bench.ours),
        *(_Entry("rooms-redis", name, partial(on_redis, name=name)) for name in bench.ours),
        *(
            _Entry("rooms", name, partial(running, name=name, alg=HS256))
            for name in form.peers
            if name in WITH_ROOMS
        ),
    ]  # fmt: skip
    with ExitStack() as stack:
        there: list[tuple[_Entry, RunningServer]] = []
        for entry in entries:
            try:
                there.append((entry, stack.enter_context(entry.start(bench.world))))
            except Exception as error:
                bench.note(f"{entry.prefix} {entry.subject}", error)
        bench.say(f"  {len(there)} servers are up; {form.room_laps} laps of {form.joins:,} joins and leaves")
        for number in range(-1, form.room_laps):
            chance.shuffle(there)
            for lap in list(there):
                entry, subject = lap
                parts = list(_scenarios(entry, form.joins if number >= 0 else form.warm).items())
                chance.shuffle(parts)
                try:
                    for name, scenario in parts:
                        found = measure(f"{entry.prefix}-{name}", entry.subject, number, subject, scenario, LONGEST)
                        found.finding.timeline, found.finding.curve = [], []
                        if number >= 0:  # the lap before it warms up
                            bench.keep(found)
                except Exception as error:  # the others continue without it
                    bench.note(f"{entry.prefix} {entry.subject}", error)
                    there.remove(lap)


def _scenarios(entry: _Entry, count: int) -> dict[str, Scenario]:
    """What each server does in a lap, by the end of the job's name."""
    sessions = min(JOINING, count)
    found: dict[str, Scenario] = {
        "join": partial(join_and_leave, count=count, rooms=min(STAYING, count), sessions=sessions),
        "alone": partial(join_and_leave, count=count, rooms=0, sessions=sessions),
    }
    if entry.subject not in WITH_ROOMS:
        found["open"] = partial(storm, count=count, width=64)
    if entry.subject == GREENROOM and entry.prefix == "rooms":
        beside = partial(opens_beside, present=min(PRESENT, count), count=count)
        found |= {"beside": partial(beside, in_rooms=True), "beside-none": partial(beside, in_rooms=False)}
    return found


__all__ = ["job"]
