"""Close codes and texts: of the reasons of an end, and of refusals of `open` and `resume`."""

from __future__ import annotations

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.watching import to_wire
from greenroom.errors import GreenroomError, RevisionConflictError, ServiceUnavailableError, SessionEndedError
from greenroom.model import EndReason, ParticipantRecord

CLOSE_OF_REASON: dict[EndReason, CloseCode] = {
    EndReason.CLOSED: CloseCode.NORMAL,
    EndReason.TIMEOUT: CloseCode.STATE_LOST,
    EndReason.REPLACED: CloseCode.REPLACED,
    EndReason.KICKED: CloseCode.KICKED,
    EndReason.BLOCKED: CloseCode.KICKED,
    EndReason.TOKEN_EXPIRED: CloseCode.TOKEN_EXPIRED,
    EndReason.TOKEN_REVOKED: CloseCode.KICKED,
    EndReason.APPLICATION_DISABLED: CloseCode.APPLICATION_DISABLED,
    EndReason.PROTOCOL_ERROR: CloseCode.PROTOCOL_ERROR,
}
"""After `session.ended`."""

TEXT_OF_REASON: dict[EndReason, str] = {
    EndReason.CLOSED: "The session was closed.",
    EndReason.TIMEOUT: "The session was disconnected for longer than its grace.",
    EndReason.REPLACED: "Another device of the participant took the session's place.",
    EndReason.KICKED: "The participant was removed by the app or an operator.",
    EndReason.BLOCKED: "The participant is blocked.",
    EndReason.TOKEN_EXPIRED: "The token expired and was not refreshed. Refresh it before it expires.",
    EndReason.TOKEN_REVOKED: "The session's token was revoked.",
    EndReason.APPLICATION_DISABLED: "The application was disabled.",
    EndReason.PROTOCOL_ERROR: "The client violated the session protocol.",
}

_E, _C = ErrorCode, CloseCode
_CLOSE_OF_ERROR: dict[ErrorCode, CloseCode] = {
    _E.TOKEN_INVALID: _C.UNAUTHENTICATED,
    _E.ORIGIN_NOT_ALLOWED: _C.UNAUTHENTICATED,
    _E.SCOPE_MISSING: _C.UNAUTHENTICATED,
    _E.TOKEN_REVOKED: _C.KICKED,
    _E.PARTICIPANT_BLOCKED: _C.KICKED,
    _E.TOKEN_MISMATCH: _C.IDENTITY_MISMATCH,
    _E.EXTERNAL_ID_MISMATCH: _C.IDENTITY_MISMATCH,
    _E.TOO_MANY_SESSIONS: _C.LIMIT_REACHED,
    _E.APPLICATION_LIMIT_REACHED: _C.LIMIT_REACHED,
    _E.APPLICATION_DISABLED: _C.APPLICATION_DISABLED,
    _E.TOKEN_EXPIRED: _C.TOKEN_EXPIRED,
    _E.RATE_LIMITED: _C.RATE_LIMITED,
    _E.DRAINING: _C.DRAINING,
    _E.FENCED: _C.FENCED,
}
_MAY_OPEN_AGAIN = frozenset(
    {_E.SESSION_ENDED, _E.STATE_LOST, _E.OPEN_ID_CONFLICT, _E.RESUME_REFUSED, _E.ATTEMPT_SUPERSEDED}
)


VIOLATIONS = frozenset(
    {
        CloseCode.POLICY_VIOLATION,
        CloseCode.MESSAGE_TOO_BIG,
        CloseCode.WS_PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_UTF8,
        CloseCode.RATE_LIMITED,
    }
)
"""Close codes of connections whose client broke the protocol."""
_NOT_AN_END = frozenset({_E.ATTEMPT_SUPERSEDED, _E.STATE_LOST})
"""What the engine says to a right that is no longer the session's, and of a session that it does not know."""


def for_client(error: GreenroomError, *, moved: bool) -> GreenroomError:
    """The engine's refusal as the client may see it: only an end that the engine stored is an end (S7).

    moved: while the call was under way the node acquired its session again, or the client moved to another connection.
    As with an engine that lost its state and is written back to (S15), the session lives: the call may be repeated.
    """
    if isinstance(error, RevisionConflictError) and isinstance(error.participant, ParticipantRecord):
        error.participant = to_wire(error.participant)
    if isinstance(error, SessionEndedError) and (moved or error.code in _NOT_AN_END):
        return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=0.5)
    return error


def stays_open(error: GreenroomError, *, resuming: bool) -> bool:
    """Whether the connection stays, for another `open`, after this refusal.

    After a failed resume it does, unless the node cannot serve anybody now; after a failed open only where it is the
    session that is gone, and another openId will do.
    """
    if error.code in _MAY_OPEN_AGAIN:
        return True
    return resuming and (error.code is _E.TOKEN_EXPIRED or not error.retryable)


def close_of_refusal(error: GreenroomError) -> CloseCode:
    """The close code after a refused open or resume. What is not listed is judged by its band."""
    code = _CLOSE_OF_ERROR.get(error.code)
    if code is not None:
        return code
    return CloseCode.OVER_CAPACITY if error.retryable else CloseCode.PROTOCOL_ERROR


def close_reason(error: GreenroomError) -> str:
    """The reason in a Close after a refusal, in at most 123 bytes."""
    return error.message.encode()[:120].decode("utf-8", "ignore")
