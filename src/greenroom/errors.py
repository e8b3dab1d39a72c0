"""The one error tree of SDK and service.

::

    GreenroomError
      NotInitializedError            IllegalArgumentError
      SessionError
        SessionNotOpenError          SessionAlreadyOpenError     OpenCancelledError
        OpenTimeoutError             SessionEndedError(reason)
      TokenError
        TokenInvalidError            TokenExpiredError           TokenRefreshError
        ScopeMissingError(scope)
      ParticipantError
        ExternalIdMismatchError      TooManySessionsError        ParticipantBlockedError(until)
        RevisionConflictError(participant)
      RoomError
        RoomPermissionError(permission)                          KeptOutError(until)
        RoomFullError                NotAMemberError             RoomLimitError
        InvitationAnsweredError(accepted)
      ServiceError
        ServiceUnavailableError(retry_after)                     RateLimitedError(retry_after)
        RoomsUnavailableError        RoomEndingError
        ProtocolError                NotFoundError               ConflictError

Each has ``code`` (a number of `greenroom.codes`), ``reason``, ``retryable``, ``http_status``, ``hint`` and a text
that says what is wrong and what to change. A class that stands for several codes takes ``code=``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from greenroom.codes import ERRORS, ErrorCode, is_retryable_error


class GreenroomError(Exception):
    """Root of all errors. Texts are made for people and never hold a token, a secret or anything internal.

    message: what is wrong, in one sentence; None takes the code's own.
    hint: what to change; None takes the code's own.
    code: which of the class's codes; None takes the class's first.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR

    def __init__(self, message: str | None = None, *, hint: str | None = None, code: ErrorCode | None = None) -> None:
        self.code: ErrorCode = self.default_code if code is None else code
        row = ERRORS[self.code]
        self.message = row.meaning if message is None else message
        self.hint = row.what_to_do if hint is None else hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))

    @property
    def reason(self) -> str:
        """The stable word for the error on the wire, e.g. ``Invalid_token``."""
        return ERRORS[self.code].reason

    @property
    def http_status(self) -> int:
        """The HTTP status that the service answers with."""
        return ERRORS[self.code].http_status

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without anything being changed."""
        return is_retryable_error(self.code)

    def details(self) -> dict[str, Any]:
        """The members of the error's data on the wire beyond reason, retryable and hint."""
        return {}

    @classmethod
    def restore(cls, code: ErrorCode, message: str, hint: str | None, details: Mapping[str, Any]) -> GreenroomError:
        """The error as it came over the wire: the inverse of `details`."""
        return cls(message, hint=hint, code=code, **cls._arguments(details))

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        """What the class's own arguments were, where they came over the wire."""
        return {}


def _rebuild(cls: type[GreenroomError], state: dict[str, Any], args: tuple[Any, ...]) -> GreenroomError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _UntilError(GreenroomError):
    def __init__(
        self,
        message: str | None = None,
        *,
        until: int | None = None,
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.until = until
        super().__init__(message, hint=hint, code=code)

    def details(self) -> dict[str, Any]:
        return {"until": self.until}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        until = details.get("until")
        return {"until": until if isinstance(until, int) else None}


class NotInitializedError(GreenroomError):
    """A call was made before `initialize_token` or `initialize`. Nothing was sent."""

    default_code = ErrorCode.NOT_INITIALIZED


class IllegalArgumentError(GreenroomError, ValueError):
    """An argument is missing, mistyped or out of range (platform: ``Illegal_argument``, 90)."""

    default_code = ErrorCode.ILLEGAL_ARGUMENT


class SessionError(GreenroomError):
    """Something about the session itself."""

    default_code = ErrorCode.SESSION_NOT_OPEN


class SessionNotOpenError(SessionError):
    """The call needs an open session and there is none. Nothing was sent."""

    default_code = ErrorCode.SESSION_NOT_OPEN


class SessionAlreadyOpenError(SessionError):
    """`open` with other info while a session is open or being opened. The session is untouched."""

    default_code = ErrorCode.SESSION_ALREADY_OPEN


class OpenCancelledError(SessionError):
    """`close` was called while the session was being opened."""

    default_code = ErrorCode.OPEN_CANCELLED


class OpenTimeoutError(SessionError, TimeoutError):
    """`open` did not succeed in its time; no attempt to connect continues."""

    default_code = ErrorCode.OPEN_TIMEOUT


class SessionEndedError(SessionError):
    """The session has ended, or cannot be resumed.

    ``end_reason`` is one of the reasons of an end (``kicked``, ``replaced``, …), or None where there is none.
    ``reason`` is the same, and the code's own word where there is none.
    """

    default_code = ErrorCode.SESSION_ENDED

    def __init__(
        self,
        message: str | None = None,
        *,
        end_reason: str | None = None,
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.end_reason = end_reason
        if message is None and end_reason is not None:
            message = f"The session has ended: {end_reason}."
        super().__init__(message, hint=hint, code=code)

    @property
    def reason(self) -> str:
        """Why the session ended, where that is known; else the code's own word."""
        return super().reason if self.end_reason is None else self.end_reason

    def details(self) -> dict[str, Any]:
        return {} if self.end_reason is None else {"endReason": self.end_reason}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        end_reason = details.get("endReason")
        return {"end_reason": end_reason if isinstance(end_reason, str) else None}


class TokenError(GreenroomError):
    """Something about a token. The text names the claim, never the token."""

    default_code = ErrorCode.TOKEN_INVALID


class TokenInvalidError(TokenError):
    """The token is malformed, not signed by this service, for something else, or revoked. Terminal: get another."""

    default_code = ErrorCode.TOKEN_INVALID


class TokenExpiredError(TokenError):
    """The token's life is over. Refreshable."""

    default_code = ErrorCode.TOKEN_EXPIRED


class TokenRefreshError(TokenError):
    """The app's refresh callback raised, took over 10 s, or returned something that is not a token."""

    default_code = ErrorCode.TOKEN_REFRESH_FAILED


class ScopeMissingError(TokenError):
    """The token lacks ``scope``."""

    default_code = ErrorCode.SCOPE_MISSING

    def __init__(
        self, message: str | None = None, *, scope: str = "", hint: str | None = None, code: ErrorCode | None = None
    ) -> None:
        self.scope = scope
        if message is None and scope:
            message = f"The token lacks the scope {scope}."
        super().__init__(message, hint=hint, code=code)

    def details(self) -> dict[str, Any]:
        return {"scope": self.scope} if self.scope else {}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        return {"scope": str(details.get("scope", ""))}


class ParticipantError(GreenroomError):
    """Something about the participant."""

    default_code = ErrorCode.PARTICIPANT_BLOCKED


class ExternalIdMismatchError(ParticipantError):
    """`open` named another external id than the token's (platform: ``External_id_mismatch``)."""

    default_code = ErrorCode.EXTERNAL_ID_MISMATCH


class TooManySessionsError(ParticipantError):
    """The participant's (or the application's) sessions are full and the policy is ``reject``."""

    default_code = ErrorCode.TOO_MANY_SESSIONS


class ParticipantBlockedError(ParticipantError, _UntilError):
    """The participant is blocked until ``until`` (Unix milliseconds), or for good where it is None."""

    default_code = ErrorCode.PARTICIPANT_BLOCKED


class RevisionConflictError(ParticipantError):
    """``if_revision`` was not the present revision; ``participant`` is the present record (as on the wire)."""

    default_code = ErrorCode.REVISION_CONFLICT

    def __init__(
        self,
        message: str | None = None,
        *,
        participant: Any = None,
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.participant = participant
        super().__init__(message, hint=hint, code=code)

    def details(self) -> dict[str, Any]:
        return {} if self.participant is None else {"participant": self.participant}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        return {"participant": details.get("participant")}


class RoomError(GreenroomError):
    """Something about a room."""

    default_code = ErrorCode.NOT_A_MEMBER


class RoomPermissionError(RoomError):
    """The token does not grant ``permission`` (``join``, ``watch``, ``send``, ``invite``, ``kick``) in the room (R7).
    Whether the room exists plays no part."""

    default_code = ErrorCode.ROOM_PERMISSION_MISSING

    def __init__(
        self,
        message: str | None = None,
        *,
        permission: str = "",
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.permission = permission
        if message is None and permission:
            message = f"The token does not grant {permission} in the room."
        super().__init__(message, hint=hint, code=code)

    def details(self) -> dict[str, Any]:
        return {"permission": self.permission} if self.permission else {}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        return {"permission": str(details.get("permission", ""))}


class RoomFullError(RoomError):
    """The room is full."""

    default_code = ErrorCode.ROOM_FULL


class KeptOutError(RoomError, _UntilError):
    """The participant was kicked out of the room, and stays out until ``until`` (Unix milliseconds)."""

    default_code = ErrorCode.KEPT_OUT


class NotAMemberError(RoomError):
    """The session is not in the room."""

    default_code = ErrorCode.NOT_A_MEMBER


class RoomLimitError(RoomError):
    """The session is in as many rooms, watches as many, or the application has as many, as it may."""

    default_code = ErrorCode.ROOM_LIMIT_REACHED


class InvitationAnsweredError(RoomError):
    """The invitation was answered before, and the other way (R9). ``accepted``: what the answer was."""

    default_code = ErrorCode.INVITATION_ANSWERED

    def __init__(
        self,
        message: str | None = None,
        *,
        accepted: bool = False,
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.accepted = accepted
        answer = "accepted" if accepted else "declined"
        super().__init__(
            message or f"The invitation already has the opposite answer. It was {answer}.", hint=hint, code=code
        )

    def details(self) -> dict[str, Any]:
        return {"accepted": self.accepted}

    @classmethod
    def restore(cls, code: ErrorCode, message: str, hint: str | None, details: Mapping[str, Any]) -> GreenroomError:
        return cls(message, accepted=details.get("accepted") is True, hint=hint, code=code)


class ServiceError(GreenroomError):
    """Something about the service, or the way to it."""

    default_code = ErrorCode.SERVICE_UNAVAILABLE


_LONGEST = 1e9
"""Seconds."""
_LONGEST_DELAY = 3600.0
"""Seconds after which a peer is asked to come back, at most."""


class _RetryAfterError(ServiceError):
    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        hint: str | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=hint, code=code)

    def details(self) -> dict[str, Any]:
        after = self.retry_after
        # Not a number, or below 0: there is nothing to say.
        return {"retryAfter": min(after, _LONGEST_DELAY)} if after is not None and after >= 0 else {}

    @classmethod
    def _arguments(cls, details: Mapping[str, Any]) -> dict[str, Any]:
        after = details.get("retryAfter")
        # A peer may send anything: 1e999 is infinite, and a whole number may be too large for a float.
        number = isinstance(after, int | float) and not isinstance(after, bool) and after >= 0
        return {"retry_after": float(min(after, _LONGEST)) if number else None}  # type: ignore[arg-type, type-var]


class ServiceUnavailableError(_RetryAfterError):
    """The service cannot be reached or cannot do this now. ``retry_after``: seconds, None where not known."""

    default_code = ErrorCode.SERVICE_UNAVAILABLE


class RateLimitedError(_RetryAfterError):
    """Too much in too short a time. ``retry_after``: seconds, None where not known."""

    default_code = ErrorCode.RATE_LIMITED


class RoomsUnavailableError(ServiceUnavailableError):
    """A live node is of a version that has no rooms: a rolling upgrade is under way (R1)."""

    default_code = ErrorCode.ROOMS_UNAVAILABLE


class RoomEndingError(ServiceUnavailableError):
    """The room is being ended and takes nobody (R11)."""

    default_code = ErrorCode.ROOM_ENDING


class ProtocolError(ServiceError):
    """One side broke the protocol: wrong URL, a proxy in between, or versions that do not fit."""

    default_code = ErrorCode.PROTOCOL_ERROR


class NotFoundError(ServiceError):
    """There is no such session, participant, block or application."""

    default_code = ErrorCode.NOT_FOUND


class ConflictError(ServiceError):
    """The change conflicts with what is stored."""

    default_code = ErrorCode.CONFLICT


# Which class stands for which code; what is not listed is judged by its band in `from_wire`.
CLASS_OF_CODE: dict[ErrorCode, type[GreenroomError]] = {
    ErrorCode.PARSE_ERROR: ProtocolError,
    ErrorCode.INVALID_REQUEST: ProtocolError,
    ErrorCode.METHOD_NOT_FOUND: ProtocolError,
    ErrorCode.ILLEGAL_ARGUMENT: IllegalArgumentError,
    ErrorCode.INTERNAL_ERROR: ServiceUnavailableError,
    ErrorCode.SERVICE_UNAVAILABLE: ServiceUnavailableError,
    ErrorCode.RATE_LIMITED: RateLimitedError,
    ErrorCode.OVER_CAPACITY: ServiceUnavailableError,
    ErrorCode.DRAINING: ServiceUnavailableError,
    ErrorCode.FENCED: ServiceUnavailableError,
    ErrorCode.ENGINE_RECOVERING: ServiceUnavailableError,
    ErrorCode.STATE_LOST: SessionEndedError,
    ErrorCode.TOKEN_EXPIRED: TokenExpiredError,
    ErrorCode.OUTCOME_UNKNOWN: ServiceUnavailableError,
    ErrorCode.STORAGE_FULL: ServiceUnavailableError,
    ErrorCode.ROOMS_UNAVAILABLE: RoomsUnavailableError,
    ErrorCode.ROOM_ENDING: RoomEndingError,
    ErrorCode.OPEN_TIMEOUT: OpenTimeoutError,
    ErrorCode.TOKEN_REFRESH_FAILED: TokenRefreshError,
    ErrorCode.TOKEN_INVALID: TokenInvalidError,
    ErrorCode.TOKEN_REVOKED: TokenInvalidError,
    ErrorCode.SCOPE_MISSING: ScopeMissingError,
    ErrorCode.EXTERNAL_ID_MISMATCH: ExternalIdMismatchError,
    ErrorCode.TOO_MANY_SESSIONS: TooManySessionsError,
    ErrorCode.PARTICIPANT_BLOCKED: ParticipantBlockedError,
    ErrorCode.REVISION_CONFLICT: RevisionConflictError,
    ErrorCode.SESSION_ENDED: SessionEndedError,
    ErrorCode.RESUME_REFUSED: SessionEndedError,
    ErrorCode.OPEN_ID_CONFLICT: SessionEndedError,
    ErrorCode.APPLICATION_DISABLED: TokenInvalidError,
    ErrorCode.SESSION_NOT_OPEN: SessionNotOpenError,
    ErrorCode.ORIGIN_NOT_ALLOWED: TokenInvalidError,
    ErrorCode.WATCH_LIMIT_REACHED: IllegalArgumentError,
    ErrorCode.TOKEN_MISMATCH: TokenInvalidError,
    ErrorCode.ATTEMPT_SUPERSEDED: SessionEndedError,
    ErrorCode.APPLICATION_LIMIT_REACHED: TooManySessionsError,
    ErrorCode.NOT_FOUND: NotFoundError,
    ErrorCode.CONFLICT: ConflictError,
    ErrorCode.INVALID_CLIENT: TokenInvalidError,
    ErrorCode.ROOM_PERMISSION_MISSING: RoomPermissionError,
    ErrorCode.ROOM_FULL: RoomFullError,
    ErrorCode.KEPT_OUT: KeptOutError,
    ErrorCode.NOT_A_MEMBER: NotAMemberError,
    ErrorCode.ROOM_LIMIT_REACHED: RoomLimitError,
    ErrorCode.INVITATION_ANSWERED: InvitationAnsweredError,
    ErrorCode.NOT_INITIALIZED: NotInitializedError,
    ErrorCode.SESSION_ALREADY_OPEN: SessionAlreadyOpenError,
    ErrorCode.OPEN_CANCELLED: OpenCancelledError,
    ErrorCode.PROTOCOL_ERROR: ProtocolError,
}


def from_wire(code: int, message: str, data: Mapping[str, Any] | None = None) -> GreenroomError:
    """The error that a peer sent. A code of a newer service is judged by its band, never refused."""
    details = {} if data is None else data
    hint = details.get("hint")
    text_hint = hint if isinstance(hint, str) else None
    try:
        known = ErrorCode(code)
    except ValueError:
        known = ErrorCode.SERVICE_UNAVAILABLE if is_retryable_error(code) else ErrorCode.PROTOCOL_ERROR
    return CLASS_OF_CODE[known].restore(known, message, text_hint, details)


def to_wire_data(error: GreenroomError) -> dict[str, Any]:
    """The ``data`` member of the JSON-RPC error for this error."""
    # On the wire the word is the code's, whatever the session ended of.
    data: dict[str, Any] = {"reason": ERRORS[error.code].reason, "retryable": error.retryable, **error.details()}
    if error.hint:
        data["hint"] = error.hint
    return data
