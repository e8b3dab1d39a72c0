"""Greenroom: the open, self-hosted session service for real-time communications apps. Here: the Python SDK.

::

    sdk = Greenroom("https://sessions.example.com")
    sdk.initialize_token(token, refresh)
    async with sdk.session.open(ParticipantInfo(name="Ada")) as participant:
        ...

For programs without an event loop there is `greenroom.blocking`. Names are resolved at first use (PEP 562), so that
``import greenroom`` costs next to nothing and the service, which needs none of the SDK, loads none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom import blocking
    from greenroom.core.states import SessionState
    from greenroom.errors import (
        ExternalIdMismatchError,
        GreenroomError,
        IllegalArgumentError,
        InvitationAnsweredError,
        KeptOutError,
        NotAMemberError,
        NotFoundError,
        NotInitializedError,
        OpenCancelledError,
        OpenTimeoutError,
        ParticipantBlockedError,
        ParticipantError,
        ProtocolError,
        RateLimitedError,
        RevisionConflictError,
        RoomEndingError,
        RoomError,
        RoomFullError,
        RoomLimitError,
        RoomPermissionError,
        RoomsUnavailableError,
        ScopeMissingError,
        ServiceError,
        ServiceUnavailableError,
        SessionAlreadyOpenError,
        SessionEndedError,
        SessionError,
        SessionNotOpenError,
        TokenError,
        TokenExpiredError,
        TokenInvalidError,
        TokenRefreshError,
        TooManySessionsError,
    )
    from greenroom.messages import Device
    from greenroom.model import (
        Invitation,
        InvitationAnswer,
        Member,
        Participant,
        ParticipantInfo,
        ParticipantStatus,
        ParticipantType,
        Presence,
    )
    from greenroom.sdk.client import Greenroom
    from greenroom.sdk.delegate import SessionDelegate
    from greenroom.sdk.participants import ParticipantsService
    from greenroom.sdk.room import MemberLeft, Room, RoomChange, RoomChanges
    from greenroom.sdk.rooms import RoomsService
    from greenroom.sdk.service import SessionBoundService
    from greenroom.sdk.session import SessionService
    from greenroom.sdk.watch import Watch

_HOME = {
    "core.states": ("SessionState",),
    "errors": (
        "ExternalIdMismatchError",
        "GreenroomError",
        "IllegalArgumentError",
        "InvitationAnsweredError",
        "KeptOutError",
        "NotAMemberError",
        "NotFoundError",
        "NotInitializedError",
        "OpenCancelledError",
        "OpenTimeoutError",
        "ParticipantBlockedError",
        "ParticipantError",
        "ProtocolError",
        "RateLimitedError",
        "RevisionConflictError",
        "RoomEndingError",
        "RoomError",
        "RoomFullError",
        "RoomLimitError",
        "RoomPermissionError",
        "RoomsUnavailableError",
        "ScopeMissingError",
        "ServiceError",
        "ServiceUnavailableError",
        "SessionAlreadyOpenError",
        "SessionEndedError",
        "SessionError",
        "SessionNotOpenError",
        "TokenError",
        "TokenExpiredError",
        "TokenInvalidError",
        "TokenRefreshError",
        "TooManySessionsError",
    ),
    "messages": ("Device",),
    "model": (
        "Invitation",
        "InvitationAnswer",
        "Member",
        "Participant",
        "ParticipantInfo",
        "ParticipantStatus",
        "ParticipantType",
        "Presence",
    ),
    "sdk.client": ("Greenroom",),
    "sdk.delegate": ("SessionDelegate",),
    "sdk.participants": ("ParticipantsService",),
    "sdk.room": ("MemberLeft", "Room", "RoomChange", "RoomChanges"),
    "sdk.rooms": ("RoomsService",),
    "sdk.service": ("SessionBoundService",),
    "sdk.session": ("SessionService",),
    "sdk.watch": ("Watch",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Device",
    "ExternalIdMismatchError",
    "Greenroom",
    "GreenroomError",
    "IllegalArgumentError",
    "Invitation",
    "InvitationAnswer",
    "InvitationAnsweredError",
    "KeptOutError",
    "Member",
    "MemberLeft",
    "NotAMemberError",
    "NotFoundError",
    "NotInitializedError",
    "OpenCancelledError",
    "OpenTimeoutError",
    "Participant",
    "ParticipantBlockedError",
    "ParticipantError",
    "ParticipantInfo",
    "ParticipantStatus",
    "ParticipantType",
    "ParticipantsService",
    "Presence",
    "ProtocolError",
    "RateLimitedError",
    "RevisionConflictError",
    "Room",
    "RoomChange",
    "RoomChanges",
    "RoomEndingError",
    "RoomError",
    "RoomFullError",
    "RoomLimitError",
    "RoomPermissionError",
    "RoomsService",
    "RoomsUnavailableError",
    "ScopeMissingError",
    "ServiceError",
    "ServiceUnavailableError",
    "SessionAlreadyOpenError",
    "SessionBoundService",
    "SessionDelegate",
    "SessionEndedError",
    "SessionError",
    "SessionNotOpenError",
    "SessionService",
    "SessionState",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenRefreshError",
    "TooManySessionsError",
    "Watch",
    "blocking",
]


def __getattr__(name: str) -> Any:
    if name == "blocking":
        return import_module("greenroom.blocking")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
