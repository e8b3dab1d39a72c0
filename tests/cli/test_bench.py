"""``greenroom bench`` against the real service on a real socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenroom.bench.figures import Measurement
from greenroom.bench.report import Report, save
from greenroom.cli.exits import Exit
from tests.cli.running import run, run_here
from tests.server.harness import running_service


@pytest.mark.slow
async def test_every_scenario_runs_against_a_service(tmp_path: Path) -> None:
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    async with running_service(opens_per_second=100_000.0) as running:
        app = await running.new_application()
        ran = await run(
            "bench", "run", "--url", running.url, "--key", app.key, "--secret", app.secret, "--clients", "12",
            "--opens", "20", "--in-flight", "4", "--ramp", "0.1", "--seconds", "1", "--updates", "2",
            "--output", str(report), "--html", str(page),
        )  # fmt: skip
    assert ran.code == Exit.DONE, ran
    findings = {one["scenario"]: one for one in json.loads(report.read_text())["findings"]}
    assert list(findings) == ["storm", "echo", "idle", "fanout", "reconnect", "churn", "rooms"]
    assert all(one["errors"] == {} for one in findings.values())
    assert findings["storm"]["operations"] == 20
    assert findings["fanout"]["operations"] == 11 * 2
    assert findings["reconnect"]["more"]["back"] == 12
    assert findings["reconnect"]["more"]["meanAttempts"] == 1.0
    assert findings["rooms"]["operations"] == 9 * 4
    assert page.read_text().count("<svg") >= len(findings)
    compared = await run("bench", "compare", str(report), str(report), "--json")
    assert {one["ratio"] for one in compared.json} <= {1.0, None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("flood",), "no scenario 'flood'"),
        (("idle", "--clients", "60000"), "open files"),
    ],
)
async def test_what_cannot_be_carried_out_is_said_before_anything_is_done(
    arguments: tuple[str, ...], words: str
) -> None:
    import resource

    if "60000" in arguments and resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 60_064:
        arguments, words = ("idle", "--clients", "60001"), "clients must be"
    ran = await run("bench", "run", *arguments, "--key", "k", "--secret", "s", "--url", "http://127.0.0.1:1")
    assert ran.code == Exit.USAGE
    assert words in ran.err


async def test_a_wrong_secret_is_reported_as_such() -> None:
    async with running_service() as running:
        app = await running.new_application()
        ran = await run("bench", "run", "storm", "--url", running.url, "--key", app.key, "--secret", "wrong")
    assert ran.code == Exit.CREDENTIALS


async def test_no_service_is_reported_as_such() -> None:
    ran = await run("bench", "run", "storm", "--url", "http://127.0.0.1:1", "--key", "k", "--secret", "s")
    assert ran.code == Exit.UNREACHABLE


async def test_what_is_to_be_installed_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    ran = await run("bench", "run", "storm", "--url", "http://127.0.0.1:1", "--key", "k", "--secret", "s")
    assert ran.code == Exit.USAGE
    assert "pip install '.[server,bench]'" in ran.err


@pytest.mark.parametrize("url", ["greenroom.example", "http://[::1", "http://a..b", "http://127.0.0.1:1/below"])
def test_a_url_on_which_no_load_can_be_put(url: str) -> None:
    ran = run_here("bench", "run", "storm", "--url", url, "--key", "k", "--secret", "s")
    assert (ran.code, ran.out, ran.err.count("\n")) == (Exit.USAGE, "", 1)


@pytest.mark.parametrize("option", ["--output", "--html"])
def test_a_report_that_cannot_be_written_is_refused_before_the_load(option: str, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "report"
    ran = run_here("bench", "run", "--url", "http://127.0.0.1:1", "--key", "k", "--secret", "s", option, str(file))
    assert (ran.code, ran.err) == (Exit.USAGE, f"greenroom: {file} cannot be written.\n")


def test_key_and_secret_are_needed() -> None:
    ran = run_here("bench", "run", "storm", "--url", "http://127.0.0.1:1", "--key", "k")
    assert (ran.code, "--key and --secret" in ran.err) == (Exit.USAGE, True)


def test_two_reports_are_compared_on_a_table(tmp_path: Path) -> None:
    for name, rate in (("before", 100.0), ("after", 150.0)):
        finding = Measurement(
            scenario="storm", parameters={}, operations=10, seconds=0.1, rate=rate, latency={"p50": 4.0}
        )
        report = Report(target="http://127.0.0.1:1", date="2026-01-01 00:00 UTC", generator={}, findings=[finding])
        save(report, tmp_path / name)
    ran = run_here("bench", "compare", str(tmp_path / "before"), str(tmp_path / "after"))
    rows = [line.split() for line in ran.out.splitlines() if "storm" in line]
    assert rows == [["storm", "rate", "100", "150", "1.50"], ["storm", "p50", "ms", "4", "4", "1.00"]]
    nothing = run_here("bench", "compare", str(tmp_path / "before"), str(tmp_path / "nothing"))
    assert (nothing.code, nothing.err.count("\n")) == (Exit.USAGE, 1)
