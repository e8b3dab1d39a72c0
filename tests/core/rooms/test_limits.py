"""The limits of rooms come from the application's settings."""

from __future__ import annotations

from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.requests import RoomLimits
from greenroom.model import Application, ApplicationSettings, RoomSettings


def test_limits_of_an_application() -> None:
    rooms = RoomSettings(max_members=7, max_rooms=3, detailed_members=5, roster_attributes=("team",))
    application = Application(key="a", name="A", namespace="n", settings=ApplicationSettings(rooms=rooms))
    assert limits_of(application) == RoomLimits(members=7, rooms=3, detailed_members=5, roster_attributes=("team",))
