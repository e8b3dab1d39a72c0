"""What a room's name may be, and how large what belongs to a room may get (R12)."""

from __future__ import annotations

from greenroom.errors import IllegalArgumentError
from greenroom.room_names import MAX_ROOM_NAME_BYTES as MAX_ROOM_NAME_BYTES
from greenroom.room_names import check_room_name as check_room_name

MAX_ROOMS_OF_SESSION = 16
"""Rooms in which one session is (R1)."""
MAX_WATCHED_ROOMS = 32
"""Rooms that one session may watch, those in which it is counted (R12)."""
MAX_DETAILED_MEMBERS = 1_000
"""Members of a detailed room at most: its changes name them (R5)."""
MAX_MESSAGE_BYTES = 16 * 1024
"""Bytes of a message to a room, as JSON (R6)."""
MAX_INVITATION_TEXT_BYTES = 1024
"""Bytes of the text of an invitation, as UTF-8."""
MAX_ROSTER_ATTRIBUTES_BYTES = 1024
"""Bytes of those attributes of a member that a roster shows, names and values."""
LONGEST_CLIENT_TTL = 600.0
"""Seconds that a client may ask a room to outlast its last member."""
LONGEST_TTL = 86400.0
"""Seconds that a backend may ask."""
SHORTEST_EMPTY_TTL = 60.0
"""Seconds that a room which was opened empty is kept at least."""
LONGEST_KICK = 86400.0
"""Seconds for which a kick keeps a participant out at most."""
LONGEST_INVITATION_TTL = 86400.0
"""Seconds for which an invitation is kept at most."""


def check_message(message: bytes) -> bytes:
    """A message to a room, as JSON. Raises IllegalArgumentError for more than MAX_MESSAGE_BYTES bytes."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise IllegalArgumentError(
            f"message has {len(message):,} bytes.", hint=f"At most {MAX_MESSAGE_BYTES:,} bytes of JSON."
        )
    return message


def check_invitation_text(text: str) -> str:
    """The text of an invitation. Raises IllegalArgumentError for more than MAX_INVITATION_TEXT_BYTES bytes of UTF-8 and
    lone surrogates."""
    if len(text) > MAX_INVITATION_TEXT_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_INVITATION_TEXT_BYTES:
        raise IllegalArgumentError("text is too long.", hint=f"At most {MAX_INVITATION_TEXT_BYTES:,} bytes of UTF-8.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise IllegalArgumentError("text holds a lone surrogate.", hint="Leave the character out.") from None
    return text
