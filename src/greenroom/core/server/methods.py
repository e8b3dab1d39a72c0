"""What each method of the session protocol does. `ping` is answered at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.core.server import participants, room_requests
from greenroom.core.server.closing import close_session
from greenroom.core.server.context import RequestId, SessionContext
from greenroom.core.server.opening import open_session
from greenroom.core.server.own_participant import get_participant, set_status, update_participant_info
from greenroom.core.server.resuming import resume_session
from greenroom.core.server.services import Now
from greenroom.core.server.tokens import refresh_token

METHODS: dict[str, Callable[[SessionContext, RequestId, Any, Now], None]] = {
    "session.open": open_session,
    "session.resume": resume_session,
    "session.close": close_session,
    "session.refreshToken": refresh_token,
    "session.updateParticipantInfo": update_participant_info,
    "session.setStatus": set_status,
    "session.getParticipant": get_participant,
    "participants.get": participants.get,
    "participants.watch": participants.watch,
    "participants.unwatch": participants.unwatch,
    "rooms.create": room_requests.create,
    "rooms.join": room_requests.join,
    "rooms.leave": room_requests.leave,
    "rooms.watch": room_requests.watch,
    "rooms.unwatch": room_requests.unwatch,
    "rooms.members": room_requests.members,
    "rooms.find": room_requests.find,
    "rooms.send": room_requests.send,
    "rooms.kick": room_requests.kick,
    "rooms.invite": room_requests.invite,
    "rooms.answer": room_requests.answer,
}
"""Each asks the engine, or raises what refuses it. Arguments: the connection, and the id and params of the request."""
JOINS = frozenset({"session.open", "session.resume"})
"""Those that bring a session to a connection."""
