"""What a run of ``greenroom bench`` leaves: JSON, a page of HTML with its plots inside, and comparisons."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import msgspec

from greenroom.bench import svg
from greenroom.bench.figures import Measurement


class Report(msgspec.Struct, kw_only=True, rename="camel"):
    """One run. date: UTC text. generator: name and version of what made the load, and of its machine."""

    target: str
    date: str
    generator: dict[str, str]
    findings: list[Measurement]
    stopped: str = ""
    """Why it ended before its end; "" where it did not."""
    format: int = 1


class ReportError(Exception):
    """A file that is not a report. The text says which and why."""


def save(report: Report, path: Path) -> None:
    """As JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def load(path: Path) -> Report:
    """A report from its JSON. Raises ReportError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}.") from None
    except msgspec.MsgspecError as error:
        raise ReportError(f"{path} is no report of greenroom bench: {error}.") from None


def verdict(finding: Measurement) -> str:
    """What must be known before a figure is believed; "" where nothing."""
    words = []
    if finding.generator_was_the_bottleneck:
        words.append(f"the generator used {finding.generator_share:.0%} of its core: the service could do more")
    failed = sum(finding.errors.values())
    if failed:
        words.append(f"{failed} failed")
    return "; ".join(words)


class Difference(msgspec.Struct, frozen=True):
    """One figure in two reports. ratio: after over before, None where before is 0."""

    scenario: str
    figure: str
    before: float
    after: float
    ratio: float | None


def compare(before: Report, after: Report) -> list[Difference]:
    """Rate and percentiles of the scenarios that are in both, with the same parameters, in the order of the first."""
    known = {(one.scenario, _same(one)): one for one in after.findings}
    changes = []
    for one in before.findings:
        other = known.get((one.scenario, _same(one)))
        if other is None:
            continue
        pairs = {"rate": (one.rate, other.rate)}
        pairs.update({name: (one.latency[name], other.latency[name]) for name in one.latency if name in other.latency})
        changes += [
            Difference(one.scenario, name, old, new, round(new / old, 3) if old else None)
            for name, (old, new) in pairs.items()
        ]
    return changes


def _same(finding: Measurement) -> str:
    return repr(sorted((name, value) for name, value in finding.parameters.items() if name != "count"))


_STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse}"
    "td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child"
    "{text-align:left}.note{color:#a33}svg{max-width:100%;height:auto}"
)


def html(report: Report) -> str:
    """One page, with nothing to load from anywhere."""
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>greenroom bench</title><style>{_STYLE}</style>',
        f"<h1>greenroom bench</h1><p>{escape(report.target)}, {escape(report.date)}. Generator: ",
        escape(", ".join(f"{name} {value}" for name, value in report.generator.items())) + "</p>",
    ]
    if report.stopped:
        parts.append(f'<p class="note">Stopped early: {escape(report.stopped)}</p>')
    parts.append(_table(report.findings))
    for finding in report.findings:
        parts.append(_section(finding))
    return "\n".join(parts) + "</html>\n"


def _table(findings: list[Measurement]) -> str:
    columns = ("p50", "p99", "p99.9", "max")
    head = "".join(f"<th>{name} ms</th>" for name in columns)
    rows = []
    for one in findings:
        cells = "".join(f"<td>{one.latency.get(name, 0):g}</td>" for name in columns)
        rows.append(
            f"<tr><td>{escape(one.scenario)}</td><td>{one.operations:,}</td><td>{one.rate:,.0f}</td>{cells}"
            f"<td>{one.generator_share:.0%}</td></tr>"
        )
    return (
        f"<table><tr><th>scenario</th><th>operations</th><th>a second</th>{head}<th>generator's CPU</th></tr>"
        + "".join(rows)
        + "</table>"
    )


def _section(finding: Measurement) -> str:
    parts = [f"<h2>{escape(finding.scenario)}</h2>", f"<p>{escape(_said(finding.parameters))}</p>"]
    note = verdict(finding)
    if note:
        parts.append(f'<p class="note">{escape(note)}</p>')
    if finding.more:
        parts.append(f"<p>{escape(_said(finding.more))}</p>")
    if finding.curve:
        title = "Latency (x: 1 is the 90th percentile, 2 the 99th, 3 the 99.9th)"
        parts.append(svg.curves(title, "nines", "ms", [(finding.scenario, svg.tail(finding.curve))]))
    if len(finding.timeline) > 1:
        line = [(at, float(count)) for at, count in finding.timeline]
        parts.append(svg.curves("Done over time", "s", "operations", [(finding.scenario, line)]))
    if finding.errors:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{count}</td></tr>" for name, count in finding.errors.items())
        parts.append(f"<table><tr><th>error</th><th>times</th></tr>{rows}</table>")
    return "\n".join(parts)


def _said(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())
