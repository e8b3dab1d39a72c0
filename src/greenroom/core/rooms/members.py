"""What a roster shows of a participant (R4). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.core.presence import overdue, show
from greenroom.core.rooms.names import MAX_ROSTER_ATTRIBUTES_BYTES
from greenroom.model import Presence


def roster_attributes(attributes: dict[str, str] | None, shown: Sequence[str]) -> dict[str, str] | None:
    """Those attributes that a roster shows, in the order of the application's list, as far as they are
    MAX_ROSTER_ATTRIBUTES_BYTES together: one that does not fit is left out. None where there are none."""
    found: dict[str, str] = {}
    left = MAX_ROSTER_ATTRIBUTES_BYTES
    for name in shown if attributes else ():
        value = None if attributes is None else attributes.get(name)
        if value is None:
            continue
        size = len(name.encode()) + len(value.encode())
        if size <= left:
            found[name] = value
            left -= size
    return found or None


def member_presence(
    *, connected: int, sessions: int, shown: Presence, since: int | None, clock: int, after: int
) -> tuple[Presence, int | None]:
    """What a roster shows of a member's sessions in the room, and since when none of them is connected (None: one is).

    `unreachable` is shown only after it lasted for `after`, so that a reload is not noticed. clock, since and after are
    in one unit.
    """
    showing = show(connected=connected, sessions=sessions, shown=shown, since=since, clock=clock)
    late = overdue(presence=showing.presence, shown=showing.shown, since=showing.since, clock=clock, after=after)
    return late or showing.shown, showing.since
