"""What an application's settings make of the limits of its rooms (R12)."""

from __future__ import annotations

from greenroom.core.rooms.requests import RoomLimits
from greenroom.model import Application


def limits_of(application: Application) -> RoomLimits:
    """The limits that engines are given with each request."""
    settings = application.settings.rooms
    return RoomLimits(
        members=settings.max_members,
        rooms=settings.max_rooms,
        detailed_members=settings.detailed_members,
        roster_attributes=settings.roster_attributes,
    )
