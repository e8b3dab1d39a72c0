"""Events as apps see them."""

from __future__ import annotations

import pytest

from greenroom.engines.base import EventPage
from greenroom.model import Event
from greenroom.server.events.views import EVENT_TYPES, iso, notices, view_of_event, wanted


def test_an_event_says_the_same_instant_twice_and_null_where_it_is_about_nobody() -> None:
    event = Event(id="e", type="webhook.test", at=1_700_000_000_123, app="app", data={"x": 1})
    view = view_of_event(event)
    assert (view.timestamp, view.at) == ("2023-11-14T22:13:20.123Z", 1_700_000_000_123)
    assert (view.participant_id, view.session_id, view.data) == (None, None, {"x": 1})


def test_whole_seconds_have_their_milliseconds_too() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("filters", "kind", "expected"),
    [
        ((), "session.opened", True),
        (("session.opened",), "session.opened", True),
        (("session.opened",), "session.ended", False),
        (("session.*",), "session.ended", True),
        (("session.*",), "sessions.ended", False),
        (("participant.online",), "gap", True),
        (("participant.online",), "partition.reset", True),
    ],
)
def test_filters(filters: tuple[str, ...], kind: str, expected: bool) -> None:
    assert wanted(kind, filters) is expected


def test_every_type_can_be_asked_for_by_name_and_by_family() -> None:
    for kind in EVENT_TYPES:
        assert wanted(kind, (kind,))
        assert wanted(kind, (kind.partition(".")[0] + ".*",))


def test_what_was_lost_is_said_with_ids_that_follow_from_the_cursor() -> None:
    page = EventPage((), "after", gap=3, reset=True)
    first, again = (notices("app", page, "before", at) for at in (1, 2))
    assert [one.type for one in first] == ["partition.reset", "gap"]
    assert first[1].data == {"dropped": 3}
    assert [one.id for one in first] == [one.id for one in again]
    assert {one.id for one in first}.isdisjoint(one.id for one in notices("app", page, "elsewhere", 1))
    assert notices("app", EventPage((), "after"), "before", 1) == []
