"""docs/reference/metrics.md: every metric of the service, from greenroom.server.telemetry.metrics_table."""

from __future__ import annotations

from itertools import groupby

from greenroom.server.telemetry.metrics_table import FOREIGN, TABLE, Description

_HEAD = """# Metrics

Made from `greenroom.server.telemetry.metrics_table`. `GET /metrics` has them in the text format of Prometheus
(OpenMetrics, where it is asked for). It needs the admin token as Bearer, unless it is asked from the machine itself, by
a loopback address, through no proxy. How to scrape, and what to do about each alert:
[Watch it run](../how-to/watch-it-run.md).

Each node speaks for itself, but for what says that it is of the whole cluster. Labels have few values, and none comes
from a client: no ids, names, tokens or addresses of participants. `app` is an application's key.

Counters begin at 0 with the process. Histograms are in seconds and come as `_bucket`, `_sum` and `_count`.
"""

_OWN_LAG = """
## Where the figures come from

* An open is counted when it is answered; `greenroom_open_seconds` begins when the token was found good, so that it is
  the engine's time and the node's own, and not the signature's (some 0.1 ms) nor the network's.
* `greenroom_silence_seconds` is an upper bound: a client that answered a ping and vanished right after it has been gone
  for that long.
* `greenroom_update_to_watcher_seconds` measures updates by sessions of this node, told to watchers of this node.
* Counting costs nothing but an addition to a number in memory: no locks, and no labels looked up for a message.
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
