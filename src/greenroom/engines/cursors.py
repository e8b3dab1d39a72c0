"""Opaque cursors: text outside; within, a letter for the list and where to continue."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from greenroom.errors import IllegalArgumentError

T = TypeVar("T")


def seal_cursor(kind: bytes, body: bytes) -> str:
    """A cursor of this kind of list. body: what `open_cursor` gives back."""
    return base64.urlsafe_b64encode(kind + body).rstrip(b"=").decode()


def open_cursor(kind: bytes, cursor: str) -> bytes:
    """Raises IllegalArgumentError for anything that `seal_cursor` did not make of this kind."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise invalid_cursor() from None
    if not raw.startswith(kind) or seal_cursor(b"", raw) != cursor:
        raise invalid_cursor()
    return raw[len(kind) :]


def encode_cursor(kind: str, value: object) -> str:
    """A cursor that holds a value as JSON."""
    return seal_cursor(kind.encode(), msgspec.json.encode(value))


def decode_cursor(kind: str, cursor: str, shape: type[T]) -> T:
    """The value. Raises IllegalArgumentError where it is none of this kind, or has another shape."""
    try:
        return msgspec.json.decode(open_cursor(kind.encode(), cursor), type=shape)
    except msgspec.DecodeError:
        raise invalid_cursor() from None


def invalid_cursor() -> IllegalArgumentError:
    """What is raised for a cursor of another list, or none at all."""
    return IllegalArgumentError("Invalid cursor.", hint="Pass the cursor of the page before, as it is.")
