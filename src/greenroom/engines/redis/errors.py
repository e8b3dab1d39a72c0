"""What Redis says when it refuses, as errors of ours: all retryable.

Texts go to clients, so they hold nothing internal; what Redis or the network said is in ``detail``, for logs.
"""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.errors import ServiceUnavailableError

FULL = ("OOM", "MISCONF")
"""Nothing can be written: memory or disk."""
NOT_HERE = ("READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED")
"""This server is no master (any more, or yet): connect anew."""


class NotSentError(ServiceUnavailableError):
    """The call has not reached Redis: nothing was changed."""

    detail = ""


class RefusedError(ServiceUnavailableError):
    """Redis answered with an error: nothing was changed."""

    detail = ""


class OutcomeOpenError(ServiceUnavailableError):
    """Sent, and not answered, or not by enough replicas."""

    detail = ""


def unreachable(detail: str, cause: BaseException | None = None) -> NotSentError:
    """Nothing was sent."""
    error = NotSentError("The engine cannot be reached.", retry_after=1.0)
    error.detail = detail
    error.__cause__ = cause
    return error


def outcome_open(detail: str, cause: BaseException | None = None) -> OutcomeOpenError:
    """Sent, and not answered, or not by enough replicas."""
    error = OutcomeOpenError("The engine did not confirm.", retry_after=1.0, code=ErrorCode.OUTCOME_UNKNOWN)
    error.detail = detail
    error.__cause__ = cause
    return error


def from_reply(text: str, *, full: bool = False) -> RefusedError:
    """An error reply: the call was not carried out. full: redis-py says that it was for want of memory."""
    full = full or text.startswith(FULL)
    code = ErrorCode.STORAGE_FULL if full else ErrorCode.SERVICE_UNAVAILABLE
    error = RefusedError(None if full else "The engine refused.", retry_after=1.0, code=code)
    error.detail = text
    return error
