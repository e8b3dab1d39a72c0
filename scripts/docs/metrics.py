"""docs/reference/metrics.md: every metric of the service, from greenroom.server.telemetry.metrics_table."""

from __future__ import annotations

from itertools import groupby

from greenroom.server.telemetry.metrics_table import FOREIGN, TABLE, Description

_HEAD = """# Metrics

Made from `greenroom.server.telemetry.metrics_table`. `GET /metrics` serves them in the text format of Prometheus
(OpenMetrics on request). It needs the metrics token or the admin token as Bearer, unless `metrics_from_loopback` is on
and the request comes from the machine itself, through no proxy. How to scrape, and what to do about each alert:
[Watch it run](../how-to/watch-it-run.md).

Each node reports its own figures, except where a metric says that it is of the whole cluster. Labels have few values,
and none comes from a client: no ids, names, tokens or addresses of participants. `app` is an application's key.

Counters begin at 0 with the process. Histograms are in seconds and come as `_bucket`, `_sum` and `_count`.
"""

_OWN_LAG = """
## Where the figures come from

* An open is counted when it is answered. `greenroom_open_seconds` starts when the token has been verified: it is
  the time of the engine and the node, without the signature (some 0.1 ms) and the network.
* `greenroom_silence_seconds` is an upper bound: it counts from the last pong, and the client may have vanished later.
* `greenroom_update_to_watcher_seconds` measures updates by sessions of this node, for watchers of this node.
* Counting is one addition in memory: no locks, and no look-up of labels for a message.
"""


def generate() -> dict[str, str]:
    """The page."""
    parts = [_HEAD]
    for group, rows in groupby(TABLE, key=lambda row: row.group):
        parts.append(f"\n## {group}\n\n| metric | kind | labels | what it is |\n|---|---|---|---|\n")
        parts += [_row(row) for row in rows]
    parts.append(
        "\n## The process\n\nOf the Prometheus client library, on Linux.\n\n| metric | what it is |\n|---|---|\n"
    )
    parts += [f"| `{name}` | {text} |\n" for name, text in FOREIGN.items()]
    parts.append(_OWN_LAG)
    return {"reference/metrics.md": "".join(parts)}


def _row(row: Description) -> str:
    labels = ", ".join(f"`{label}`" for label in row.labels)
    bounds = f" Bounds: {', '.join(f'{bound:g}' for bound in row.buckets)}." if row.buckets else ""
    return f"| `{row.name}` | {row.kind.value} | {labels} | {row.text}{bounds} |\n"
