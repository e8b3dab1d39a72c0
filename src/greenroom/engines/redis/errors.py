"""What Redis says when it refuses, as errors of ours: all retryable, none tells a client anything internal."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.errors import ServiceUnavailableError

FULL = ("OOM", "MISCONF")
"""Nothing can be written: memory or disk."""
NOT_HERE = ("READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED")
"""This server is no master (any more, or yet): connect anew."""


class NotSentError(ServiceUnavailableError):
    """The call has not reached Redis: nothing was changed."""


def unreachable(why: str, cause: BaseException | None = None) -> ServiceUnavailableError:
    """Nothing was sent."""
    error = NotSentError(f"Redis cannot be reached: {why}.", retry_after=1.0)
    error.__cause__ = cause
    return error


def outcome_open(why: str, cause: BaseException | None = None) -> ServiceUnavailableError:
    """Sent, and not answered, or not by enough replicas."""
    error = ServiceUnavailableError(f"Redis did not confirm: {why}.", retry_after=1.0, code=ErrorCode.OUTCOME_UNKNOWN)
    error.__cause__ = cause
    return error


def from_reply(text: str, *, full: bool = False) -> ServiceUnavailableError:
    """An error reply: the call was not carried out. full: redis-py says that it was for want of memory."""
    code = ErrorCode.STORAGE_FULL if full or text.startswith(FULL) else ErrorCode.SERVICE_UNAVAILABLE
    return ServiceUnavailableError(f"Redis refused: {text}", retry_after=1.0, code=code)
