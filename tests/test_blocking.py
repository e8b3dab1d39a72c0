"""The names of `greenroom.blocking` are those of `greenroom`. What they do: `tests/sdk/test_blocking.py`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import greenroom
from greenroom import blocking

TWINS = ["Greenroom", "ParticipantsService", "Room", "RoomsService", "SessionService"]
OTHERWISE = {"aclose": "shut_down"}
"""Without a loop it has another name."""
INSIDE = {"Room.report", "Room.close"}
"""What the SDK itself calls on the room of a program with a loop."""


def members(owner: type) -> set[str]:
    """Public methods and properties, and what the constructor sets."""
    found = {name for name in dir(owner) if not name.startswith("_")}
    if owner is greenroom.SessionService:
        found.add("device")
    return found


def twins(name: str) -> tuple[Any, Any]:
    """The class for programs with a loop, and the one for others."""
    return getattr(greenroom, name), getattr(blocking, name)


@pytest.mark.parametrize("name", TWINS)
def test_each_class_has_the_members_of_its_twin(name: str) -> None:
    twin, own = twins(name)
    expected = {OTHERWISE.get(one, one) for one in members(twin) if f"{name}.{one}" not in INSIDE}
    assert members(own) == expected


@pytest.mark.parametrize("name", TWINS)
def test_each_method_takes_what_its_twin_takes(name: str) -> None:
    twin, own = twins(name)
    for method in members(own) & members(twin) - {"device"}:
        taken = [getattr(one, method) for one in (twin, own)]
        if callable(taken[0]):
            of_twin, of_own = ([*inspect.signature(one).parameters] for one in taken)
            assert [one for one in of_own if one != "completion"] == of_twin, method
