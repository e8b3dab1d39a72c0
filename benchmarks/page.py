"""docs/explanation/performance.md, from the results."""

from __future__ import annotations

from typing import Any

from benchmarks.process import ROOT

PAGE = ROOT / "docs" / "explanation" / "performance.md"


def write(found: dict[str, Any]) -> None:
    """The page."""
    lines = [
        "# Performance",
        "",
        f"Made by `make bench` on {found['date']} ({found['form']} form).",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| `{name}` | {value:g} |" for name, value in found["figures"].items()),
    ]
    PAGE.write_text("\n".join(lines) + "\n")


__all__ = ["PAGE", "write"]
