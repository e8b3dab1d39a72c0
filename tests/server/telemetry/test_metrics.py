"""What is counted, and the page that is made of it."""

from __future__ import annotations

import pytest

from greenroom.server.telemetry.metrics import Histogram, Metrics


def test_a_spread_counts_what_is_at_or_below_each_bound() -> None:
    spread = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        spread.observe(seconds)
    assert spread.buckets() == [("0.1", 2.0), ("1.0", 3.0), ("+Inf", 4.0)]
    assert spread.count == 4
    assert spread.total == pytest.approx(7.65)


def test_what_is_not_in_the_table_cannot_be_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.counter("greenroom_made_up_total")
    with pytest.raises(KeyError):
        metrics.gauge("greenroom_made_up", lambda: ())
    with pytest.raises(AssertionError, match="greenroom_opens_total"):
        metrics.counter("greenroom_opens_total").labels("ok", "too many")


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.counter("greenroom_opens_total").labels("ok").value += 1
    assert b'greenroom_opens_total{result="ok"} 1.0' in one.page("")[0]
    assert b"greenroom_opens_total{" not in other.page("")[0]


def test_open_metrics_where_it_is_asked_for() -> None:
    body, content_type = Metrics().page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
