"""What ``greenroom bench run`` shows while it runs."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr

import pytest

from greenroom.cli.bench_view import LiveView


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self) -> bool:
        return True


def shown(terminal: io.StringIO) -> str:
    """Its text, without what moves the cursor."""
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def test_each_stage_has_a_bar_that_ends_full() -> None:
    terminal = Terminal()
    with redirect_stderr(terminal), LiveView(quiet=False) as view:
        view.stage("tokens", 4)
        view.done(4)
        view.stage("storm", 20)
        view.done(5, 0.0125)
        view.done(15, 0.5)
    last = [line for line in shown(terminal).splitlines() if line.strip()][-2:]
    assert [line.split()[0] for line in last] == ["tokens", "storm"]
    assert " 4/4 " in last[0]
    assert "20/20" in last[1], "also what came after the last look at the screen"


def test_the_rate_and_the_last_latency() -> None:
    terminal = Terminal()
    with redirect_stderr(terminal), LiveView(quiet=False) as view:
        view.stage("storm", 20)
        view.done(5, 0.0125)
    assert re.search(r"storm .* [\d,]+/s, last 12\.5 ms ", shown(terminal))


def test_nothing_is_drawn_where_nobody_looks() -> None:
    for stream, quiet in ((Terminal(), True), (io.StringIO(), False)):
        with redirect_stderr(stream), LiveView(quiet=quiet) as view:
            view.done(1)
            view.stage("storm", 2)
            view.done(2, 0.1)
        assert stream.getvalue() == ""
