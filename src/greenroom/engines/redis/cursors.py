"""Opaque cursors. Outside text; within, a letter for the list and JSON."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from greenroom.errors import IllegalArgumentError

T = TypeVar("T")


def encode_cursor(kind: str, value: object) -> str:
    return base64.urlsafe_b64encode(kind.encode() + msgspec.json.encode(value)).rstrip(b"=").decode()


def decode_cursor(kind: str, cursor: str, shape: type[T]) -> T:
    """Raises IllegalArgumentError for anything that `encode_cursor` did not make of this kind."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if not raw.startswith(kind.encode()):
            raise ValueError(kind)
        return msgspec.json.decode(raw[1:], type=shape)
    except (binascii.Error, UnicodeError, ValueError):  # msgspec's errors are ValueErrors
        raise IllegalArgumentError("This is no cursor of this list.") from None
