"""Every metric of the service, in words: what is not here is not exposed, and the reference page is made from it.

Labels have few values each, and none of them comes from a client: no participants, external ids, names, tokens or
addresses. `app` is an application's key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a metric is."""

    COUNTER = "counter"
    """Since the start of the process."""
    GAUGE = "gauge"
    """As it is when it is asked for."""
    HISTOGRAM = "histogram"
    INFO = "info"
    """Always 1; the labels say it."""


MILLIS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds in seconds of what takes milliseconds."""
SILENCE = (1.0, 5.0, 10.0, 15.0, 20.0, 23.0, 25.0, 30.0, 60.0)
FANOUT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
DELIVERY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Description:
    """One metric. name: as it is exposed, counters with ``_total``. buckets: upper bounds in seconds."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    group: str = ""


def _rows(group: str, *rows: tuple[Any, ...]) -> tuple[Description, ...]:
    found = (Description(*row) for row in rows)
    return tuple(replace(row, group=group) for row in found)


_C, _G, _H, _I = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.INFO

TABLE: tuple[Description, ...] = (
    *_rows(
        "Sessions",
        ("greenroom_sessions", _G, "Sessions whose connection this node holds, by state of the connection: open, fenced, expired (its token), ending.", ("state",)),
        ("greenroom_application_sessions", _G, "Sessions of an application that have not ended, over the whole cluster, detached ones too; at most 5 s old. Every node reports the same value: take the maximum, not the sum.", ("app",)),
        ("greenroom_opens_total", _C, "Answers to `session.open`: `ok`, or the reason of the refusal.", ("result",)),
        ("greenroom_resumes_total", _C, "Answers to `session.resume`: `ok`, or the reason of the refusal.", ("result",)),
        ("greenroom_open_seconds", _H, "Time to open: from a `session.open` with a valid token to the engine's answer.", (), MILLIS),
        ("greenroom_resume_seconds", _H, "Time to resume: from a `session.resume` whose parameters are valid to the engine's answer.", (), MILLIS),
        ("greenroom_sessions_ended_total", _C, "Sessions that this node ended, by reason. Over the cluster each end is counted once.", ("reason",)),
        ("greenroom_sessions_orphaned_total", _C, "Sessions that this node detached because the lease of the node that held them expired.",),
    ),
    *_rows(
        "Connections",
        ("greenroom_connections", _G, "WebSocket connections, including those that have not opened a session yet."),
        ("greenroom_http_connections", _G, "Connections that are not WebSockets: HTTP, or still sending the head of their first request."),
        ("greenroom_connections_lost_total", _C, "WebSocket connections that ended, by close code; codes that are not in the reference count as `other`.", ("code",)),
        ("greenroom_silence_seconds", _H, "Detection time: from the last pong of a connection until it was dropped because pongs stopped. Promise 4 says 25 s.", (), SILENCE),
        ("greenroom_messages_received_total", _C, "Messages received from clients."),
        ("greenroom_messages_sent_total", _C, "Messages sent to clients: replies and notifications."),
        ("greenroom_requests_refused_total", _C, "Connections and upgrades that were refused before they reached a session or the HTTP API, by status.", ("status",)),
        ("greenroom_http_requests_total", _C, "HTTP requests, by route (`none` for a path without one), method and status.", ("path", "method", "status")),
    ),
    *_rows(
        "Watching",
        ("greenroom_watched_participants", _G, "Participants watched by connections of this node."),
        ("greenroom_update_to_watcher_seconds", _H, "Time from a profile update at this node until it is written to its watchers on this node. Up to 0.1 s of it is batching. Promise 5 says 1 s.", (), FANOUT),
    ),
    *_rows(
        "Node",
        ("greenroom_node_state", _G, "1 for the state that the node is in, 0 for the others: starting, acting, fenced, stopped.", ("state",)),
        ("greenroom_node_ready", _G, "1 while `/readyz` says that the node is ready."),
        ("greenroom_nodes", _G, "Nodes of the cluster whose lease is valid, this one included, as of the last renewal."),
        ("greenroom_lease_age_seconds", _G, "Seconds since the last successful renewal of the lease was sent. At `fence_after` (7 s) the node stops acting for its sessions."),
        ("greenroom_kept_writes", _G, "Ends and detaches of sessions that could not be written and wait until the engine is available."),
        ("greenroom_clock_difference_seconds", _G, "Seconds by which this node's clock is ahead of the engine's; negative where it is behind."),
        ("greenroom_loop_lag_seconds", _H, "Delay of a timer of the event loop, sampled once a second.", (), LAG),
        ("greenroom_start_time_seconds", _G, "Start time of the service, Unix seconds."),
        ("greenroom_build_info", _I, "Version of the service, version of Python, name of the engine.", ("version", "python", "engine")),
    ),
    *_rows(
        "Engine",
        ("greenroom_engine_call_seconds", _H, "Duration of calls to the engine, refused ones included. The bus of the embedded engine is not measured: it is memory.", ("contract", "call"), MILLIS),
        ("greenroom_engine_errors_total", _C, "Calls to the engine that failed because it was unavailable or raised an error. Refusals are answers and are not counted.", ("contract", "call")),
        ("greenroom_engine_durability_info", _I, "Durability that the engine promises, one line for each value of the label, as found at start.", ("promise",)),
        ("greenroom_reaper_lag_seconds", _G, "Seconds by which the oldest due session was overdue at the last pass of the reaper."),
        ("greenroom_reaper_failing", _G, "1 while passes of the reaper fail."),
    ),
    *_rows(
        "Rooms",
        ("greenroom_rooms_here", _G, "Rooms that sessions of this node are in or watch."),
        ("greenroom_room_memberships", _G, "Memberships of rooms that sessions of this node have."),
        ("greenroom_room_changes_sent_total", _C, "Changes of rosters (`rooms.changed`) sent to watchers, counted once for each of them."),
        ("greenroom_room_messages_sent_total", _C, "Messages of rooms (`rooms.message`) sent to members, counted once for each of them."),
        ("greenroom_room_messages_missed_total", _C, "Messages of rooms that a member did not get: `slow`, it read too slowly and too much waited for it; `away`, they waited when its connection was lost. Those to members who had no connection are not counted: no node tries to send them.", ("reason",)),
        ("greenroom_room_marks_settled_total", _C, "Marks that the reaper of this node settled: rosters that were behind their sessions for more than a second."),
        ("greenroom_room_repairs_total", _C, "Members that differed between sessions and rosters, and were corrected by this node."),
        ("greenroom_rooms_ended_total", _C, "Rooms that ended in passes of this node: their `ttl` was over, or they were ended by a call."),
        ("greenroom_rooms_lag_seconds", _G, "Age in seconds of the oldest mark that waited at the last pass over rooms."),
        ("greenroom_rooms_failing", _G, "1 while passes over rooms fail."),
    ),
    *_rows(
        "Key sets of issuers",
        ("greenroom_key_set_fetches_total", _C, "Requests of this node for key sets, by outcome: good or failed.", ("app", "outcome")),
        ("greenroom_key_set_age_seconds", _G, "Age of the oldest key set that this node uses for the application.", ("app",)),
        ("greenroom_key_sets_failing", _G, "Key sets of the application that this node could not fetch at the last attempt.", ("app",)),
    ),
    *_rows(
        "Webhooks",
        ("greenroom_webhook_attempts_total", _C, "Attempts to deliver an event, by class of the response's status: 2xx, 3xx, 4xx, 5xx, or `none` without a response.", ("app", "answer")),
        ("greenroom_webhook_delivery_seconds", _H, "Time from an event to its successful delivery, retries included.", ("app",), DELIVERY),
        ("greenroom_webhook_waiting", _G, "Events that this node has read for endpoints and not delivered yet; at most 1,000 for each endpoint.", ("app",)),
        ("greenroom_webhook_endpoints", _G, "Endpoints that this node delivers to, by state of the receiver: up, down, gone.", ("app", "receiver")),
        ("greenroom_webhook_set_aside_total", _C, "Events that could not be delivered and were stored as dead letters.", ("app",)),
    ),
)  # fmt: skip
# ruff: noqa: E501 - a table reads better in rows

FOREIGN = {
    "process_cpu_seconds_total": "CPU time used by the process, in seconds.",
    "process_max_fds": "Maximum number of open file descriptors of the process.",
    "process_open_fds": "Open file descriptors of the process.",
    "process_resident_memory_bytes": "Resident memory of the process, in bytes.",
    "process_start_time_seconds": "Start time of the process, Unix seconds.",
    "process_virtual_memory_bytes": "Virtual memory of the process, in bytes.",
}
"""Of the client library, about the process (Linux)."""

BY_NAME = {row.name: row for row in TABLE}
