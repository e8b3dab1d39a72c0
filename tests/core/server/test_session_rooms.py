"""The rooms of one session: what it is in and watches, what its node has to see, and invitations while they last."""

from __future__ import annotations

from greenroom.core.server.services import Now
from greenroom.core.server.session_rooms import SessionRooms
from tests.core.server.rig import WALL
from tests.core.server.room_rig import invitation, roster


def test_what_it_entered_left_or_watches_is_touched_once() -> None:
    rooms = SessionRooms(("a",), is_granted=False)
    assert rooms.take_touched() == ("a",)
    rooms.entered("b")
    rooms.watches.hold(("b", "c"))
    rooms.watched("b", 3)
    assert (rooms.joined, rooms.take_touched(), rooms.take_touched()) == (("a", "b"), ("b",), ())
    assert rooms.left("b")
    assert not rooms.left("b")
    assert (rooms.joined, rooms.watches.sent, rooms.take_touched()) == (("a",), {"c": -1}, ("b",))


def test_a_watch_that_is_over_is_not_answered() -> None:
    rooms = SessionRooms(is_granted=False)
    rooms.watches.hold(("a", "b"))
    assert rooms.unwatched(("a", "z")) == ("a",)
    taken = rooms.took([roster("a", 2), roster("b", 5), roster("c", 1)], {"b": 5})
    assert [one.room for one in taken] == ["a", "c"], "what is known is not said again"
    assert rooms.watches.sent == {"b": 5}


def test_invitations_last_until_their_time_is_over() -> None:
    rooms = SessionRooms(is_granted=True)
    early, late = Now(0.0, WALL), Now(0.0, WALL + 60)
    assert rooms.note(invitation("i1", "a"), early)
    assert not rooms.note(invitation("i1", "a"), early), "it is known"
    assert (rooms.is_invited("a", early), rooms.is_invited("b", early), rooms.is_invited("a", late)) == (
        True, False, False,
    )  # fmt: skip
    assert rooms.note(invitation("i2", "b", ends=120), late)
    assert list(rooms.invitations) == ["i2"], "what is over is forgotten"
