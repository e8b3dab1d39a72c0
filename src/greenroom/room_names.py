"""What a room's name may be, and which rooms a token grants (R7). Checked by the SDK, in tokens, and by the service."""

from __future__ import annotations

import re
from collections.abc import Iterable

from greenroom.errors import IllegalArgumentError
from greenroom.model import RoomGrant

MAX_ROOM_NAME_BYTES = 250
"""Bytes of a room's name, as UTF-8."""
MAX_ROOM_GRANTS = 32
"""Entries in a token's claim ``rooms``."""
EVERY_REST = "*"
"""At the end of a granted name: any rest."""

_REFUSED = (
    ("a control character", re.compile("[\x00-\x1f\x7f-\x9f]")),
    ("a lone surrogate", re.compile("[\ud800-\udfff]")),
)


def check_room_name(room: str, what: str = "room") -> str:
    """The name, byte for byte as it is. what: its name for whoever gave it.

    Raises IllegalArgumentError for anything but a string of 1 to MAX_ROOM_NAME_BYTES bytes of UTF-8, control characters
    and lone surrogates.
    """
    if not isinstance(room, str):
        raise IllegalArgumentError(f"{what} is not a string.", hint=f"Give {what} as a string.")
    if not room:
        raise IllegalArgumentError(f"{what} is empty.", hint="Give the room's name.")
    if len(room) > MAX_ROOM_NAME_BYTES:
        raise _too_long(what)
    for kind, pattern in _REFUSED:
        found = pattern.search(room)
        if found is not None:
            raise IllegalArgumentError(f"{what} holds {kind} (U+{ord(found[0]):04X}).", hint="Leave the character out.")
    if len(room.encode()) > MAX_ROOM_NAME_BYTES:
        raise _too_long(what)
    return room


def _too_long(what: str) -> IllegalArgumentError:
    return IllegalArgumentError(f"{what} is too long.", hint=f"At most {MAX_ROOM_NAME_BYTES} bytes of UTF-8.")


def check_room_grants(grants: Iterable[RoomGrant], what: str = "rooms") -> tuple[RoomGrant, ...]:
    """The grants, if a token may have them. what: their name for whoever gave them.

    Raises IllegalArgumentError where there are more than MAX_ROOM_GRANTS, where one grants nothing, where a name is
    none of a room, or has a ``*`` elsewhere than at its end.
    """
    found = tuple(grants)
    if len(found) > MAX_ROOM_GRANTS:
        raise IllegalArgumentError(
            f"{what} has {len(found)} entries, and may have {MAX_ROOM_GRANTS}.",
            hint="Name rooms alike and grant them by one entry with a * at the end.",
        )
    for at, grant in enumerate(found):
        check_room_name(grant.name, f"{what}[{at}].name")
        if EVERY_REST in grant.name[:-1]:
            raise IllegalArgumentError(
                f"{what}[{at}].name has a * that is not at its end.", hint="Use an exact name, or one * at the end."
            )
        if not grant.can:
            raise IllegalArgumentError(f"{what}[{at}].can is empty.", hint="Name what is granted, or leave it out.")
    return found


def grants_of(grants: Iterable[RoomGrant], room: str) -> frozenset[str] | None:
    """What these grant in one room, together; None where none of them is about the room."""
    found: frozenset[str] | None = None
    for grant in grants:
        name = grant.name
        if name == room or (name.endswith(EVERY_REST) and room.startswith(name[:-1])):
            found = frozenset(grant.can) | (found or frozenset())
    return found
