"""What the service counts and measures, and /metrics.

What is counted is a plain number in an object that whoever counts holds on to: no lock, no look-up, no label on a hot
path (the event loop is the only writer). `prometheus_client` renders it at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from greenroom.server.telemetry.metrics_table import BY_NAME, TABLE, Description, Kind

Values = Iterable[tuple[tuple[str, ...], float]]
"""Of a gauge: the values of its labels, and its own."""


class Count:
    """A count; it never falls."""

    __slots__ = ("value",)

    def __init__(self, _bounds: Sequence[float] = ()) -> None:
        self.value = 0

    def add(self, more: int = 1) -> None:
        """So many more."""
        self.value += more


class Histogram:
    """A histogram: how many of what was observed fell between two bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """value: seconds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How often something was observed."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each counts what is at or below its bound."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, inf), self.counts, strict=True):
            so_far += count
            found.append(("+Inf" if bound == inf else repr(bound), float(so_far)))
        return found


ValueT = TypeVar("ValueT", Count, Histogram)


class Family(Generic[ValueT]):
    """One metric with all values that its labels have had."""

    def __init__(self, row: Description, make: Callable[[Sequence[float]], ValueT]) -> None:
        self.row = row
        self.values: dict[tuple[str, ...], ValueT] = {}
        self._make: Callable[[Sequence[float]], ValueT] = make
        if not row.labels:
            self.labels()

    def labels(self, *values: str) -> ValueT:
        """The one for these values of the labels, in their order."""
        found = self.values.get(values)
        if found is None:
            assert len(values) == len(self.row.labels), self.row.name
            found = self.values[values] = self._make(self.row.buckets)
        return found


class Metrics(Collector):
    """Of one service, in a registry of its own. Raises KeyError for a metric that is not in the table."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._counters = {row.name: Family(row, Count) for row in TABLE if row.kind is Kind.COUNTER}
        self._histograms = {row.name: Family(row, Histogram) for row in TABLE if row.kind is Kind.HISTOGRAM}
        self._gauges: dict[str, Callable[[], Values]] = {}
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def counter(self, name: str) -> Family[Count]:
        """A counter of the table."""
        return self._counters[name]

    def histogram(self, name: str) -> Family[Histogram]:
        """A histogram of the table."""
        return self._histograms[name]

    def count(self, name: str, values: Callable[[], Values]) -> None:
        """A counter that is counted elsewhere: `values` is called at each scrape."""
        assert BY_NAME[name].kind is Kind.COUNTER, name
        del self._counters[name]
        self._gauges[name] = values

    def gauge(self, name: str, values: Callable[[], Values]) -> None:
        """A gauge or info of the table; `values` is asked at each scrape, and is quick."""
        assert BY_NAME[name].kind in (Kind.GAUGE, Kind.INFO), name
        self._gauges[name] = values

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        for row in TABLE:
            yield self._metric(row)

    def _metric(self, row: Description) -> Metric:
        if row.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(row.name, row.text, labels=row.labels)
            for values, observed in tuple(self._histograms[row.name].values.items()):
                histogram.add_metric(values, observed.buckets(), observed.total)
            return histogram
        family = (CounterMetricFamily if row.kind is Kind.COUNTER else GaugeMetricFamily)(
            row.name, row.text, labels=row.labels
        )
        for values, value in self._values(row.name):
            family.add_metric(values, value)
        return family

    def _values(self, name: str) -> Values:
        counted = self._counters.get(name)
        if counted is not None:
            return [(values, count.value) for values, count in tuple(counted.values.items())]
        ask = self._gauges.get(name)
        return () if ask is None else ask()

    def page(self, accept: str) -> tuple[bytes, str]:
        """The text for a scraper and its content type. accept: the header's value."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type
