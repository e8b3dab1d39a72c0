"""One way to write cursors, whatever the list and the engine."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from greenroom.engines.cursors import decode_cursor, encode_cursor, open_cursor, seal_cursor
from greenroom.errors import IllegalArgumentError

SOURCE = Path(__file__).parents[2] / "src" / "greenroom" / "engines"


@pytest.mark.parametrize("value", ["", "ä\x00b", 7, [3, "p3-x"]])
def test_a_cursor_gives_back_what_was_put_into_it(value: object) -> None:
    assert decode_cursor("p", encode_cursor("p", value), type(value)) == value


def test_positions_are_bytes() -> None:
    cursor = seal_cursor(b"\x01", bytes(8))
    assert cursor.isascii()
    assert open_cursor(b"\x01", cursor) == bytes(8)


@pytest.mark.parametrize("cursor", ["!", "ä", "\ud800", "a" * 5000, "", encode_cursor("s", "x"), encode_cursor("p", 1)])
def test_a_cursor_of_another_list_is_invalid(cursor: str) -> None:
    with pytest.raises(IllegalArgumentError, match=r"Invalid cursor\."):
        decode_cursor("p", cursor, str)


def test_a_cursor_with_bits_that_mean_nothing_is_invalid() -> None:
    """Else two texts would be one position."""
    cursor = encode_cursor("p", "xy")
    assert len(cursor) % 4, "the last character carries spare bits"
    with pytest.raises(IllegalArgumentError):
        decode_cursor("p", cursor[:-1] + chr(ord(cursor[-1]) + 1), str)


def test_there_is_no_second_codec() -> None:
    """base64 is imported by this module of the engines alone."""
    importing = []
    for path in SOURCE.rglob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        if any(alias.name in ("base64", "binascii") for node in imports for alias in node.names):
            importing.append(path.name)
    assert importing == ["cursors.py"]
