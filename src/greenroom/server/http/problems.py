"""Refusals as HTTP knows them: the one error body, which the platform's clients and OAuth clients both understand.

`Problem` is what goes out; `problem_of` makes one of any error of `greenroom.errors`. Statuses that only HTTP has
(404 for a path, 405, 408, 413, 415, 417) are made by the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Any

import msgspec

from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import GreenroomError, ScopeMissingError

REALM = "greenroom"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749, section 5.1: for every reply that holds a token or a secret, or describes one."""

_DEFAULT_RETRY_AFTER = {429: 60.0, 503: 5.0}

# What the `error` member says (RFC 6749, section 5.2; RFC 6750, section 3.1); all others: the reason in lower case.
_ERROR_WORD = {
    ErrorCode.ILLEGAL_ARGUMENT: "invalid_request",
    ErrorCode.PARSE_ERROR: "invalid_request",
    ErrorCode.INVALID_REQUEST: "invalid_request",
    ErrorCode.TOKEN_INVALID: "invalid_token",
    ErrorCode.TOKEN_EXPIRED: "invalid_token",
    ErrorCode.TOKEN_REVOKED: "invalid_token",
    ErrorCode.SCOPE_MISSING: "insufficient_scope",
    ErrorCode.INVALID_CLIENT: "invalid_client",
    ErrorCode.APPLICATION_DISABLED: "unauthorized_client",
    ErrorCode.SERVICE_UNAVAILABLE: "temporarily_unavailable",
    ErrorCode.INTERNAL_ERROR: "server_error",
}


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ErrorResponse"):
    """The body of every refusal.

    error: a word for programs (RFC 6749, section 5.2, on token endpoints). error_code: the platform's number where it
    has one, else the HTTP status. error_reason: the stable word of `greenroom.codes`. error_description: what is wrong
    and what to change. details: what else there is to know, by reason.
    """

    error: str
    error_code: int
    error_reason: str
    error_description: str
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal. `body` is what is sent; `closes` says that the connection cannot be used after it."""

    status: int
    error: str
    code: int
    reason: str
    description: str
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    closes: bool = False

    def body(self) -> bytes:
        """The error body as JSON."""
        return msgspec.json.encode(
            ErrorResponse(
                error=self.error,
                error_code=self.code,
                error_reason=self.reason,
                error_description=self.description,
                details=dict(self.details) or msgspec.UNSET,
            ),
            enc_hook=str,
        )

    def with_headers(self, headers: Mapping[str, str]) -> Problem:
        """The same, with more headers."""
        return replace(self, headers={**self.headers, **headers})


class ProblemError(Exception):
    """Carries a `Problem` out of a handler or the dispatcher."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


def reason_of(code: ErrorCode) -> str:
    """The `error_reason` of HTTP. The platform's number 89 has one word, whatever was wrong with the credentials:
    `error` distinguishes a bad key or secret from a bad token."""
    return ERRORS[ErrorCode.TOKEN_INVALID if code is ErrorCode.INVALID_CLIENT else code].reason


def problem_of(error: GreenroomError) -> Problem:
    """The refusal for an error of the tree. Nothing internal is in it: such errors hold texts made for people."""
    row = ERRORS[error.code]
    details = {key: value for key, value in error.details().items() if key not in ("retryAfter", "scope")}
    headers: dict[str, str] = {}
    if row.http_status in _DEFAULT_RETRY_AFTER:
        headers["Retry-After"] = retry_after_text(getattr(error, "retry_after", None), row.http_status)
    return Problem(
        status=row.http_status,
        error=_ERROR_WORD.get(error.code, row.reason.lower()),
        code=row.platform_code,
        reason=reason_of(error.code),
        description=str(error),
        headers=headers,
        details=details,
    )


def retry_after_text(seconds: float | None, status: int) -> str:
    """The value of Retry-After (RFC 9110, section 10.2.3): whole seconds, at least 1."""
    if seconds is None or not isfinite(seconds):
        seconds = _DEFAULT_RETRY_AFTER[status]
    return str(max(1, ceil(seconds)))


def challenge(scheme: str, error: GreenroomError | None = None) -> dict[str, str]:
    """WWW-Authenticate for a 401 or 403 (RFC 7617, section 2; RFC 6750, section 3).

    scheme: ``Basic`` or ``Bearer``. error: None where no credentials came: then RFC 6750 wants no error member.
    """
    value = f'{scheme} realm="{REALM}"'
    if scheme == "Basic":
        value += ', charset="UTF-8"'
    elif error is not None:
        value += f', error="{_ERROR_WORD.get(error.code, "invalid_token")}"'
        if isinstance(error, ScopeMissingError) and error.scope:
            value += f', scope="{error.scope}"'
    return {"WWW-Authenticate": value}


def illegal(description: str, *, closes: bool = False, error: str = "invalid_request") -> ProblemError:
    """400 `Illegal_argument` (90)."""
    return ProblemError(Problem(400, error, 90, "Illegal_argument", description, closes=closes))


def no_such_path() -> ProblemError:
    """404."""
    return ProblemError(
        Problem(
            404, "not_found", 404, "Not_found", "There is nothing at this path. See /openapi.json for what there is."
        )
    )


def wrong_method(allowed: Sequence[str]) -> ProblemError:
    """405 with Allow (RFC 9110, section 15.5.6)."""
    allow = ", ".join(allowed)
    text = f"The path does not support this method. It supports {allow}."
    return ProblemError(Problem(405, "method_not_allowed", 405, "Method_not_allowed", text, {"Allow": allow}))


def too_slow() -> ProblemError:
    """408: the body took too long."""
    text = "The request's body did not arrive in time. Send it at once, with its Content-Length."
    return ProblemError(Problem(408, "invalid_request", 408, "Request_timeout", text, closes=True))


def too_large(limit: int) -> ProblemError:
    """413."""
    text = f"The request's body is too large. At most {limit} bytes are accepted here."
    return ProblemError(Problem(413, "invalid_request", 413, "Body_too_large", text, closes=True))


def wrong_type(expected: Sequence[str], given: str = "", *, looks_like_json: bool = False) -> ProblemError:
    """415. given: the Content-Type that came. looks_like_json: the body begins as a JSON object does."""
    if looks_like_json and "application/json" in expected:
        kind = given[:60].encode("ascii", "replace").decode() or "no Content-Type"
        text = f"The body is JSON sent as {kind}. Send the header Content-Type: application/json."
    else:
        text = f"The type of the request's body is not accepted here. Send it as {' or '.join(expected)}"
        text += ", without Content-Encoding."
    return ProblemError(Problem(415, "invalid_request", 415, "Unsupported_media_type", text))


def wrong_expectation() -> ProblemError:
    """417: an Expect other than 100-continue."""
    text = "The Expect header has an unknown value. Leave it out."
    return ProblemError(Problem(417, "invalid_request", 417, "Expectation_failed", text, closes=True))


def internal() -> Problem:
    """500, without any detail: those are in the log."""
    row = ERRORS[ErrorCode.INTERNAL_ERROR]
    text = f"{row.meaning} {row.what_to_do}"
    return Problem(500, "server_error", row.platform_code, row.reason, text)


def malformed(status: int) -> Problem:
    """What was not HTTP at all (RFC 9112): the parser's words are not repeated, they may hold credentials."""
    text = (
        "The request is not well-formed HTTP/1.1. Check the request line and the headers, "
        "and that Content-Length counts bytes of UTF-8, not characters."
    )
    if status == 400 or not 400 <= status < 500:
        return Problem(400, "invalid_request", 90, "Illegal_argument", text, closes=True)
    return Problem(status, "invalid_request", status, "Malformed_request", text, closes=True)
