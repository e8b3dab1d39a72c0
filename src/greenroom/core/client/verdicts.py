"""What a refusal or a close code means for a session: tables, so that both SDKs decide alike."""

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


class Verdict(StrEnum):
    """What to do next."""

    RETRY = "retry"
    """It may go away by itself: the same again, later."""
    REFRESH = "refresh"
    """The same again with another token."""
    RENEW = "renew"
    """The session is gone, but the participant is welcome: open a new one, once."""
    SUPERSEDED = "superseded"
    """A newer connection has the session."""
    FINAL = "final"
    """Stop."""


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
"""Ends after which an SDK does not come back. All others (timeout, token_expired, those of a newer service) it may."""

_CODES: dict[ErrorCode, Verdict] = {
    ErrorCode.TOKEN_EXPIRED: Verdict.REFRESH,
    ErrorCode.STATE_LOST: Verdict.RENEW,
    ErrorCode.RESUME_REFUSED: Verdict.RENEW,
    ErrorCode.OPEN_ID_CONFLICT: Verdict.FINAL,
    ErrorCode.ATTEMPT_SUPERSEDED: Verdict.SUPERSEDED,
}

_REASON_OF_CODE: dict[ErrorCode, str] = {
    ErrorCode.PARTICIPANT_BLOCKED: EndReason.BLOCKED,
    ErrorCode.TOKEN_REVOKED: EndReason.TOKEN_REVOKED,
    ErrorCode.TOKEN_EXPIRED: EndReason.TOKEN_EXPIRED,
    ErrorCode.TOKEN_REFRESH_FAILED: EndReason.TOKEN_EXPIRED,
    ErrorCode.APPLICATION_DISABLED: EndReason.APPLICATION_DISABLED,
    ErrorCode.STATE_LOST: "state_lost",
    ErrorCode.RESUME_REFUSED: "resume_refused",
    ErrorCode.ATTEMPT_SUPERSEDED: "superseded",
}


def verdict_of_error(error: GreenroomError) -> Verdict:
    """Of an answer to open or resume."""
    known = _CODES.get(error.code)
    if known is not None:
        return known
    if isinstance(error, SessionEndedError):
        return verdict_of_end(error.end_reason)
    return Verdict.RETRY if error.retryable else Verdict.FINAL


def verdict_of_end(reason: str | None) -> Verdict:
    """Of `session.ended` without a retry, or of a resume that names the end."""
    return Verdict.FINAL if reason in FINAL_REASONS else Verdict.RENEW


def verdict_of_close(code: int) -> Verdict:
    """Of a close code."""
    if code == CloseCode.STATE_LOST:
        return Verdict.RENEW
    if code == CloseCode.TOKEN_EXPIRED:
        return Verdict.REFRESH
    if code == CloseCode.SUPERSEDED:
        return Verdict.SUPERSEDED
    return Verdict.RETRY if is_retryable_close(code) else Verdict.FINAL


def retry_of_close(text: str) -> Retry | None:
    """When to come back, where the service wrote it into the Close frame (S10): ``{"after": 2, "jitter": 5}``."""
    if not text.startswith("{"):
        return None
    try:
        return msgspec.json.decode(text, type=Retry)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def end_reason_of(error: GreenroomError) -> str:
    """The word that the delegate hears."""
    if isinstance(error, SessionEndedError) and error.end_reason is not None:
        return error.end_reason
    return _REASON_OF_CODE.get(error.code, error.reason)


def error_of_close(code: int, text: str) -> GreenroomError:
    """The error of a final close code; text: what the service wrote into the Close frame."""
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
