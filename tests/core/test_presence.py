"""Presence from sessions, and what is published of it when."""

from __future__ import annotations

from itertools import product

import pytest

from greenroom.core.presence import Showing, overdue, presence_of, shared_status, show
from greenroom.model import Presence

ON, GONE, OFF = Presence.ONLINE, Presence.UNREACHABLE, Presence.OFFLINE


@pytest.mark.parametrize(
    ("connected", "sessions", "presence"), [(0, 0, OFF), (0, 1, GONE), (0, 3, GONE), (1, 1, ON), (2, 3, ON)]
)
def test_presence_is_what_the_sessions_say(connected: int, sessions: int, presence: Presence) -> None:
    assert presence_of(connected, sessions) is presence


def test_online_and_offline_are_published_at_once() -> None:
    assert show(connected=1, sessions=1, shown=OFF, since=None, clock=5) == Showing(ON, ON, None, ON)
    assert show(connected=0, sessions=0, shown=ON, since=None, clock=5) == Showing(OFF, OFF, None, OFF)
    assert show(connected=0, sessions=0, shown=GONE, since=1, clock=5) == Showing(OFF, OFF, None, OFF)


def test_unreachable_is_true_at_once_and_published_later() -> None:
    assert show(connected=0, sessions=1, shown=ON, since=None, clock=5) == Showing(GONE, ON, 5, None)
    assert show(connected=0, sessions=1, shown=ON, since=3, clock=5) == Showing(GONE, ON, 3, None)


def test_a_resume_before_it_was_published_is_not_published() -> None:
    assert show(connected=1, sessions=1, shown=ON, since=3, clock=4) == Showing(ON, ON, None, None)
    assert show(connected=1, sessions=1, shown=GONE, since=3, clock=9) == Showing(ON, ON, None, ON)


def test_a_pass_publishes_what_has_lasted() -> None:
    assert overdue(presence=GONE, shown=ON, since=0, clock=1999, after=2000) is None
    assert overdue(presence=GONE, shown=ON, since=0, clock=2000, after=2000) is GONE
    assert overdue(presence=GONE, shown=GONE, since=0, clock=9999, after=2000) is None
    assert overdue(presence=ON, shown=ON, since=None, clock=9999, after=2000) is None


def test_no_watcher_gets_the_same_record_twice() -> None:
    for connected, sessions, shown in product(range(3), range(3), Presence):
        if connected <= sessions:
            showing = show(connected=connected, sessions=sessions, shown=shown, since=None, clock=0)
            assert showing.news is None or showing.news is not shown
            assert showing.presence is presence_of(connected, sessions)
            assert showing.shown is shown or showing.news is showing.shown


def test_the_status_of_the_most_available_session_counts() -> None:
    order = ["available", "in surgery", "busy", "away"]
    for more, less in product(order, order):
        if order.index(more) < order.index(less):
            for pair in ([more, less], [less, more]):
                known = [status for status in pair if status != "available"]
                assert shared_status(known, 2) == (None if more == "available" else more)
    assert shared_status(["in surgery", "away", "at lunch", "busy"], 4) == "at lunch", "the text set last"
    assert shared_status(["in surgery"], 2) is None
    assert shared_status([], 0) is None
