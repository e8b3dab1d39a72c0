"""What a roster shows of a participant."""

from __future__ import annotations

import pytest

from greenroom.core.rooms.members import member_presence, roster_attributes
from greenroom.core.rooms.names import MAX_ROSTER_ATTRIBUTES_BYTES
from greenroom.model import Presence

AFTER = 2000


def test_only_listed_attributes_are_shown() -> None:
    attributes = {"role": "nurse", "pin": "1234"}
    assert roster_attributes(attributes, ("team", "role")) == {"role": "nurse"}
    assert roster_attributes(attributes, ()) is None
    assert roster_attributes(attributes, ("team",)) is None
    assert roster_attributes(None, ("role",)) is None


def test_they_are_so_many_bytes_together_names_counted() -> None:
    fits = "x" * (MAX_ROSTER_ATTRIBUTES_BYTES - 1)
    assert roster_attributes({"a": fits}, ("a",)) == {"a": fits}
    assert roster_attributes({"a": fits + "x"}, ("a",)) is None
    assert roster_attributes({"a": "ä" * (MAX_ROSTER_ATTRIBUTES_BYTES // 2)}, ("a",)) is None
    assert roster_attributes({"a": fits, "b": "", "c": "y"}, ("c", "a", "b")) == {"c": "y", "b": ""}


@pytest.mark.parametrize(
    ("connected", "shown", "since", "clock", "expected"),
    [
        (1, Presence.ONLINE, None, 5000, (Presence.ONLINE, None)),
        (0, Presence.ONLINE, None, 5000, (Presence.ONLINE, 5000)),
        (0, Presence.ONLINE, 4000, 5999, (Presence.ONLINE, 4000)),
        (0, Presence.ONLINE, 4000, 6000, (Presence.UNREACHABLE, 4000)),
        (0, Presence.UNREACHABLE, 4000, 9000, (Presence.UNREACHABLE, 4000)),
        (1, Presence.UNREACHABLE, 4000, 9000, (Presence.ONLINE, None)),
        (1, Presence.ONLINE, 4000, 5000, (Presence.ONLINE, None)),
    ],
)
def test_unreachable_is_shown_after_it_lasted(
    connected: int, shown: Presence, since: int | None, clock: int, expected: tuple[Presence, int | None]
) -> None:
    seen = member_presence(connected=connected, sessions=2, shown=shown, since=since, clock=clock, after=AFTER)
    assert seen == expected
