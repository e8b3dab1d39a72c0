"""``greenroom bench``: put load on a Greenroom, and compare what was found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import AppKey, AppSecret, Data, Json, Url

if TYPE_CHECKING:
    from greenroom.bench.report import Report

_ALL = ("storm", "echo", "idle", "fanout", "reconnect", "churn", "rooms")


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    verb = typer.Typer(help="Load: storms, idle sessions, fan-out, reconnection, churn, rooms.", no_args_is_help=True)
    verb.command("run")(run)
    verb.command("compare")(compare)
    app.add_typer(verb, name="bench")


def run(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help=f"One or more of {', '.join(_ALL)}. Left out: all.", show_default=False)
    ] = None,
    key: AppKey = None,
    secret: AppSecret = None,
    clients: Annotated[
        int, typer.Option(min=2, help="The number of participants, and the most connections at the same time.")
    ] = 500,
    opens: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="The number of opens in the scenario storm.")
    ] = 2_000,
    in_flight: Annotated[int, typer.Option(min=1, max=10_000, help="The most opens in flight at the same time.")] = 64,
    ramp: Annotated[
        float, typer.Option(min=0, help="Seconds over which the opens in flight grow to --in-flight.")
    ] = 0.0,
    seconds: Annotated[
        float, typer.Option(min=1, help="Seconds that each of the scenarios echo, idle and churn takes.")
    ] = 10.0,
    updates: Annotated[int, typer.Option(min=1, max=10_000, help="The number of updates in the scenario fanout.")] = 10,
    limit: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds after which the whole run stops.")] = 300.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report as JSON.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page with plots.")] = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Put load on a service. It creates participants: use a separate application. Exit code 1: some operations failed.

    A default service takes 1,000 connections of one address (of eight, on this machine) and 2,000 opens a second.

    Example: greenroom bench run storm reconnect --clients 2000 --key 5f2c… --secret 8b1e… --html report.html
    """
    _check_installed()
    from greenroom.bench import plan as plans

    if not key or not secret:
        raise CliError("App key and secret are needed: --key and --secret, or their variables.", Exit.USAGE)
    plan = plans.Plan(
        scenarios=tuple(scenarios or _ALL), clients=clients, opens=opens, in_flight=in_flight, ramp=ramp,
        seconds=seconds, updates=updates, limit=limit,
    )  # fmt: skip
    for path in (output, html):
        _check_writable(path)
    report = _carry_out(plan, _find(url, data), key, secret, quiet=json)
    _write(report, output, html)
    _show(report, json)
    if report.stopped or any(finding.errors for finding in report.findings):
        raise typer.Exit(Exit.FAILED)


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("hdrh") is None:
        raise CliError(
            "hdrhistogram is not installed. Run in a clone of Greenroom: pip install '.[server,bench]'", Exit.USAGE
        )


def _check_writable(path: Path | None) -> None:
    """Before the load, not after it."""
    if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CliError(f"{path} cannot be written.", Exit.USAGE)


def _find(url: str | None, data: Path | None) -> str:
    from greenroom.cli.discovery import find_url
    from greenroom.cli.service import split_url

    found = find_url(url, data)
    if split_url(found).path:
        raise CliError(f"{found} has a path. Load is put on a service by its own host and port.", Exit.USAGE)
    return found


def _carry_out(plan: Any, url: str, key: str, secret: str, *, quiet: bool) -> Report:
    import asyncio
    import sys

    import aiohttp

    from greenroom.bench import plan as plans
    from greenroom.bench.minting import MintingError
    from greenroom.cli.bench_view import LiveView

    if not plans.is_loopback(url):
        print(f"greenroom: {url} is not this machine. Put load only on a service that is yours.", file=sys.stderr)
    try:
        plans.check(plan)
        with LiveView(quiet=quiet) as view, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(plans.carry_out(plan, url=url, key=key, secret=secret, watcher=view))
    except plans.PlanError as error:
        raise CliError(str(error), Exit.USAGE) from None
    except MintingError as error:
        raise CliError(f"No tokens: {error}", Exit.CREDENTIALS) from None
    except aiohttp.ClientConnectionError as error:
        raise CliError(f"No service answers at {url}: {error}.", Exit.UNREACHABLE) from None


def _loop_factory() -> Any:
    import uvloop

    return uvloop.new_event_loop


def _write(report: Report, output: Path | None, html: Path | None) -> None:
    from greenroom.bench import report as reports

    if output is not None:
        reports.save(report, output)
    if html is not None:
        html.write_text(reports.html(report), encoding="utf-8")


def _show(report: Report, as_json: bool) -> None:
    import msgspec

    from greenroom.bench.report import verdict
    from greenroom.cli.output import print_json, print_table

    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    rows = [
        (
            one.scenario,
            f"{one.operations:,}",
            f"{one.rate:,.0f}",
            *(f"{one.latency.get(name, 0):g}" for name in ("p50", "p99", "max")),
            f"{one.generator_share:.0%}",
            verdict(one),
        )
        for one in report.findings
    ]
    columns = ("Scenario", "Operations", "A second", "p50 ms", "p99 ms", "max ms", "Generator", "Note")
    print_table(columns, rows, empty="No operation was completed.")
    for one in report.findings:
        for name, count in one.errors.items():
            print(f"{one.scenario}: {count} × {name}")
    if report.stopped:
        print(f"stopped early: {report.stopped}")


def compare(
    before: Annotated[Path, typer.Argument(help="A report, as bench run writes it.")],
    after: Annotated[Path, typer.Argument(help="The report to compare it with.")],
    json: Json = False,
) -> None:
    """Compare two reports: each figure of the scenarios in both, and its ratio, after over before.

    Example: greenroom bench compare before.json after.json
    """
    _check_installed()
    import msgspec

    from greenroom.bench import report as reports
    from greenroom.cli.output import print_json, print_table

    try:
        changes = reports.compare(reports.load(before), reports.load(after))
    except reports.ReportError as error:
        raise CliError(str(error), Exit.USAGE) from None
    if json:
        print_json(msgspec.to_builtins(changes))
        return
    rows = [
        (
            one.scenario,
            one.figure if one.figure == "rate" else f"{one.figure} ms",
            f"{one.before:,.6g}",
            f"{one.after:,.6g}",
            "" if one.ratio is None else f"{one.ratio:.2f}",
        )
        for one in changes
    ]
    columns = ("Scenario", "Figure", "Before", "After", "Ratio")
    print_table(columns, rows, empty="The reports have no scenario with the same parameters.")
