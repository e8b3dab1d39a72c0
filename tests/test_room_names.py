"""What a room's name may be, and what a token may grant in rooms."""

from __future__ import annotations

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.model import RoomGrant
from greenroom.room_names import MAX_ROOM_GRANTS, check_room_grants, check_room_name, grants_of


@pytest.mark.parametrize("name", ["a", "Stand-up 1", "#ü*", "x" * 250, "ü" * 125, "\u200b"])
def test_names(name: str) -> None:
    assert check_room_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "room is empty"),
        ("a\nb", r"control character \(U\+000A\)"),
        ("\ud800", r"lone surrogate \(U\+D800\)"),
        ("x" * 251, "too long"),
        ("ü" * 126, "too long"),
        (7, "not a string"),
    ],
)
def test_no_names(name: str, problem: str) -> None:
    with pytest.raises(IllegalArgumentError, match=problem):
        check_room_name(name)


def grant(name: str, *can: str) -> RoomGrant:
    return RoomGrant(name=name, can=can)  # type: ignore[arg-type]


def test_r7_grants_of_a_room_add_up() -> None:
    grants = (grant("team-*", "join", "watch"), grant("team-7", "send"), grant("*", "watch"), grant("a*b", "kick"))
    assert grants_of(grants, "team-7") == frozenset({"join", "watch", "send"})
    assert grants_of(grants, "team-") == frozenset({"join", "watch"})
    assert grants_of(grants, "Team-7") == frozenset({"watch"})
    assert grants_of(grants[:2], "team") is None
    assert grants_of((), "team-7") is None


@pytest.mark.parametrize(
    ("grants", "problem"),
    [
        ([grant("a", "join")] * (MAX_ROOM_GRANTS + 1), "has 33 entries, and may have 32"),
        ([grant("b", "join"), grant("a*b", "join")], r"rooms\[1\].name has a \* that is not at its end"),
        ([grant("a**", "join")], "not at its end"),
        ([grant("", "join")], r"rooms\[0\].name is empty"),
        ([grant("a")], r"rooms\[0\].can is empty"),
    ],
)
def test_no_grants(grants: list[RoomGrant], problem: str) -> None:
    with pytest.raises(IllegalArgumentError, match=problem):
        check_room_grants(grants)


def test_the_most_grants() -> None:
    grants = [grant("*", "join"), *[grant(f"room-{number}", "send") for number in range(MAX_ROOM_GRANTS - 1)]]
    assert check_room_grants(grants) == tuple(grants)
