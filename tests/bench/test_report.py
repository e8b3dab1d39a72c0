"""Reports, comparisons, and the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.bench.figures import Measurement
from greenroom.bench.report import Report, ReportError, compare, html, load, save, verdict


def _finding(scenario: str = "storm", rate: float = 100.0, p99: float = 8.0, share: float = 0.4) -> Measurement:
    return Measurement(
        scenario=scenario,
        parameters={"count": 10, "inFlight": 4},
        operations=10,
        seconds=0.1,
        rate=rate,
        latency={"p50": 4.0, "p99": p99},
        curve=[(50.0, 4.0), (99.0, p99), (100.0, 9.0)],
        timeline=[(0.05, 5), (0.1, 10)],
        generator_share=share,
    )


def _report(*findings: Measurement) -> Report:
    return Report(target="http://127.0.0.1:1", date="2026-01-01 00:00 UTC", generator={}, findings=list(findings))


def test_a_report_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    report = _report(_finding())
    save(report, tmp_path / "a.json")
    assert load(tmp_path / "a.json") == report


@pytest.mark.parametrize("text", ["", "[]", '{"target": 1}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ReportError, match="no report"):
        load(path)


def test_ratios_are_after_over_before_for_what_is_in_both() -> None:
    before = _report(_finding(rate=100, p99=8), _finding("reconnect"))
    after = _report(_finding(rate=150, p99=4))
    found = {change.figure: change.ratio for change in compare(before, after)}
    assert found == {"rate": 1.5, "p50": 1.0, "p99": 0.5}


def test_other_parameters_are_not_compared() -> None:
    other = _finding()
    other.parameters["inFlight"] = 8
    assert compare(_report(_finding()), _report(other)) == []


def test_it_says_when_the_generator_was_the_bottleneck() -> None:
    assert "generator" in verdict(_finding(share=0.9))
    assert verdict(_finding(share=0.5)) == ""


def test_the_page_holds_its_plots_and_loads_nothing() -> None:
    finding = _finding()
    finding.errors["<script>"] = 3
    page = html(_report(finding))
    assert page.count("<svg") == 2
    assert "<script>" not in page
    assert "src=" not in page
    assert "href=" not in page
