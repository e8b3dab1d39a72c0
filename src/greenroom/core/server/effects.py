"""What the shell of `ServerSession` must do, in order."""

from __future__ import annotations

import msgspec

from greenroom.core.requests import SessionRequest
from greenroom.core.rooms.requests import RoomRequest


class Send(msgspec.Struct, frozen=True, gc=False):
    """One text message."""

    data: bytes


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A ping frame."""


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the connection with this code and reason. No later input changes anything."""

    code: int
    reason: str


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Drop the connection without a close frame. silence: seconds since the client last answered a ping."""

    silence: float


class EngineCall(msgspec.Struct, frozen=True):
    """Ask the engine; the answer comes back under this number, or, where it is 0, is waited for by nobody."""

    number: int
    request: SessionRequest | RoomRequest


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An open, or (resuming) a resume was refused: to be counted. reason: the error's."""

    reason: str
    resuming: bool


Effect = Send | Ping | Close | Abort | EngineCall | Refused
