"""A roster: replies replace it, changes count on what is held, pages bring nobody back."""

from __future__ import annotations

import random

import pytest

from greenroom.core.client.rosters import LocalRoom, RosterUpdate
from greenroom.messages import RoomChanged, RoomMembersResult, WireMember, WireRoster


def _member(name: str, joined_at: int = 1, **more: str) -> WireMember:
    return WireMember(id=name, joined_at=joined_at, **more)  # type: ignore[arg-type]


def _roster(version: int, *names: str, **more: object) -> WireRoster:
    members = [_member(name) for name in names]
    return WireRoster(room="r", version=version, count=len(members), members=members, **more)  # type: ignore[arg-type]


def _ids(update: RosterUpdate) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    left = [(one.id, reason) for one, reason in update.left]
    return [one.id for one in update.joined], [one.id for one in update.changed], left


def test_a_change_counts_on_what_is_held() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada"))
    late = RoomChanged(room="r", version=9, since=7, count=2, joined=[_member("bob")])
    assert room.change(late).is_stale
    assert room.version == 5
    update = room.change(RoomChanged(room="r", version=7, since=4, count=2, joined=[_member("bob")]))
    assert _ids(update) == (["bob"], [], [])
    assert not room.change(RoomChanged(room="r", version=7, since=5, count=0, left=[("ada", "left")]))
    assert set(room.members) == {"ada", "bob"}


def test_a_change_after_which_the_count_is_wrong_is_no_whole_roster() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada"))
    assert room.change(RoomChanged(room="r", version=6, since=5, count=3, joined=[_member("bob")])).is_stale
    assert room.known() == ("r", 6)
    assert not room.take(_roster(6, "ada", "bob", "eve")).is_stale


def test_a_reply_older_than_a_change_that_came_before_it_is_asked_for_again() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada"))
    room.known()
    assert room.change(RoomChanged(room="r", version=9, since=8, count=2)).is_stale
    assert room.take(_roster(8, "bob", since=5, left=["ada"])).is_stale
    room.known()
    assert not room.take(_roster(8, "bob")).is_stale  # once: a service that lost its state counts from below


def test_differences_that_changes_have_brought_already_say_nothing() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada"))
    room.known()
    room.change(RoomChanged(room="r", version=6, since=5, count=2, joined=[_member("bob")]))
    assert not room.take(_roster(6, "bob", since=5))
    assert set(room.members) == {"ada", "bob"}


def test_an_end_takes_everybody() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada", "bob"))
    change = RoomChanged(room="r", version=6, since=5, count=0, left=[("bob", "left")], ended=True)
    assert _ids(room.change(change)) == ([], [], [("bob", "left"), ("ada", "ended")])


def test_who_was_held_and_is_on_no_page_has_left() -> None:
    room = LocalRoom("r")
    room.take(_roster(5, "ada", "bob", "eve"))
    assert _ids(room.take(_roster(9, "ada", cursor="c"))) == ([], [], [])
    assert room.known() == ("r", 0)
    assert _ids(room.take(_roster(9, "ada", cursor="c"))) == ([], [], [])
    update = room.take_page(RoomMembersResult(version=9, count=2, members=[_member("max")]))
    assert (update.joined[0].id, sorted(one.id for one, _ in update.left)) == ("max", ["bob", "eve"])


@pytest.mark.parametrize("seed", range(20))
def test_pages_and_changes_in_any_order_make_the_roster_of_the_service(seed: int) -> None:
    """The service's roster changes while it is read page by page; at the end both are the same."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    names = [f"m{number:02}" for number in range(40)]
    truth = {name: _member(name) for name in names if dice.random() < 0.5}
    version = 100

    def page(after: str, size: int) -> tuple[list[WireMember], str | None]:
        rest = [truth[name] for name in sorted(truth) if name > after]
        return rest[:size], rest[size - 1].id if len(rest) > size else None

    room = LocalRoom("r")
    members, cursor = page("", 5)
    room.take(WireRoster(room="r", version=version, count=len(truth), members=members, cursor=cursor))
    while room.cursor is not None:
        members, cursor = page(room.cursor, 5)
        read = RoomMembersResult(version=version, count=len(truth), members=members, cursor=cursor)
        changes = []
        for _ in range(dice.randrange(3)):  # their notifications come before the page that does not know of them
            name = dice.choice(names)
            gone = truth.pop(name, None)
            came = [] if gone else [truth.setdefault(name, _member(name, version))]
            left = [(name, "left")] if gone else []
            version += 1
            changes.append(
                RoomChanged(room="r", version=version, since=version - 1, count=len(truth), joined=came, left=left)
            )
        for change in changes:
            assert not room.change(change).is_stale
        room.take_page(read)
    assert {one.id: one.joined_at for one in room.members.values()} == {one.id: one.joined_at for one in truth.values()}
