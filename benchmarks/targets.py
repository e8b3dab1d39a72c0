"""What the speed is to be, and what to say where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """figure: its key. most: the bound; at_least: the bound is a lower one. why: said where it is missed."""

    text: str
    figure: str
    bound: float
    unit: str
    why: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether the figure keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def missed_by(self, value: float) -> float:
        """Per cent of the bound."""
        return abs(value - self.bound) / self.bound * 100


_OPEN = (
    "Half of an open's CPU is Python of our own (the head, the token's claims, the session's machine, the record and "
    "its events, on a loop and a writer thread that share the interpreter's lock), a fifth the signature, an eighth "
    "the kernel, a sixteenth SQLite. The floor runs next to no Python but the signature's, and commits nothing."
)
_PEER = (
    "The stack on Node compiles its hot paths, and its store is another process that batches the writes of many opens; "
    "Greenroom verifies more of a token, and commits to disk in its own process."
)
_WAIT = "Changes are batched for up to a tenth of a second (S12); on one core the last of thousands waits for all."
_AWAY = "Events are read and retried while opens come as fast as they can; at 50 events a second it is less."

TARGETS = (
    Goal("CPU of an open and close over the floor's, 64 in flight", "open_64_ratio", 1.6, "×", _OPEN),
    Goal("the same, 256 in flight", "open_256_ratio", 1.6, "×", _OPEN),
    Goal("CPU of python-socketio over ours, EdDSA", "peers_EdDSA_python-socketio_times", 2.0, "×", _PEER, True),
    Goal("CPU of python-socketio over ours, HS256", "peers_HS256_python-socketio_times", 2.0, "×", _PEER, True),
    Goal("CPU of socket.io over ours, EdDSA", "peers_EdDSA_socket.io_times", 2.0, "×", _PEER, True),
    Goal("CPU of socket.io over ours, HS256", "peers_HS256_socket.io_times", 2.0, "×", _PEER, True),
    Goal("memory of an idle session at 10,000", "idle_10000_kib", 16, "KiB", "Each connection has its own parser."),
    Goal("memory of an idle session at 19,000", "idle_19000_kib", 16, "KiB", "Each connection has its own parser."),
    Goal("CPU of a heartbeat", "heartbeat_cpu_us", 40, "µs", "Ping, pong and the timer wheel, in Python."),
    Goal("CPU of a delivery over the floor's", "fanout_ratio", 1.25, "×",
        "Each watcher's version is compared first (S11), and uvloop queues what the floor writes at once."),
    Goal("an update reaches the last watcher", "update_to_last_watcher_ms", 100, "ms", _WAIT),
    Goal("10,000 dropped clients are all back", "herd_all_back_s", 20, "s",
        "Each resume is a commit and a rotated secret."),
    Goal("a resume once admitted, p99", "herd_admitted_p99_ms", 1_000, "ms",
        "From the end of the handshake to the answer: what came before it has to be answered first."),
    Goal("opens a second through Redis over the embedded engine's", "redis_of_embedded", 0.6, "×",
        "Redis shares the other core with the load generator here.", True),
    Goal("an open with the most sessions present over one with the fewest", "present_flat", 1.15, "×",
        "Caches of the processor, and indexes a level deeper."),
    Goal("loop stall, p99.9, any scenario", "stall_p999_ms", 50, "ms",
        "When all clients reconnect, a thousand sockets are ready at once, and the loop serves each before it looks "
        "again. "
        "It is measured from outside, so it includes the wait for the probe's own core."),
    Goal("an open while a webhook receiver refuses, over one without", "outage_refuses_times", 1.1, "×", _AWAY),
    Goal("an open while a webhook receiver hangs, over one without", "outage_hangs_times", 1.1, "×", _AWAY),
    Goal("a client's pings and opens beside one that misbehaves at line speed, p99", "neighbours_worst_p99_ms", 50,
        "ms",
        "The attacker shares the generator's core with the client that is timed."),
    Goal("a client's pings and opens beside a participant or backend that asks for too much, p99",
        "abuse_worst_p99_ms", 20, "ms", "The abuser shares the generator's core with the client that is timed."),
)  # fmt: skip

FORMAT: dict[str, Callable[[float], str]] = {
    "×": lambda value: f"{value:.2f} ×",
    "ms": lambda value: f"{value:,.0f} ms",
    "s": lambda value: f"{value:.1f} s",
    "µs": lambda value: f"{value:.1f} µs",
    "KiB": lambda value: f"{value:.1f} KiB",
}


__all__ = ["FORMAT", "TARGETS", "Goal"]
