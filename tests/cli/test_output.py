"""Tables and pairs as people and pipes see them."""

from __future__ import annotations

import re
import sys

import pytest

from greenroom.cli.output import print_pairs, print_table

KEY = "2bb86513095e07c6ad21485603e630be"


def _as_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_a_key_is_not_broken_where_words_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_terminal(monkeypatch, 60)
    print_table(("Name", "App key", "Remark"), [("Demo", KEY, "words that wrap " * 4)], empty="None.")
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert KEY in out
    assert all(len(line) <= 60 for line in out.splitlines())


def test_what_is_too_wide_for_the_terminal_is_folded_and_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_terminal(monkeypatch, 40)
    print_table(("One", "Two"), [("a" * 36, "b" * 36)], empty="None.")
    out = capsys.readouterr().out
    assert out.count("a") == out.count("b") == 36


def test_in_a_pipe_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("One", "Two"), [("word " * 20, KEY), ("x", "y")], empty="None.")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 4  # head, rule, two rows


def test_further_lines_of_a_value_stand_under_its_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs({"state": "one\ntwo", "empty": ""})
    assert capsys.readouterr().out.splitlines() == ["state  one", "       two", "empty  none"]
