"""What Redis says when it refuses, as errors of ours: all retryable.

Texts go to clients, so they hold nothing internal; what Redis or the network said is in ``detail``, for logs. Where the
engine cannot be started, the error says what to change.
"""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.engines.redis.address import Address
from greenroom.errors import ServiceUnavailableError

FULL = ("OOM", "MISCONF")
"""Nothing can be written: memory or disk."""
NOT_HERE = ("READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED")
"""This server is not a master (any more, or yet): reconnect."""


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


_HINTS = (
    (("invalid username-password", "WRONGPASS"), "Correct user and password in the engine's address."),
    (("without any password configured",), "Leave the password out of the engine's address: Redis needs none."),
    (("Authentication required", "NOAUTH"), "Put the password into the engine's address: redis://:PASSWORD@HOST."),
    (("no permissions", "NOPERM"), "Give the Redis user the rights that docs/reference/redis.md lists (ACL SETUSER)."),
    (
        ("DB index is out of range", "invalid DB index"),
        "Correct the number at the end of the engine's address, usually 0.",
    ),
    (("cluster support disabled",), "Write redis:// for a single Redis; redis+cluster:// is for a cluster."),
    (("unknown command 'SENTINEL'",), "Name the sentinels (usually port 26379), or write redis:// for a single Redis."),
    (("unknown master", "No such master"), "Correct the master's name: ?service=NAME."),
    (
        ("Name or service not known", "nodename nor servname", "No address associated", "Temporary failure in name"),
        "Correct the host name in the engine's address: it is not known.",
    ),
    (
        ("Connect call failed", "Connection refused"),
        "Start Redis there, or correct host and port in the engine's address.",
    ),
    (("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"), "Name the certificate authority: ?ssl_ca_certs=FILE."),
    (("SSL", "ssl", "TLS"), "Write redis:// if the port does not speak TLS."),
)
"""What is to be changed, by what Redis or the network says."""


def cannot_start(error: ServiceUnavailableError, address: Address) -> ServiceUnavailableError:
    """The error for whoever starts the engine: where Redis was looked for, what it or the network said, what to change.
    Never the password."""
    detail = str(getattr(error, "detail", "")) or error.message
    said = detail.partition(": ")[2] if detail.split(":")[0].endswith("Error") else detail
    places = ", ".join(f"{host}:{port}" for host, port in address.hosts)
    scheme = "rediss" if address.tls else "redis"
    hint = next((hint for words, hint in _HINTS if any(word in detail for word in words)), None)
    if hint is None:
        other = "Write redis:// if the port does not speak TLS." if address.tls else "Write rediss:// if it speaks TLS."
        hint = f"Check that a Redis answers there. {other}"
    said = said.strip().rstrip(".") or "no answer in time"
    return ServiceUnavailableError(f"Redis at {places} ({scheme}) cannot be used: {said}.", hint=hint, retry_after=1.0)
