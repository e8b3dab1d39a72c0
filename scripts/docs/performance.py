"""docs/explanation/performance.md and its plots, from the results of the last `make bench` that are committed."""

from __future__ import annotations

from benchmarks import page, results


def generate() -> dict[str, str]:
    """The page, and the plots it shows."""
    return page.pages(results.load())
