"""What a membership takes: of the process, and of Redis where there is one. Rooms of ten."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers.install import CENTRIFUGO, SOCKET_IO
from benchmarks.servers import GREENROOM, HS256, cluster
from greenroom.bench.rooms import memberships

if TYPE_CHECKING:
    from benchmarks.jobs import Bench

ROOMS_EACH = 2
MEMBERS = 10


def job(bench: Bench) -> None:
    """Ours on both engines, and peers, but for the slowest."""
    sessions = bench.form.peer_idle
    scenario = partial(memberships, sessions=sessions, rooms_each=ROOMS_EACH, members=MEMBERS)
    for name in (*bench.ours, *(name for name in bench.form.peers if name in (SOCKET_IO, CENTRIFUGO))):
        try:
            bench.once("rooms-memory", name, 0, scenario, alg=HS256)
        except Exception as error:
            bench.note(f"rooms-memory {name}", error)
    with cluster(bench.world, 1, sessions) as subject:
        bench.against(subject, "rooms-redis-memory", GREENROOM, 0, scenario)
    for run in bench.runs:
        if run.job in ("rooms-memory", "rooms-redis-memory"):
            bench.say(f"  {run.job} {run.subject}: {run.kib_each:.2f} KiB, of Redis {run.store_kib_each:.2f} KiB")


__all__ = ["job"]
