"""What an application may not exceed, whatever it sets for itself: the operators' ceilings."""

from __future__ import annotations

from typing import overload

import msgspec

from greenroom.errors import IllegalArgumentError
from greenroom.model import Application, ApplicationCeilings, ApplicationSettings
from greenroom.server.config import ServerConfig


def ceilings_of(app: Application, config: ServerConfig) -> ApplicationCeilings:
    """The lower one of the service's ceilings and the application's, for each."""
    own = app.ceilings
    return ApplicationCeilings(
        max_application_sessions=_lower(own.max_application_sessions, config.max_application_sessions_ceiling),
        max_watched=_lower(own.max_watched, config.max_watched_ceiling),
        max_sessions=_lower(own.max_sessions, config.max_sessions_ceiling),
        max_room_members=_lower(own.max_room_members, config.max_room_members_ceiling),
        max_rooms=_lower(own.max_rooms, config.max_rooms_ceiling),
    )


def effective(app: Application, config: ServerConfig) -> Application:
    """The application with settings lowered to its ceilings, where they were made before those."""
    ceilings, settings = ceilings_of(app, config), app.settings
    lowered = msgspec.structs.replace(
        settings,
        max_application_sessions=_lower(settings.max_application_sessions, ceilings.max_application_sessions),
        max_watched=_lower(settings.max_watched, ceilings.max_watched),
        policy=msgspec.structs.replace(
            settings.policy, max_sessions=_lower(settings.policy.max_sessions, ceilings.max_sessions)
        ),
        rooms=msgspec.structs.replace(
            settings.rooms,
            max_members=_lower(settings.rooms.max_members, ceilings.max_room_members),
            max_rooms=_lower(settings.rooms.max_rooms, ceilings.max_rooms),
        ),
    )
    return app if lowered == settings else msgspec.structs.replace(app, settings=lowered)


def check_within(settings: ApplicationSettings, app: Application, config: ServerConfig) -> None:
    """Raises IllegalArgumentError where `settings` would exceed a ceiling that they do not exceed now."""
    ceilings, before = ceilings_of(app, config), app.settings
    for name, value, old, ceiling in (
        ("maxApplicationSessions", settings.max_application_sessions, before.max_application_sessions,
         ceilings.max_application_sessions),
        ("maxWatched", settings.max_watched, before.max_watched, ceilings.max_watched),
        ("policy.maxSessions", settings.policy.max_sessions, before.policy.max_sessions, ceilings.max_sessions),
        ("rooms.maxMembers", settings.rooms.max_members, before.rooms.max_members, ceilings.max_room_members),
        ("rooms.maxRooms", settings.rooms.max_rooms, before.rooms.max_rooms, ceilings.max_rooms),
    ):  # fmt: skip
        if ceiling is not None and value != old and (value is None or value > ceiling):
            raise IllegalArgumentError(
                f"{name} is {'null (no limit)' if value is None else value}. The operators of this service allow at"
                f" most {ceiling}.",
                hint="",
            )


@overload
def _lower(one: int, other: int | None) -> int: ...
@overload
def _lower(one: int | None, other: int | None) -> int | None: ...
def _lower(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
