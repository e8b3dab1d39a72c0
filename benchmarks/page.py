"""docs/explanation/performance.md and its plots, from the results. Nothing on the page is written by hand but words."""

from __future__ import annotations

from typing import Any

from benchmarks.process import ROOT
from benchmarks.targets import FORMAT, TARGETS, Goal
from greenroom.bench import svg

PAGE = ROOT / "docs" / "explanation" / "performance.md"
PLOTS = "plots"
_NAMES = ("greenroom", "ws", "socket.io", "python-socketio")

_HOW = """
## How it is measured

The service runs alone on one core of the machine, the load generator on the other, both pinned. Every run begins with
a fresh process and an empty registry; tokens are minted before, through the API, one for each participant. Servers
that are compared take turns within a round, and ratios are taken within rounds and their median is shown, so that
other work of the machine affects all alike. CPU is what the kernel counted for the server's process (user and system,
all threads) from the first measured operation to a tenth of a second after the last. Wall-clock figures are of this
machine on this day: trust the ratios.

*The floor* is picows and aiohttp on one port and nothing else: one raw Ed25519 verification and a constant reply for
each open, Close answered, nothing stored, nobody notified. *An open* here is a TCP connection, the WebSocket
handshake, `session.open`, its answer, and a Close that is answered. Greenroom verifies the token with all its claims,
checks policy and revocation, commits session, participant and event to disk (`synchronous=FULL`), and then answers;
the Close commits the end. Its settings are the defaults, except limits that would refuse thousands of clients from
one address, and the log level, which is `warning` (a line for each lost connection is written at `info`).
"""

_PEERS = """
## Peers that do the same work

Each peer in `benchmarks/peers/` is a session service built as its documentation recommends: it verifies the token
(issuer, audience, required claims, expiry) with a fast library of its language, stores session and participant in
Redis in one transaction before it answers, counts the participant's sessions, publishes presence to watchers through
its own Redis adapter, and undoes all that at the end. Redis writes its log before it answers (`appendfsync always`)
and runs on the generator's core; its CPU is added to the peer's, because Greenroom's includes the embedded engine.
None of them resumes, orders events, keeps revisions, revokes, or limits anything: only Greenroom does that work. All
peers are warmed up by opens that are not counted.
"""

_SPENT = """
## What was found with it, and changed

Measured on a machine shared with other work, each the median of three rounds with 2,000 watchers (p50, CPU):

| what was spent | what was done | before | after |
|---|---|---|---|
| every change waited a tenth of a second for others | the first after a quiet time goes at once | 134 ms | 73 ms |
| a list, a key and a frame for each watcher | one change is framed once, and written | 13.1 µs | 9.9 µs |

Changed without a measurement of their own: a fan-out lets the loop have its turn every 512 watchers (it held it for all
of them); an address behind a proxy is judged once, not five times (parsing it was 5.6 % of the loop's time in opens);
a log line that nobody wants costs the question for its level only (structlog took 5.6 µs to drop it).
"""


def write(found: dict[str, Any]) -> None:
    """The page and its plots."""
    folder = PAGE.parent / PLOTS
    folder.mkdir(parents=True, exist_ok=True)
    plots = _plots(found)
    for name, (_, text) in plots.items():
        (folder / f"{name}.svg").write_text(text)
    PAGE.write_text(text_of(found, {name: title for name, (title, _) in plots.items()}))


def text_of(found: dict[str, Any], plots: dict[str, str]) -> str:
    """The page. plots: the title of each that there is, by the name of its file."""
    figures: dict[str, float] = found["figures"]
    parts = [
        "# Performance",
        "",
        f"Made by `make bench{'' if found['form'] == 'full' else '-quick'}` on {found['date']}, in"
        f" {found['seconds'] / 60:.0f} minutes; do not edit. All figures and every single run are in"
        " `benchmarks/results/latest.json`.",
        "",
        *_said_before(found),
        "## Targets",
        "",
        "| what | target | measured | |",
        "|---|---|---|---|",
        *(_row(goal, figures.get(goal.figure)) for goal in TARGETS),
        "",
        *_misses(figures),
        *(f"![{title}]({PLOTS}/{name}.svg)\n" for name, title in plots.items()),
        _HOW,
        *_peer_table(figures),
        *_detection(figures),
        *_generator(found),
        *_guard(found),
        _SPENT,
        *_machine(found),
        "## All figures",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| `{name}` | {value:,g} |" for name, value in figures.items()),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _said_before(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["form"] != "full":
        lines += ["**These are figures of the short form**: fewer rounds, fewer clients.", ""]
    load = float(found["machine"]["load before"].split()[0])
    if load > 0.5:
        lines += [f"**The machine was not quiet**: its load was {load:g} before the bench began.", ""]
    for name, text in found["failed"].items():
        lines += [f"**The job {name} failed**: {text.splitlines()[0][:200]}", ""]
    if found["leftOut"]:
        lines += [f"**Left out for want of time**: {', '.join(found['leftOut'])}.", ""]
    return lines


def _row(goal: Goal, value: float | None) -> str:
    shown = FORMAT[goal.unit]
    bound = f"at {'least' if goal.at_least else 'most'} {shown(goal.bound)}"
    if value is None:
        return f"| {goal.text} | {bound} | not measured | |"
    verdict = "met" if goal.met(value) else f"**missed** by {goal.missed_by(value):.0f} %"
    return f"| {goal.text} | {bound} | {shown(value)} | {verdict} |"


def _misses(figures: dict[str, float]) -> list[str]:
    missed = [goal for goal in TARGETS if goal.figure in figures and not goal.met(figures[goal.figure])]
    if not missed:
        return []
    reasons: dict[str, list[str]] = {}
    for goal in missed:
        reasons.setdefault(goal.why, []).append(goal.text)
    lines = [f"- {'; '.join(texts)}. {why}" for why, texts in reasons.items()]
    return ["### Why some are missed", "", *lines, ""]


def _peer_table(figures: dict[str, float]) -> list[str]:
    names = [
        name for name in ("greenroom", "ws", "socket.io", "python-socketio") if f"peers_idle_{name}_kib" in figures
    ]
    if not names:
        return []
    rows = []
    for name in names:
        cells = [
            figures.get(f"peers_EdDSA_{name}_cpu_us"),
            figures.get(f"peers_HS256_{name}_cpu_us"),
            figures.get(f"peers_idle_{name}_kib"),
            figures.get(f"peers_fanout_{name}_cpu_us"),
            figures.get(f"peers_echo_{name}_cpu_us"),
        ]
        rows.append(f"| {name} | " + " | ".join("" if one is None else f"{one:,.1f}" for one in cells) + " |")
    return [
        _PEERS,
        "| | CPU µs an open, EdDSA | the same, HS256 | KiB an idle session | CPU µs a delivery | CPU µs an echo |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        *_losses(figures, names),
    ]


def _losses(figures: dict[str, float], names: list[str]) -> list[str]:
    """Where a peer is better, said plainly."""
    columns = {
        "peers_EdDSA_{}_cpu_us": "opens with EdDSA",
        "peers_HS256_{}_cpu_us": "opens with HS256",
        "peers_idle_{}_kib": "memory",
        "peers_fanout_{}_cpu_us": "fan-out",
        "peers_echo_{}_cpu_us": "echo",
    }
    lines = []
    for key, what in columns.items():
        own = figures.get(key.format("greenroom"))
        for name in names[1:]:
            value = figures.get(key.format(name))
            if own is not None and value is not None and value < own:
                lines.append(f"- {name} is better at {what}: {value:,.1f} against {own:,.1f}.")
    return ["Where peers are better:", "", *lines, ""] if lines else ["No peer is better at any of these.", ""]


def _detection(figures: dict[str, float]) -> list[str]:
    if "false_leaves" not in figures:
        return []
    rows = [
        ("vanished without closing", "vanished", 27, 68),
        ("lost its connection", "reset", 3, 44),
    ]
    return [
        "## Detection of failures",
        "",
        "Default timers, as a watcher is notified (after 2 s of `unreachable`); the slowest of 50 each.",
        "",
        "| the client | `unreachable` after | bound | ended after | bound |",
        "|---|---|---|---|---|",
        *(
            f"| {text} | {figures[f'detect_{name}_unreachable_s']:.1f} s | {first} s |"
            f" {figures[f'detect_{name}_offline_s']:.1f} s | {second} s |"
            for text, name, first, second in rows
        ),
        "",
        f"Clients shown as gone, among 900 that stayed: {figures['false_leaves']:g}.",
        "",
    ]


def _generator(found: dict[str, Any]) -> list[str]:
    shares: dict[tuple[str, str], float] = {}
    for run in found["runs"]:
        key = (run["job"], run["subject"])
        shares[key] = max(shares.get(key, 0.0), run["finding"]["generatorShare"])
    rows = [
        f"| {job} | {subject} | {share:.0%} | {'the generator may have been the bottleneck' if share > 0.85 else ''} |"
        for (job, subject), share in shares.items()
    ]
    return [
        "## The generator's share",
        "",
        "The most that the generator used of its own core. Above 85 % a rate is the generator's, not the server's; CPU",
        "per operation is the server's in any case.",
        "",
        "| job | server | generator | |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _guard(found: dict[str, Any]) -> list[str]:
    guard = found["guard"]
    lines = [f"- `{name}`: {text}" for name, text in guard["slower"].items()]
    return [
        "## The guard",
        "",
        f"Ratios to the floor are compared with `benchmarks/baseline.json`; more than {guard['tolerance']:g} times the"
        " baseline is a slow-down, and `make bench` fails.",
        "",
        *(lines or ["None was found."]),
        "",
    ]


def _machine(found: dict[str, Any]) -> list[str]:
    rows = [f"| {name} | {value} |" for name, value in found["machine"].items()]
    return ["## The machine", "", "| | |", "|---|---|", *rows, ""]


def _plots(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Title and SVG, by name."""
    figures: dict[str, float] = found["figures"]
    plots: dict[str, tuple[str, str]] = {}

    def add(name: str, title: str, unit: str, keys: list[tuple[str, str]], goal: float | None = None) -> None:
        values = [(label, figures[key]) for label, key in keys if key in figures]
        if len(values) > 1:
            plots[name] = (title, svg.bars(title, unit, values, goal=goal))

    widths = [("floor, 64", "open_64_floor_cpu_us"), ("greenroom, 64", "open_64_cpu_us")]
    widths += [("floor, 256", "open_256_floor_cpu_us"), ("greenroom, 256", "open_256_cpu_us")]
    add("opens", "CPU of an open and close, by opens in flight", "µs", widths)
    for alg in ("EdDSA", "HS256"):
        keys = [(name, f"peers_{alg}_{name}_cpu_us") for name in _NAMES]
        add(f"peers-{alg.lower()}", f"CPU of an open and close, {alg}, stores included", "µs", keys)
    add("peers-memory", "Memory of an idle session", "KiB", [(name, f"peers_idle_{name}_kib") for name in _NAMES])
    present = [key for key in figures if key.startswith("present_") and key.endswith("_cpu_us")]
    labels = [(f"{int(key.split('_')[1]):,}", key) for key in present]
    add("present", "CPU of an open and close, by sessions present", "µs", labels)
    nodes = [(f"{count} on Redis", f"redis_{count}_cpu_us") for count in (1, 2, 3)]
    add("redis", "CPU of an open and close, all nodes", "µs", [("embedded", "redis_embedded_cpu_us"), *nodes])
    _add_curves(found, plots)
    return plots


def _add_curves(found: dict[str, Any], plots: dict[str, tuple[str, str]]) -> None:
    runs = found["runs"]
    herds = [run["finding"]["timeline"] for run in runs if run["job"] == "herd"]
    if herds and herds[0]:
        title = "10,000 clients reconnect"
        plots["herd"] = (title, svg.curves(title, "seconds after the loss", "sessions back", [("", herds[0])]))
    tails = [
        (f"{run['subject']}, {run['job'][5:]} in flight", svg.tail(run["finding"]["curve"]))
        for run in runs
        if run["job"] in ("open-64", "open-256") and run["round"] == 0
    ]
    if tails:
        title = "Latency of an open: 1 is the 90th percentile, 2 the 99th, 3 the 99.9th"
        plots["latency"] = (title, svg.curves(title, "nines", "ms", tails))


__all__ = ["PAGE", "text_of", "write"]
