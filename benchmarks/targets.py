"""What the speed is to be, and what to say where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """figure: its key; the compiled service's ends in `_compiled`. bound: of plain Python; compiled:
    the same for the compiled service, None: it is not asked. at_least: bounds are lower ones. why: said where it is
    missed."""

    text: str
    figure: str
    bound: float
    unit: str
    why: str
    compiled: float | None = None
    at_least: bool = False

    def met(self, value: float, bound: float) -> bool:
        """Whether the figure keeps the bound."""
        return value >= bound if self.at_least else value <= bound

    def verdict(self, value: float, bound: float) -> str:
        """Whether it is met, and by how many per cent of the bound it is not."""
        return "met" if self.met(value, bound) else f"**missed** by {abs(value - bound) / bound * 100:.0f} %"

    def missed(self, figures: Mapping[str, float]) -> bool:
        """Whether one of both is measured and not met."""
        return any(
            bound is not None and key in figures and not self.met(figures[key], bound)
            for key, bound in ((self.figure, self.bound), (f"{self.figure}_compiled", self.compiled))
        )


_OPEN = (
    "What is left of an open's CPU is Python of our own (the session's machine, the record and its events, on a loop "
    "and a writer thread that share the interpreter's lock), the kernel, and SQLite. The floor runs next to no Python "
    "but the signature's, and commits nothing."
)
_GO = (
    "Centrifugo is compiled, and its store is another process that batches the writes of many opens; Greenroom checks "
    "more of a token, keeps more of a session, and commits it to disk before it answers."
)
_PEER = (
    "The stack on Node compiles its hot paths, and its store is another process that batches the writes of many opens; "
    "Greenroom verifies more of a token, and commits to disk in its own process."
)
_WAIT = "On one core the last of thousands waits for all."
_REDIS = (
    "A function of Redis runs alone: it keeps record, participant, events and lease in one step, where Centrifugo "
    "writes one entry of a hash and one of a sorted set."
)
_NODES = "Each node gets what the others change, and their commands do not share a round trip."
_AWAY = "Events are read and retried while opens come as fast as they can; at 50 events a second it is less."
_MEMORY = "Each session has its connection, its machine and its row."
_HERD = (
    "When all clients reconnect, a thousand sockets are ready at once. It is measured from outside, so it includes the "
    "wait for the probe's own core."
)

_JOIN = (
    "A join and a leave are two calls that each change a session's row and a room's roster, write an event, and notify "
    "who is there; an open and close change as much, but share commits with more."
)
_JOIN_REDIS = (
    "Each is two functions of Redis, one in the participant's partition and one in the room's, so that a crash between "
    "them leaves no ghost (R2)."
)
_CHANGE = "A member's record is written, read back into the roster, encoded, and compared with what each watcher has."
_TOGETHER = "Changes are gathered for up to 0.1 s, and a thousand sockets are written to one after the other."
_RESUME = (
    "All come back at once, and each resume is a commit; those who never come back leave when their grace is over."
)

LONGEST_FUNCTION = 20.0
"""Milliseconds for which one function may hold Redis (R12)."""

TARGETS = (
    Goal("CPU of an open and close, HS256, over Centrifugo with Redis", "open_64_HS256_over_centrifugo", 1.3, "×", _GO,
        compiled=1.0),
    Goal("CPU of an open and close over the Ed25519 floor, tokens minted by this service",
        "open_64_EdDSA_minted_ratio", 1.0, "×", _OPEN, compiled=1.0),
    Goal("the same, tokens minted elsewhere with the same keys", "open_64_EdDSA_ratio", 1.4, "×", _OPEN, compiled=1.4),
    Goal("CPU of an open and close over the HS256 floor", "open_64_HS256_ratio", 2.3, "×", _OPEN, compiled=1.7),
    Goal("CPU of an open and close, one in flight", "open_1_EdDSA_cpu_us", 900, "µs",
        "Each open is a commit of its own, with the close before it, and wakes a thread.", compiled=900),
    Goal("opens a second on one core, 256 in flight", "open_256_EdDSA_per_s", 2_500, "a second", _OPEN, compiled=2_500,
        at_least=True),
    Goal("CPU of a delivery over the floor's", "fanout_ratio", 1.25, "×",
        "Each watcher's version is compared first (S11).", compiled=1.25),
    Goal("an update reaches the last of 5,000 watchers", "update_to_last_watcher_ms", 40, "ms", _WAIT, compiled=40),
    Goal("10,000 clients reconnect: a resume once admitted, p99", "herd_admitted_p99_ms", 300, "ms",
        "From the end of the handshake to the answer: what came before it has to be answered first.", compiled=300),
    Goal("10,000 clients reconnect: loop stall, p99.9", "herd_stall_p999_ms", 100, "ms", _HERD, compiled=100),
    Goal("10,000 clients reconnect: all are back", "herd_all_back_s", 20, "s",
        "Each resume is a commit and a rotated secret.", compiled=20),
    Goal("memory of an idle session at 10,000", "idle_10000_kib", 11, "KiB", _MEMORY, compiled=11),
    Goal("memory of an idle session at 19,000", "idle_19000_kib", 11, "KiB", _MEMORY, compiled=11),
    Goal("Redis engine: CPU of node and Redis for an open and close, over Centrifugo with Redis",
        "redis_1_over_centrifugo", 1.3, "×", _REDIS, compiled=1.0),
    Goal("Redis engine: CPU of Redis for an open and close", "redis_1_store_cpu_us", 150, "µs", _REDIS, compiled=150),
    Goal("Redis engine: CPU of an open and close on three nodes over one", "redis_3_over_one", 1.15, "×", _NODES),
    Goal("Redis engine: opens a second over the embedded engine's", "redis_of_embedded", 0.6, "×",
        "Redis shares the other core with the load generator here.", at_least=True),
    Goal("CPU of python-socketio over ours, EdDSA", "peers_EdDSA_python_socketio_times", 2.0, "×", _PEER,
        at_least=True),
    Goal("CPU of python-socketio over ours, HS256", "peers_HS256_python_socketio_times", 2.0, "×", _PEER,
        at_least=True),
    Goal("CPU of socket.io over ours, EdDSA", "peers_EdDSA_socket_io_times", 2.0, "×", _PEER, at_least=True),
    Goal("CPU of socket.io over ours, HS256", "peers_HS256_socket_io_times", 2.0, "×", _PEER, at_least=True),
    Goal("CPU of a heartbeat", "heartbeat_cpu_us", 40, "µs", "Ping, pong and the timer wheel, in Python."),
    Goal("an open with the most sessions present over one with the fewest", "present_flat", 1.15, "×",
        "Caches of the processor, and indexes a level deeper."),
    Goal("loop stall while clients open, or an update is delivered, p99.9", "stall_p999_ms", 50, "ms", _HERD),
    Goal("an open while a webhook receiver refuses, over one without", "outage_refuses_times", 1.1, "×", _AWAY),
    Goal("an open while a webhook receiver hangs, over one without", "outage_hangs_times", 1.1, "×", _AWAY),
    Goal("a client's pings and opens beside one that misbehaves at line speed, p99", "neighbours_worst_p99_ms", 50,
        "ms",
        "The attacker shares the generator's core with the client that is timed."),
    Goal("a client's pings and opens beside a participant or backend that asks for too much, p99",
        "abuse_worst_p99_ms", 20, "ms", "The abuser shares the generator's core with the client that is timed."),
    Goal("CPU of a join and a leave over an open and close; in a room that someone is in", "rooms_join_over_open",
        0.5, "×", _JOIN, compiled=0.5),
    Goal("the same in an otherwise empty room, which opens and ends", "rooms_alone_over_open", 0.5, "×", _JOIN,
        compiled=0.5),
    Goal("Redis engine: CPU of node and Redis for a join and a leave over an open and close; in a room that someone "
        "is in", "rooms_redis_join_over_open", 0.5, "×", _JOIN_REDIS, compiled=0.5),
    Goal("Redis engine: the same in an otherwise empty room, which opens and ends", "rooms_redis_alone_over_open", 0.5,
        "×", _JOIN_REDIS, compiled=0.5),
    Goal("an open and close while others are in rooms, over one while they are in none", "rooms_open_beside_times",
        1.05, "×", "A session in no room pays only for the reaper's pass over rooms, once a second."),
    Goal("100 joins and leaves a second reach 1,000 members of a room, p99", "rooms_1000_churn_p99_ms", 150, "ms",
        _TOGETHER, compiled=150),
    Goal("Redis engine, two nodes: 100 joins and leaves a second reach 1,000 members of a room, p99",
        "rooms_redis_1000_churn_p99_ms", 150, "ms", _TOGETHER),
    Goal("CPU of a change that reaches 1,000 members of a room, over as many bare frames",
        "rooms_1000_change_over_bare", 1.3, "×", _CHANGE, compiled=1.3),
    Goal("Redis engine, two nodes: CPU of nodes and Redis for a change that reaches 1,000 members, over as many bare "
        "frames", "rooms_redis_1000_change_over_bare", 1.3, "×", _CHANGE),
    Goal("a room of 1,000 whose only node is killed and started again: the roster is right, and all have it",
        "rooms_1000_crash_converged_s", 20, "s", _RESUME),
    Goal("Redis engine: a room of 1,000, one of two nodes is killed: the roster is right, and all have it",
        "rooms_redis_1000_crash_converged_s", 26, "s", _RESUME),
    Goal("other members of a room beside one who joins and leaves, sends, or watches without end, p99",
        "rooms_abuse_worst_p99_ms", 20, "ms", "The abuser shares the generator's core with the client that is timed."),
    Goal("the longest that one function holds Redis, rooms of 10,000", "room_function_longest_ms", LONGEST_FUNCTION,
        "ms",
        "It is measured by Redis itself, so it includes what the machine took from Redis meanwhile."),
)  # fmt: skip

FORMAT: dict[str, Callable[[float], str]] = {
    "×": lambda value: f"{value:.2f} ×",
    "ms": lambda value: f"{value:,.0f} ms",
    "s": lambda value: f"{value:.1f} s",
    "µs": lambda value: f"{value:,.1f} µs",
    "KiB": lambda value: f"{value:.1f} KiB",
    "a second": lambda value: f"{value:,.0f}",
}
HEAD = ("| what | goal | plain Python | | goal, compiled | compiled | |", "|---|---|---|---|---|---|---|")


def table(
    figures: Mapping[str, float], goals: Iterable[Goal] = TARGETS, marks: Mapping[str, str] | None = None
) -> list[str]:
    """The goals as lines of a Markdown table, with what plain Python and the compiled service reach. marks: what is
    said behind the goals of these figures."""
    return [*HEAD, *(row(goal, figures, (marks or {}).get(goal.figure, "")) for goal in goals)]


def row(goal: Goal, figures: Mapping[str, float], mark: str = "") -> str:
    """One goal."""
    plain = _cells(goal, goal.bound, figures.get(goal.figure))
    compiled = _cells(goal, goal.compiled, figures.get(f"{goal.figure}_compiled"))
    return f"| {goal.text}{mark} | {plain} | {compiled} |"


def _cells(goal: Goal, bound: float | None, value: float | None) -> str:
    shown = FORMAT[goal.unit]
    if bound is None:
        return " | | "
    text = f"at {'least' if goal.at_least else 'most'} {shown(bound)}"
    return f"{text} | not measured | " if value is None else f"{text} | {shown(value)} | {goal.verdict(value, bound)}"


__all__ = ["FORMAT", "LONGEST_FUNCTION", "TARGETS", "Goal", "row", "table"]
