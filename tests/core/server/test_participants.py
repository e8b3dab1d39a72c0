"""What a session asks about participants: requests to the engine, and the replies made of its answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.core.requests import ParticipantQuery, WatchRequest
from greenroom.core.server.participants import get_participants, watch_participants
from greenroom.core.server.services import Now
from greenroom.core.watching import Watches
from greenroom.errors import GreenroomError
from greenroom.messages import ParticipantsParams
from greenroom.model import Application, ApplicationSettings, ParticipantRecord

NOW = Now(0.0, 0.0)
APPLICATION = Application(key="app", name="App", namespace="n", settings=ApplicationSettings(max_watched=2))


def _records(*versions: int) -> list[ParticipantRecord]:
    return [ParticipantRecord(app="app", id=f"p{n}", version=version) for n, version in enumerate(versions)]


def _result(reply: bytes) -> list[Any]:
    found: list[Any] = msgspec.json.decode(reply)["result"]["participants"]
    return found


def test_those_asked_for_are_read_and_replied_in_order() -> None:
    watches = Watches()
    query, reply = get_participants(1, ParticipantsParams(ids=["p0", "p1"]), "app", APPLICATION, watches, 10_000)
    assert query == ParticipantQuery(app="app", ids=("p0", "p1"), limit=2)
    assert [one["id"] for one in _result(reply(_records(1, 2), NOW))] == ["p0", "p1"]


def test_a_reply_that_is_too_long_is_refused() -> None:
    _, reply = get_participants(1, ParticipantsParams(ids=["p0"]), "app", APPLICATION, Watches(), 10)
    with pytest.raises(GreenroomError):
        reply(_records(1), NOW)


def test_a_watch_replies_with_what_was_asked_for_and_what_differs_from_the_known() -> None:
    watches = Watches()
    params = ParticipantsParams(ids=["p0"], known=[("p1", 2), ("p2", 2)])
    request, reply = watch_participants(1, params, "app", APPLICATION, watches, 10_000)
    assert request == WatchRequest("app", ("p0", "p1", "p2"), {"p1": 2, "p2": 2})
    assert "p1" in watches, "held until the reply is written (S12)"
    assert [one["id"] for one in _result(reply(_records(1, 2, 3), NOW))] == ["p0", "p2"]
    assert watches.sent("p1") == 2


def test_more_than_the_application_allows_are_not_watched() -> None:
    watches = Watches()
    with pytest.raises(GreenroomError, match="may watch 2 participants"):
        watch_participants(1, ParticipantsParams(ids=["a", "b", "c", "d"]), "app", APPLICATION, watches, 10_000)
    assert len(watches) == 0
