"""What an SDK does after an error, an end or a close code. Tables, so that both SDKs decide alike."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from greenroom.codes import CLOSES, CloseCode, ErrorCode, is_retryable_close
from greenroom.errors import (
    ExternalIdMismatchError,
    GreenroomError,
    ProtocolError,
    SessionEndedError,
    TokenExpiredError,
    TokenInvalidError,
    TooManySessionsError,
)
from greenroom.messages import Retry
from greenroom.model import EndReason


class RetryAction(StrEnum):
    """What to do next."""

    RETRY = "retry"
    """The cause may go away by itself: try the same again later."""
    REFRESH = "refresh"
    """Try again with a new token."""
    REOPEN = "reopen"
    """The session is gone, but the participant may come back: open a new session, once."""
    SUPERSEDED = "superseded"
    """A newer connection carries the session."""
    FINAL = "final"
    """The session has ended, or the open has failed, for good."""


FINAL_REASONS = frozenset(
    {
        EndReason.CLOSED,
        EndReason.REPLACED,
        EndReason.KICKED,
        EndReason.BLOCKED,
        EndReason.TOKEN_REVOKED,
        EndReason.APPLICATION_DISABLED,
        EndReason.PROTOCOL_ERROR,
    }
)
"""Ends after which an SDK does not open a new session. After all others (timeout, token_expired, and those that only
a newer service knows) it may."""

_CODES: dict[ErrorCode, RetryAction] = {
    ErrorCode.TOKEN_EXPIRED: RetryAction.REFRESH,
    ErrorCode.STATE_LOST: RetryAction.REOPEN,
    ErrorCode.RESUME_REFUSED: RetryAction.REOPEN,
    ErrorCode.OPEN_ID_CONFLICT: RetryAction.FINAL,
    ErrorCode.ATTEMPT_SUPERSEDED: RetryAction.SUPERSEDED,
}

LOOP_ENDED = "loop_ended"
"""Why a session ended whose event loop is gone."""

REASON_OF_CODE: dict[ErrorCode, str] = {
    ErrorCode.PARTICIPANT_BLOCKED: EndReason.BLOCKED,
    ErrorCode.TOKEN_REVOKED: EndReason.TOKEN_REVOKED,
    ErrorCode.TOKEN_EXPIRED: EndReason.TOKEN_EXPIRED,
    ErrorCode.TOKEN_REFRESH_FAILED: EndReason.TOKEN_EXPIRED,
    ErrorCode.APPLICATION_DISABLED: EndReason.APPLICATION_DISABLED,
    ErrorCode.STATE_LOST: "state_lost",
    ErrorCode.RESUME_REFUSED: "resume_refused",
    ErrorCode.ATTEMPT_SUPERSEDED: "superseded",
}


def action_of_error(error: GreenroomError) -> RetryAction:
    """After an error reply to `open` or `resume`."""
    known = _CODES.get(error.code)
    if known is not None:
        return known
    if isinstance(error, SessionEndedError):
        return action_of_end(error.end_reason)
    return RetryAction.RETRY if error.retryable else RetryAction.FINAL


def action_of_end(reason: str | None) -> RetryAction:
    """After `session.ended` without a retry, or a resume that says how the session ended."""
    return RetryAction.FINAL if reason in FINAL_REASONS else RetryAction.REOPEN


def action_of_close(code: int) -> RetryAction:
    """After a close code."""
    if code == CloseCode.STATE_LOST:
        return RetryAction.REOPEN
    if code == CloseCode.TOKEN_EXPIRED:
        return RetryAction.REFRESH
    if code == CloseCode.SUPERSEDED:
        return RetryAction.SUPERSEDED
    return RetryAction.RETRY if is_retryable_close(code) else RetryAction.FINAL


def retry_of_close(text: str) -> Retry | None:
    """When to come back, where the Close frame says so (S10): ``{"after": 2, "jitter": 5}``."""
    if not text.startswith("{"):
        return None
    try:
        return msgspec.json.decode(text, type=Retry)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def end_reason_of(error: GreenroomError) -> str:
    """The reason that the delegate gets."""
    if isinstance(error, SessionEndedError) and error.end_reason is not None:
        return error.end_reason
    return REASON_OF_CODE.get(error.code, error.reason)


def error_of_close(code: int, text: str) -> GreenroomError:
    """The error that a final close code stands for. text: the reason in the Close frame."""
    message = None if not text or text.startswith("{") else text
    if code == CloseCode.UNAUTHENTICATED:
        return TokenInvalidError(message)
    if code == CloseCode.IDENTITY_MISMATCH:
        return ExternalIdMismatchError(message)
    if code == CloseCode.LIMIT_REACHED:
        return TooManySessionsError(message, code=ErrorCode.APPLICATION_LIMIT_REACHED)
    if code == CloseCode.APPLICATION_DISABLED:
        return TokenInvalidError(message, code=ErrorCode.APPLICATION_DISABLED)
    if code == CloseCode.PROTOCOL_ERROR:
        return ProtocolError(message)
    if code == CloseCode.TOKEN_EXPIRED:
        return TokenExpiredError(message)
    try:
        reason = CLOSES[CloseCode(code)].reason
    except ValueError:
        reason = f"close code {code}"
    return SessionEndedError(message, end_reason=reason)


def older_service_error(capability: str) -> ProtocolError:
    """The service does not have it, and would ignore what it does not know."""
    return ProtocolError(f"The service is older than this SDK: it has no {capability}.", hint="Upgrade the service.")
