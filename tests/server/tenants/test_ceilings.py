"""What an application may not exceed, whatever it set for itself."""

from __future__ import annotations

from msgspec.structs import replace

from greenroom.model import Application, ApplicationSettings, RoomSettings, SessionPolicy
from greenroom.server.config import ServerConfig
from greenroom.server.tenants.ceilings import effective

CONFIG = ServerConfig(
    max_application_sessions_ceiling=7, max_watched_ceiling=5, max_sessions_ceiling=3, max_room_members_ceiling=20,
    max_rooms_ceiling=30,
)  # fmt: skip
APP = Application(key="a", name="a", namespace="n")


def test_an_application_gets_no_more_than_the_ceilings_of_the_service() -> None:
    """The report: a tenant set maxApplicationSessions to null and maxWatched to 100,000 where the operator had 1."""
    policy = SessionPolicy(max_sessions=500)
    settings = ApplicationSettings(max_application_sessions=None, max_watched=100_000, policy=policy)
    found = effective(replace(APP, settings=settings), CONFIG).settings
    assert (found.rooms.max_members, found.rooms.max_rooms, found.rooms.detailed_members) == (20, 30, 1000)
    assert (found.max_application_sessions, found.max_watched, found.policy.max_sessions) == (7, 5, 3)


def test_settings_below_the_ceilings_are_left_alone() -> None:
    policy = SessionPolicy(max_sessions=1)
    rooms = RoomSettings(max_members=1, max_rooms=2)
    settings = ApplicationSettings(max_application_sessions=2, max_watched=1, policy=policy, rooms=rooms)
    application = replace(APP, settings=settings)
    assert effective(application, CONFIG) is application
