"""How verbs print: JSON for programs, tables and short lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table on stdout; `empty` where there are no rows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text: a name is never taken for markup.
        table.add_row(*(Text(cell) for cell in row))
    Console(soft_wrap=False).print(table if table.rows else empty)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Names and values, one a line."""
    from rich.console import Console
    from rich.text import Text

    width = max(map(len, pairs), default=0)
    console = Console(soft_wrap=True, highlight=False)
    for name, value in pairs.items():
        console.print(Text.assemble((name.ljust(width + 2), "bold"), value))


def instant(milliseconds: int | None) -> str:
    """Unix milliseconds for people: UTC, to the second."""
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


__all__ = ["instant", "print_json", "print_pairs", "print_table"]
