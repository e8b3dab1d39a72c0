"""How verbs print: JSON for programs, tables and short lines for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_PIPE_WIDTH = 1000
"""Columns. In a pipe a row is a line: what reads it does not know how wide some terminal is."""
_SHARE_OF_IDS = 0.6
"""Of a terminal's width: columns of ids are kept in one piece, so that they can be copied, up to this much."""


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
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    room = console.width * _SHARE_OF_IDS
    for made in table.columns:
        cells = [str(cell) for cell in made.cells]
        room -= max(map(len, cells), default=0)
        made.no_wrap = room >= 0 and not any(" " in cell for cell in cells)
    console.print(table if table.rows else empty)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Names and values, one a line; further lines of a value stand under its first."""
    from rich.console import Console
    from rich.text import Text

    width = max(map(len, pairs), default=0)
    console = Console(soft_wrap=True, highlight=False)
    for name, value in pairs.items():
        text = (value or "none").replace("\n", "\n" + " " * (width + 2))
        console.print(Text.assemble((name.ljust(width + 2), "bold"), text))


def instant(milliseconds: int | None) -> str:
    """Unix milliseconds for people: UTC, to the second."""
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def printable(text: str) -> str:
    """Names come from people: nothing of them may steer a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
