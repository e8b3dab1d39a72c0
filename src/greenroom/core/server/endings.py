"""Close codes and texts: of the reasons of an end, and of refusals of `open` and `resume`."""

from __future__ import annotations

from greenroom.codes import CloseCode, ErrorCode
from greenroom.errors import GreenroomError
from greenroom.model import EndReason

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
    EndReason.PROTOCOL_ERROR: "The client broke the session protocol.",
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
