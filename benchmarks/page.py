"""docs/explanation/performance.md and its plots, from the results. Nothing on the page is written by hand but words.

scripts/docs/performance.py hands it to `make docs-pages`; a bench writes it when it is done.
"""

from __future__ import annotations

from typing import Any

from benchmarks import flame
from benchmarks.peers.install import CENTRIFUGO, KINDS, WITH_ROOMS
from benchmarks.process import ROOT
from benchmarks.runs import key_of
from benchmarks.servers import COMPILED, GREENROOM
from benchmarks.targets import LONGEST_FUNCTION, TARGETS, table
from greenroom.bench import svg

DOCS = ROOT / "docs"
PAGE = "explanation/performance.md"
PLOTS = "explanation/plots"
_OTHERS = (CENTRIFUGO, *KINDS)

_HOW = """
## How it is measured

The service runs alone on one core of the machine, the load generator on the other, both pinned. Every job begins with
fresh processes and an empty registry. CPU is what the kernel counted for the server's process (user and system, all
threads) from the first measured operation to a tenth of a second after the last; where a server keeps its sessions in
Redis, the CPU of Redis is added. Wall-clock figures are of this machine on this day: trust the ratios.

For opens all servers run at the same time and take turns: in each lap every server gets the same number of opens, in
random order, and ratios are taken within a lap. The figure is the median of the laps. In other jobs the servers take
turns within a round. *An open* here is a TCP connection, the WebSocket handshake, `session.open`, its answer, and a
Close that is answered. Greenroom verifies the token with all its claims, checks policy and revocation, commits session,
participant and event to disk (`synchronous=FULL`), and then answers; the Close commits the end. Its settings are the
defaults, except limits that would refuse thousands of clients from one address, and the log level, which is `warning`
(a line for each lost connection is written at `info`).

Servers run on the fastest CPython 3.11 to 3.14 of the machine, in a separate environment; [below](#the-machine) is
which one, and how it was built. A CPython that was built without PGO and LTO (pyenv's default) costs 7 to 25 % more.
*Compiled* is the wheel that `make dist` builds with mypyc, from the same source.

*The floor* is picows and aiohttp on one port and nothing else: one check of a signature (Ed25519 or HMAC-SHA256) and a
constant reply for each open; it answers the Close, stores nothing and notifies no watchers. *The raw floor* does the
same in plain Python on sockets and one epoll, without a library.

*Tokens minted by this service*: the process that serves the opens issued their tokens a few seconds earlier, as happens
when an app's backend gets a token and its client opens with it at once. *Minted elsewhere*: another node with the same
keys issued them, so this one sees each token for the first time.
"""

_PEERS = """
## Peers that do the same work

Each peer in `benchmarks/peers/` is a session service built as its documentation recommends: it verifies the token
(issuer, audience, required claims, expiry) with a fast library of its language, stores session and participant in
Redis in one transaction before it answers, counts the participant's sessions, publishes presence to watchers through
its own Redis adapter, and removes all of it at the end. Redis writes its log before it answers (`appendfsync always`)
and runs on the generator's core; its CPU is added to the peer's, because Greenroom's includes the embedded engine.
None of them resumes sessions, orders events, stores revisions, revokes tokens, or limits clients: only Greenroom does
that work. All are warmed up by opens that are not counted.

Centrifugo is built from its Go module, at the version and sums in `benchmarks/peers/centrifugo`, and set up by
`config.json` there: Redis is its engine, so presence and join and leave messages go through it (`appendfsync always`
again); connecting subscribes a participant to a channel of their own (`subscribe_to_user_personal_channel`) in a
namespace with `presence` and `join_leave`, which writes a presence entry and publishes a join before the answer, and
undoes both at the end; issuer, audience and expiry of the HS256 token are checked. No history, no recovery, no
proxy to a backend, logs at `error`. Watchers of a name subscribe to a channel without presence. Its protocol has no
request that does nothing, so there is no echo; Ed25519 keys it takes from the URL of a key set only, so its opens are
measured with HS256.
"""

_ROOMS = """
## Rooms

*A join and a leave* are two requests of a session that is open. In a room that someone is in, one other member stays
and is notified of both; an otherwise empty room is opened by the join and ended by the leave. Opens and closes of the
same server are in the same laps, HS256.

Peers keep a room's roster as a hash in Redis, and answer a join with all of it after it is in the log; they emit to the
others through their Redis adapter. Centrifugo's rooms are channels of a namespace with `presence` and `join_leave`; its
subscribe answers without the roster, for which clients have another request that is not counted. Only Greenroom's
rosters have versions, survive a crash, or follow a session that ends in another process.

In the room of 1,000 all join at once (256 in flight) and read the whole roster, as SDKs do; then members change their
names one after the other, each change sent to all 1,000; then one sends a message to all others; then some go and
come back, 100 leaves and joins a second, each of which has to reach all who stay; then a node is killed. *Bare frames*
are what the floor does for as many watchers. The only node of the embedded engine is started again, and all come back
by the SDK's rules. Of two nodes on Redis, which share one core here, one is killed: a fifth of its clients
never come back, and have a grace of 10 s after its lease has expired. In the counted room of 10,000, members get the
count once a second, and all come back.
"""

_TRIED = """
## What was tried and did not pay

- SQL on the event loop and only COMMIT in the writer's thread: the thread is woken as often, and the loop does more.
- A newer CPython by itself, or its JIT: within the noise for this work. How it was built matters more.
- Fewer switches of the interpreter's lock: there are four in an open, and none of them shows in a profile.
- mypyc on the code as it was before the path of an open was shortened: 5 to 7 %. Afterwards it is worth compiling.
- Statements saved: SQLite and apsw are 7 % of an open's CPU outside the kernel, and the interpreter 58 %.
- glibc's threads on one arena (`MALLOC_ARENA_MAX=1`), or a heap that grows in large steps: no difference.
- The events of a commit in one row: 5 to 7 µs less for an open and close in batches of 64, against events that are
  dropped, redacted and read one by one.
"""


_LAPS_OF_PEERS = (("join", "cpu_us"), ("alone", "cpu_us"), ("memory", "kib"))
_CROWD = (
    ("join_per_s", "joins a second"),
    ("join_converged_s", "until all have joined and have the roster, s"),
    ("change_last_ms", "a change reaches the last member, ms"),
    ("message_last_ms", "a message reaches the last member, ms"),
    ("churn_p99_ms", "100 changes a second, p99 ms"),
    ("crash_back_s", "after a kill: until all are back, s"),
    ("crash_converged_s", "after a kill: until all have the right roster, s"),
    ("stall_p999_ms", "loop stall during the whole run, p99.9 ms"),
)
"""Ends of figures, and what they are."""


def pages(found: dict[str, Any]) -> dict[str, str]:
    """The page and its plots: texts by path in docs/."""
    plots = _plots(found)
    text = text_of(found, {name: title for name, (title, _) in plots.items()})
    profile = found["extra"].get("profile")
    if profile is not None:
        plots["flame"] = ("", flame.draw("CPU of an open and close", profile["tree"]))
    return {PAGE: text, **{f"{PLOTS}/{name}.svg": drawn for name, (_, drawn) in plots.items()}}


def write(found: dict[str, Any]) -> None:
    """The page and its plots, into docs/."""
    for path, text in pages(found).items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text)


def text_of(found: dict[str, Any], plots: dict[str, str]) -> str:
    """The page. plots: the title of each that there is, by the name of its file."""
    figures: dict[str, float] = found["figures"]
    marks = _marks(found)
    parts = [
        "# Performance",
        "",
        f"Made by `make bench{'' if found['form'] == 'full' else '-quick'}` on {found['date']}, in"
        f" {found['seconds'] / 60:.0f} minutes; do not edit. All figures and every single run are in"
        " `benchmarks/results/latest.json`.",
        "",
        *_said_before(found),
        "## Goals",
        "",
        *table(figures, marks=marks),
        "",
        *_misses(figures),
        *(f"![{title}](plots/{name}.svg)\n" for name, title in plots.items()),
        _HOW,
        *_opens_table(figures),
        *_spent(found),
        *_peer_table(figures),
        *_rooms(found),
        *_detection(figures),
        *_generator(found),
        *_guard(found),
        _TRIED,
        *_machine(found),
        *_kept(found),
        "## All figures",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| `{name}`{marks.get(name, '')} | {value:,g} |" for name, value in figures.items()),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _said_before(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["form"] != "full":
        lines += ["**These are figures of the short form**: fewer rounds, fewer clients.", ""]
    load = float(found["machine"]["load before"].split()[0])
    # A server and a generator with a core each, and what they store.
    after = max(float(one) for one in found["machine"].get("load after", "0").split())
    if load > 0.5 or after > 3:
        end = f", and up to {after:g} in the quarter of an hour before it ended" if after > 3 else ""
        lines += [f"**The machine was not quiet**: its load was {load:g} before the bench began{end}.", ""]
    if jobs := _kept_jobs(found):
        names = ", ".join(name for name, _ in jobs)
        lines += [f"**Run on their own, at another time**: {names}. See [below](#jobs-run-on-their-own).", ""]
    for name, text in found["failed"].items():
        lines += [f"**The job {name} failed**: {text.splitlines()[0][:200]}", ""]
    if found["leftOut"]:
        lines += [f"**Left out for want of time**: {', '.join(found['leftOut'])}.", ""]
    return lines


def _kept_jobs(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, done) for name, done in found.get("jobs", {}).items() if done["kept"]]


def _marks(found: dict[str, Any]) -> dict[str, str]:
    """By figure, where its job was run on its own: the number that it has in `_kept`."""
    marks: dict[str, str] = {}
    for number, (_, done) in enumerate(_kept_jobs(found), 1):
        for figure in done["figures"]:
            marks[figure] = marks.get(figure, "") + f" [({number})](#jobs-run-on-their-own)"
    return marks


def _kept(found: dict[str, Any]) -> list[str]:
    """Which jobs were not part of the whole run, and when and under what load they were run."""
    rows = [
        f"| ({number}) | {name} | {done['date']} | {done['seconds']:,} s | {done['load_before']} |"
        f" {done['load_after']} | {', '.join(f'{what} {text}' for what, text in done['machine'].items())} |"
        for number, (name, done) in enumerate(_kept_jobs(found), 1)
    ]
    if not rows:
        return []
    return [
        "## Jobs run on their own",
        "",
        f"All other figures are of the run of {found['date']}; those with a number are of these. The load is that of",
        "the last minute, 5 and 15 minutes.",
        "",
        "| | job | ended | took | load before | load after | what else differs |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _misses(figures: dict[str, float]) -> list[str]:
    missed = [goal for goal in TARGETS if goal.missed(figures)]
    if not missed:
        return []
    reasons: dict[str, list[str]] = {}
    for goal in missed:
        reasons.setdefault(goal.why, []).append(goal.text)
    lines = [f"- {'; '.join(texts)}. {why}" for why, texts in reasons.items()]
    return ["### Why some are missed", "", *lines, ""]


def _lines_of(rows: list[tuple[str, list[float | None]]]) -> list[str]:
    """Rows of a table; those without any figure are left out."""
    return [
        f"| {name} | " + " | ".join("" if one is None else f"{one:,.1f}" for one in cells) + " |"
        for name, cells in rows
        if any(one is not None for one in cells)
    ]


def _opens_table(figures: dict[str, float]) -> list[str]:
    """CPU of an open and close, every server of the laps."""

    def cell(job: str, subject: str) -> float | None:
        end = {GREENROOM: "cpu_us", COMPILED: "cpu_us_compiled"}.get(subject)
        return figures.get(f"{job}_{end or key_of(subject) + '_cpu_us'}")

    names = ("raw-floor", "floor", GREENROOM, COMPILED, *_OTHERS)
    jobs = [f"open_64_{alg}{end}" for alg in ("EdDSA", "HS256") for end in ("", "_minted")]
    rows = [(name, [cell(job, name) for job in jobs]) for name in names]
    for nodes in (1, 2, 3):
        own = figures.get(f"redis_{nodes}_cpu_us"), figures.get(f"redis_{nodes}_cpu_us_compiled")
        stores = figures.get(f"redis_{nodes}_store_cpu_us"), figures.get(f"redis_{nodes}_store_cpu_us_compiled")
        for name, total, store in zip((GREENROOM, COMPILED), own, stores, strict=True):
            on = f"{name}, {nodes} node{'s' if nodes > 1 else ''} on Redis"
            rows.append((on if store is None else f"{on} (of it Redis: {store:,.0f})", [None, None, total, None]))
    lines = _lines_of(rows)
    if not lines:
        return []
    return [
        "## What an open and close costs",
        "",
        "CPU in µs, stores included, 64 in flight: medians of the laps.",
        "",
        "| | EdDSA, minted elsewhere | EdDSA, minted by this service | HS256, elsewhere | HS256, by this service |",
        "|---|---|---|---|---|",
        *lines,
        "",
    ]


def _spent(found: dict[str, Any]) -> list[str]:
    """Where the CPU of an open goes, from the profile."""
    profile = found["extra"].get("profile")
    if profile is None:
        return []
    each = found["figures"].get("open_64_EdDSA_cpu_us", profile["cpuUs"])
    rows = [f"| {area} | {share:.0%} | {share * each:,.0f} |" for area, share in profile["areas"].items()]
    return [
        "## Where it goes",
        "",
        "A profile of the service in plain Python under the same opens (EdDSA, minted elsewhere): every millisecond of",
        "CPU the stacks of all threads are looked at, each weighted with what its thread has used. What C code and the",
        "kernel do is counted to the function of ours that called them: the signature's check to the token, sending",
        "and closing to the sockets, SQLite and `fsync` to the rows.",
        "",
        "| | share | µs of an open and close |",
        "|---|---|---|",
        *rows,
        "",
        "Callers stand above what they call; the width is the share of the CPU. Point at a box for its whole name.",
        "",
        "![Where the CPU of an open and close goes](plots/flame.svg)",
        "",
    ]


def _peer_table(figures: dict[str, float]) -> list[str]:
    names = (GREENROOM, COMPILED, *_OTHERS)
    keys = ("peers_idle_{}_kib", "peers_fanout_{}_cpu_us", "peers_echo_{}_cpu_us")
    columns = [[figures.get(key.format(key_of(name))) for key in keys] for name in names]
    lines = _lines_of(list(zip(names, columns, strict=True)))
    if not lines:
        return [_PEERS]
    return [
        _PEERS,
        "| | KiB an idle session | CPU µs a delivery | CPU µs an echo |",
        "|---|---|---|---|",
        *lines,
        "",
        *_losses(figures),
    ]


def _rooms(found: dict[str, Any]) -> list[str]:
    """What rooms cost, in three tables."""
    figures: dict[str, float] = found["figures"]

    def cells(*keys: str) -> list[float | None]:
        return [figures.get(key) for key in keys]

    laps = [
        (GREENROOM, cells("rooms_join_cpu_us", "rooms_alone_cpu_us", "rooms_memory_kib")),
        (COMPILED, cells("rooms_join_cpu_us_compiled", "rooms_alone_cpu_us_compiled", "rooms_memory_kib_compiled")),
        ("greenroom on Redis", cells("rooms_redis_join_cpu_us", "rooms_redis_alone_cpu_us", "rooms_redis_memory_kib")),
        *(
            (name, cells(*(f"rooms_{what}_{key_of(name)}_{unit}" for what, unit in _LAPS_OF_PEERS)))
            for name in WITH_ROOMS
        ),
    ]
    crowds = [
        (text, cells(*(f"{key}_{what}{end}" for what, _ in _CROWD)))
        for text, key, end in (
            ("1,000", "rooms_1000", ""),
            ("1,000, compiled", "rooms_1000", "_compiled"),
            ("1,000, two nodes on Redis", "rooms_redis_1000", ""),
            ("10,000, counted", "rooms_counted", ""),
            ("10,000, counted, two nodes on Redis", "rooms_redis_counted", ""),
        )
    ]
    lines: list[str] = []
    if rows := _lines_of(laps):
        lines += [
            "| | CPU µs a join and leave | in an otherwise empty room | KiB a membership |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    if "rooms_redis_memory_store_kib" in figures:
        lines += [
            f"In addition, Redis needs {figures['rooms_redis_memory_store_kib']:.2f} KiB for each membership.",
            "",
        ]
    if rows := _lines_of(crowds):
        lines += [
            "| members | " + " | ".join(text for _, text in _CROWD) + " |",
            "|---" * (len(_CROWD) + 1) + "|",
            *rows,
            "",
        ]
    if "room_functions" in found["extra"]:
        longest = found["extra"]["room_functions"]["longest_ms"]
        text = ", ".join(f"`{name}` {value:.1f}" for name, value in longest.items())
        lines += [f"Calls of functions that held Redis longest, in ms, rooms of 10,000: {text}.", ""]
    return [_ROOMS, *lines] if lines else []


def _losses(figures: dict[str, float]) -> list[str]:
    """Where a peer is better than plain Python, said plainly."""
    columns = {
        "open_64_EdDSA_{}_cpu_us": ("open_64_EdDSA_cpu_us", "opens with EdDSA"),
        "open_64_HS256_{}_cpu_us": ("open_64_HS256_cpu_us", "opens with HS256"),
        "peers_idle_{}_kib": ("peers_idle_greenroom_kib", "memory"),
        "peers_fanout_{}_cpu_us": ("peers_fanout_greenroom_cpu_us", "fan-out"),
        "peers_echo_{}_cpu_us": ("peers_echo_greenroom_cpu_us", "echo"),
        "rooms_join_{}_cpu_us": ("rooms_join_cpu_us", "joins and leaves of rooms"),
        "rooms_1000_message_{}_cpu_us": ("rooms_1000_message_cpu_us", "messages in rooms"),
        "rooms_memory_{}_kib": ("rooms_memory_kib", "memory of memberships"),
    }
    lines = []
    for key, (own_key, what) in columns.items():
        own = figures.get(own_key)
        for name in _OTHERS:
            value = figures.get(key.format(key_of(name)))
            if own is not None and value is not None and value < own:
                lines.append(f"- {name} is better at {what}: {value:,.1f} against {own:,.1f}.")
    return ["Where peers are better:", "", *lines, ""] if lines else ["No peer is better at any of these.", ""]


def _detection(figures: dict[str, float]) -> list[str]:
    if "false_leaves" not in figures:
        return []
    rows = [("vanished without closing", "vanished", 27, 68), ("lost its connection", "reset", 3, 44)]
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

    for alg in ("EdDSA", "HS256"):
        job = f"open_64_{alg}"
        keys = [(name, f"{job}_{key_of(name)}_cpu_us") for name in ("floor", *_OTHERS)]
        keys[1:1] = [("compiled", f"{job}_cpu_us_compiled"), ("greenroom", f"{job}_cpu_us")]
        add(f"opens-{alg.lower()}", f"CPU of an open and close, {alg}, stores included", "µs", keys)
    memory = [(name, f"peers_idle_{key_of(name)}_kib") for name in (GREENROOM, *_OTHERS)]
    add("peers-memory", "Memory of an idle session", "KiB", memory)
    present = [key for key in figures if key.startswith("present_") and key.endswith("_cpu_us")]
    labels = [(f"{int(key.split('_')[1]):,}", key) for key in present]
    add("present", "CPU of an open and close, by sessions present", "µs", labels)
    nodes = [(f"{count} on Redis", f"redis_{count}_cpu_us") for count in (1, 2, 3)]
    add("redis", "CPU of an open and close, HS256, all nodes and Redis", "µs",
        [("embedded", "open_64_HS256_cpu_us"), *nodes])  # fmt: skip
    joins = [(name, f"rooms_join_{key_of(name)}_cpu_us") for name in WITH_ROOMS]
    joins[:0] = [("compiled", "rooms_join_cpu_us_compiled"), ("greenroom", "rooms_join_cpu_us"),
                 ("on Redis", "rooms_redis_join_cpu_us")]  # fmt: skip
    add("rooms-join", "CPU of a join and a leave, stores included", "µs", joins)
    sent = [(name, f"rooms_1000_message_{key_of(name)}_cpu_us") for name in ("floor", *WITH_ROOMS)]
    sent[1:1] = [("compiled", "rooms_1000_message_cpu_us_compiled"), ("greenroom", "rooms_1000_message_cpu_us")]
    add("rooms-message", "CPU of a message to one of 1,000 members of a room", "µs", sent)
    sizes = [(name, f"rooms_memory_{key_of(name)}_kib") for name in WITH_ROOMS]
    add("rooms-memory", "Memory of a membership, rooms of ten, stores included", "KiB",
        [("greenroom", "rooms_memory_kib"), *sizes])  # fmt: skip
    if "room_functions" in found["extra"]:
        longest = list(found["extra"]["room_functions"]["longest_ms"].items())[:6]
        title = "The longest that functions hold Redis, rooms of 10,000"
        plots["rooms-functions"] = (title, svg.bars(title, "ms", longest, goal=LONGEST_FUNCTION))
    _add_curves(found, plots)
    return plots


def _add_curves(found: dict[str, Any], plots: dict[str, tuple[str, str]]) -> None:
    runs = found["runs"]
    herds = [run["finding"]["timeline"] for run in runs if (run["job"], run["subject"]) == ("herd", GREENROOM)]
    if herds and herds[0]:
        title = "10,000 clients reconnect"
        plots["herd"] = (title, svg.curves(title, "seconds after the loss", "sessions back", [("", herds[0])]))
    tails = [
        (f"{run['subject']}, {run['job'].split('-')[1]} in flight", svg.tail(run["finding"]["curve"]))
        for run in runs
        if run["job"] in ("open-64-EdDSA", "open-256-EdDSA") and run["subject"] in ("floor", GREENROOM, COMPILED)
        if run["round"] == 0
    ]
    changes = [
        (text, svg.tail(run["finding"]["curve"]))
        for run in runs
        for job, subject, text in (
            ("rooms-1000-churn", GREENROOM, "embedded"),
            ("rooms-1000-churn", COMPILED, "compiled"),
            ("rooms-redis-1000-churn", GREENROOM, "two nodes on Redis"),
        )
        if (run["job"], run["subject"], run["round"]) == (job, subject, 0)
    ]
    if changes:
        title = "100 joins and leaves a second reach 1,000 members: 1 is the 90th percentile, 2 the 99th"
        plots["rooms-changes"] = (title, svg.curves(title, "nines", "ms", changes))
    if tails:
        title = "Latency of an open: 1 is the 90th percentile, 2 the 99th, 3 the 99.9th"
        plots["latency"] = (title, svg.curves(title, "nines", "ms", tails))


__all__ = ["PAGE", "pages", "text_of", "write"]
