"""From bytes and query strings to the structs a route declares. Strict: what is malformed is refused, never guessed at.

A body whose bytes are not what they say may be a cut one (the platform's Node client counts UTF-16 units in its
Content-Length), and the rest of it is then in front of the next request: such refusals close the connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import unquote_to_bytes

import msgspec

from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Body, Nothing
from greenroom.validation import explain, no_such_field

T = TypeVar("T")

MAX_FIELDS = 100
"""Fields of a form or query."""

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DIGITS = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


class _DuplicateError(ValueError):
    """A key came twice."""


def decode_body(raw: bytes, form: Body, kind: type[T], *, strict: bool = True) -> T:
    """The body as a struct. Raises ProblemError 400, which names the field, what was given and what is allowed.

    strict: whether a form may have no unknown fields (RFC 6749, section 3.2, wants them ignored); JSON never may.
    """
    text = _text(raw)
    if form is Body.FORM:
        return decode_fields(text, kind, "body", strict=strict)
    if not text.strip(" \t\r\n"):
        raise illegal("The body is empty. Send a JSON object, at least {}.")
    try:
        # The standard decoder sees what msgspec does not report: a key that comes twice.
        value = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except _DuplicateError as error:
        raise illegal(f"A member comes twice in the body: {error}. Send it once.") from None
    except RecursionError:
        raise illegal("The body is nested too deeply.", closes=True) from None
    except ValueError:
        raise illegal(
            "The body is not JSON. Check it, and that Content-Length counts bytes of UTF-8, not characters.",
            closes=True,
        ) from None
    return convert(value, kind, "body")


def decode_fields(text: str, kind: type[T], where: str, *, strict: bool = False) -> T:
    """A form (WHATWG URL, application/x-www-form-urlencoded; where: "body") or query string as a struct.

    A field that comes twice is refused (RFC 6749, section 3.2) unless its type is a tuple. One without a value counts
    as omitted (RFC 6749, section 3.1), in a query only where its type is no string. strict: unknown ones are refused,
    else ignored.
    """
    closes = where == "body"
    shape = _shape_of(kind)
    values: dict[str, Any] = {}
    pairs = [pair for pair in text.split("&") if pair]
    if len(pairs) > MAX_FIELDS:
        raise illegal(f"The {where} has more than {MAX_FIELDS} fields.", closes=closes)
    for pair in pairs:
        name, _, value = (_unquoted(part, where, closes) for part in pair.partition("="))
        reader = shape.get(name)
        if reader is None:
            if strict:
                raise illegal(no_such_field(name, name, shape, where))
            continue
        if not value and (closes or reader not in (_as_text, _many)):
            continue
        if reader is _many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise illegal(f"The field {name} comes twice in the {where}. Send it once.", closes=closes)
        else:
            values[name] = reader(value)
    return convert(values, kind, where)


def convert(values: Any, kind: type[T], where: str) -> T:
    """A struct from what a path, query or body held. Raises ProblemError 400."""
    if kind is Nothing:
        return kind()
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise illegal(explain(error, values, kind, where)) from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise illegal(
            "The body is not UTF-8. Check it, and that Content-Length counts bytes, not characters.", closes=True
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateError(name[:64].encode("utf-8", "replace").decode())
            seen.add(name)
    return members


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("the number is too large")
    return value


def _unquoted(part: str, where: str, closes: bool) -> str:
    if _BAD_PERCENT.search(part):
        raise illegal(f"The {where} is not percent-encoded as a form is.", closes=closes)
    try:
        return unquote_to_bytes(part.replace("+", " ")).decode("utf-8")
    except UnicodeError:
        # Encoding too: raw bytes of a request line come as lone surrogates.
        raise illegal(f"The {where} is not UTF-8.", closes=closes) from None


def _as_text(value: str) -> Any:
    return value


def _many(value: str) -> Any:
    return value


def _as_number(value: str) -> Any:
    # Anything else stays text, and is refused by its type: no spaces, signs, fractions or digits of other scripts.
    return int(value) if _DIGITS.fullmatch(value) else value


def _as_flag(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)


def _as_fraction(value: str) -> Any:
    return float(value) if re.fullmatch(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", value) else value


_READERS: dict[object, Callable[[str], Any]] = {int: _as_number, bool: _as_flag, float: _as_fraction}


_SHAPES: dict[type[Any], dict[str, Callable[[str], Any]]] = {}


def _shape_of(kind: type[Any]) -> dict[str, Callable[[str], Any]]:
    """How each field of a form or query is read, by its name on the wire. Worked out once a type."""
    shape = _SHAPES.get(kind)
    if shape is None:
        fields = msgspec.structs.fields(kind)
        shape = _SHAPES[kind] = {field.encode_name: _reader_of(field.type) for field in fields}
    return shape


def _reader_of(annotation: Any) -> Callable[[str], Any]:
    kinds = _leaves(annotation)
    if kinds & {tuple, list, frozenset}:
        return _many
    for kind, reader in _READERS.items():
        if kind in kinds:
            return reader
    return _as_text


def _leaves(annotation: Any) -> set[Any]:
    """The types behind unions and Annotated."""
    origin = get_origin(annotation)
    if origin in (tuple, list, frozenset):
        return {origin}
    arguments = get_args(annotation)
    if not arguments:
        return {annotation}
    if hasattr(annotation, "__metadata__"):
        return _leaves(arguments[0])
    return set().union(*(_leaves(argument) for argument in arguments))
