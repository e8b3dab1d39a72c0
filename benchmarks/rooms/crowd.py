"""Many in one room: all join at once, members change, one sends to all, some go and come back, and a node is killed.

A detailed room of 1,000 whose members get every change, beside the floor, which sends as many frames of about
that size; a counted room of 10,000. Embedded: the only node is killed, and starts again. Redis: two nodes, one of which
is killed. One more client pings every 10 ms until then: how long the loop stands still.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from benchmarks.peers.install import CENTRIFUGO, SOCKET_IO
from benchmarks.probe import probing
from benchmarks.servers import GREENROOM, HS256, RunningServer, cluster, running
from greenroom.bench.crowd import PAUSE, Crash, CrowdPlan, crowd
from greenroom.bench.fanout import fanout

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

GRACE = 10
"""Seconds, of the detailed room's nodes on Redis: those who never come back are waited for."""
AWAY = 0.2
"""So many of those whose node is killed."""
CHANGES = 100.0
"""Leaves and joins a second."""
ROUNDS = 3
COUNTED_MESSAGES = 10
Start = Callable[[], AbstractContextManager[RunningServer]]


def detailed(bench: Bench) -> None:
    """A detailed room: its changes name the members."""
    form = bench.form
    plan = CrowdPlan(members=form.members, changes=form.updates, messages=form.updates, churn=CHANGES,
                     churn_seconds=form.room_churn)  # fmt: skip
    floor = partial(fanout, watchers=form.members, updates=form.updates)
    for number in range(min(ROUNDS, form.rounds)):
        for part, scenario in (("change", partial(floor, pause=PAUSE)), ("message", floor)):
            bench.once(f"rooms-1000-{part}", "floor", number, scenario)
        for name in bench.ours if number == 0 else [GREENROOM]:
            start = partial(running, bench.world, name)
            _crowd(bench, "rooms-1000", name, number, start, plan, crash=name == GREENROOM and number == 0)
    start = partial(cluster, bench.world, 2, _tokens(plan), env={"GREENROOM_GRACE": str(GRACE)})
    _crowd(bench, "rooms-redis-1000", GREENROOM, 0, start, replace(plan, away=AWAY))
    without_rosters = CrowdPlan(members=form.members, rosters=False, messages=form.updates)
    for name in form.peers:
        if name in (SOCKET_IO, CENTRIFUGO):
            start = partial(running, bench.world, name, HS256)
            _crowd(bench, "rooms-1000", name, 0, start, without_rosters, crash=False, probe=False)


def counted(bench: Bench) -> None:
    """A counted room: its members get the count, once a second."""
    plan = CrowdPlan(members=bench.form.counted, counted=True, messages=COUNTED_MESSAGES, churn=CHANGES,
                     churn_seconds=bench.form.room_churn)  # fmt: skip
    _crowd(bench, "rooms-counted", GREENROOM, 0, partial(running, bench.world, GREENROOM), plan)
    start = partial(cluster, bench.world, 2, _tokens(plan))
    _crowd(bench, "rooms-redis-counted", GREENROOM, 0, start, plan)


def _tokens(plan: CrowdPlan) -> int:
    """Of members, and of the probe."""
    return plan.members + 1


def _crowd(
    bench: Bench, job: str, name: str, number: int, start: Start, plan: CrowdPlan, *, crash: bool = True,
    probe: bool = True,
) -> None:  # fmt: skip
    """One crowd against a fresh server. What fails is noted, and the others continue."""
    stall: dict[str, float] = {}
    runs = len(bench.runs)
    try:
        with ExitStack() as stack:
            subject = stack.enter_context(start())
            pings = stack.enter_context(ExitStack())
            if probe:
                pings.enter_context(probing(subject, len(subject.target.tokens) - 1, stall))
            killing = _killing(subject, pings, stack) if crash else None
            bench.in_parts(subject, job, name, number, partial(crowd, plan=plan, crash=killing))
    except Exception as error:
        bench.note(f"{job} {name}", error)
    for one in bench.runs[runs:]:
        if stall and one.finding.scenario == "join":
            one.finding.more["stall"] = stall
    if stall:
        bench.say(f"  {job} {name}: stalls {stall}")


def _killing(subject: RunningServer, pings: ExitStack, stack: ExitStack) -> Crash:
    """Kills the second node where there is one, else the only one, which starts again."""
    target = subject.target
    if subject.others:
        (other,) = subject.others

        def kill_other() -> None:
            pings.close()
            other.kill()

        return Crash(kill_other, None, dataclasses.replace(target, more_ports=()))

    def kill() -> None:
        pings.close()
        subject.server.kill()

    def revive() -> None:
        stack.callback(subject.server.again({"GREENROOM_PORT": str(target.port)}).stop)

    return Crash(kill, revive, target)


__all__ = ["counted", "detailed"]
