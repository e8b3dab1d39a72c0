"""How requests of the server API are written and their answers read, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import GreenroomError, IllegalArgumentError, ProtocolError, from_wire

Reply = TypeVar("Reply")

_CODE_OF_REASON = {row.reason: code for code, row in ERRORS.items()}
_CODE_OF_STATUS = {
    400: ErrorCode.ILLEGAL_ARGUMENT,
    401: ErrorCode.TOKEN_INVALID,
    403: ErrorCode.SCOPE_MISSING,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    429: ErrorCode.RATE_LIMITED,
}


class Page(msgspec.Struct, frozen=True):
    """A page of a list. cursor: None at its end."""

    items: msgspec.Raw
    cursor: str | None = None


def participant_segment(participant_id: str | None, external_id: str | None) -> str:
    """The path segment that names a participant, in one of the two ways. Raises IllegalArgumentError."""
    if (participant_id is None) == (external_id is None):
        raise IllegalArgumentError("Name the participant by participant_id= or by external_id=, one of the two.")
    name = participant_id if participant_id is not None else f"ext:{external_id}"
    if not name or name == "ext:":
        raise IllegalArgumentError("The participant's id is empty.")
    return quote(name, safe="")


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """The path with a query; None is left out, a list is repeated."""
    pairs = [(name, one) for name, value in query.items() for one in _each(value)]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def without_none(**members: Any) -> dict[str, Any]:
    """The members that are given."""
    return {name: value for name, value in members.items() if value is not None}


def decoded(raw: bytes, kind: type[Reply]) -> Reply:
    """The answer's body. Raises ProtocolError where it is not what the API describes."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise ProtocolError(
            "The answer is not one of Greenroom's server API.", hint="Check the URL: is a proxy in between?"
        ) from None


def error_of(status: int, raw: bytes, retry_after: float | None) -> GreenroomError:
    """The error that an answer stands for: with the service's own words where it has some."""
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        body = {}
    body = body if isinstance(body, dict) else {}
    code = _CODE_OF_STATUS.get(status, ErrorCode.SERVICE_UNAVAILABLE if status >= 500 else ErrorCode.PROTOCOL_ERROR)
    if status not in (401, 403):
        code = _CODE_OF_REASON.get(str(body.get("error_reason")), code)
    text = body.get("error_description") or f"The service answered {status}."
    details = body.get("details")
    data = dict(details) if isinstance(details, dict) else {}
    if retry_after is not None:
        data["retryAfter"] = retry_after
    return from_wire(code, str(text), data)


def _each(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
