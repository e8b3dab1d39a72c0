"""App keys and secrets, and the Basic credentials that carry them (RFC 7617)."""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote_plus

from greenroom.tokens.encoding import draw

MAX_BASIC_CHARS = 2_048
"""A longer Authorization header is refused before it is decoded."""

MAX_VALID_SECRETS = 2
"""Two secrets of an application are valid at a time, for rotation."""

_APP_KEY_BYTES = 16
_SECRET_BYTES = 32
_NO_HASH = b"\x00" * sha256().digest_size


_BLANK = " \t\r\n"


class BasicCredentials(NamedTuple):
    """One reading of a Basic header. Its text shows no secret."""

    app_key: str
    secret: str

    def __repr__(self) -> str:
        return f"BasicCredentials(app_key={self.app_key!r}, secret=…)"


def new_app_key(random_bytes: Callable[[int], bytes]) -> str:
    """A new app key: 128 random bits as 32 hexadecimal digits, the same in every encoding of Basic and of shells."""
    return draw(random_bytes, _APP_KEY_BYTES).hex()


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new app secret: 256 random bits as 64 hexadecimal digits. Shown once; only its hash is kept."""
    return draw(random_bytes, _SECRET_BYTES).hex()


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """HMAC-SHA256 of the secret, 32 bytes, to be stored in its place.

    Fast on purpose: secrets have 256 random bits, nobody guesses them, and a slow hash would let 67 bogus requests a
    second saturate two cores (tokens.md, app keys and secrets).
    """
    return hmac.digest(pepper, secret.encode("utf-8", "surrogatepass"), "sha256")


def secret_matches(pepper: bytes, candidates: Iterable[str], hashes: Sequence[bytes]) -> bool:
    """Whether one of `candidates` is behind one of the (at most two) stored `hashes`.

    Takes the same time for a wrong secret as for a right one, and for an application that does not exist (no hashes).
    """
    if len(hashes) > MAX_VALID_SECRETS:
        raise ValueError("an application has at most two valid secrets")
    stored = [*hashes, _NO_HASH, _NO_HASH][:MAX_VALID_SECRETS]
    found = 0
    for candidate in candidates:
        digest = hash_secret(pepper, candidate)
        for position, known in enumerate(stored):
            same = hmac.compare_digest(digest, known)
            found |= same & (position < len(hashes))
    return bool(found)


def parse_basic(header: str | None) -> tuple[BasicCredentials, ...]:
    """The readings of an ``Authorization: Basic`` header, most likely first; empty where it is not one.

    Clients differ: UTF-8 or ISO-8859-1 (RFC 7617 leaves it open), verbatim or form-encoded first (RFC 6749, section
    2.3.1). Each reading that differs is given once; the caller tries all of them, in constant time. The first colon
    divides: a secret may have colons. White space around key and secret is not part of them.
    """
    raw = _basic_bytes(header)
    if raw is None:
        return ()
    texts = [raw.decode("latin-1")]
    try:
        texts.insert(0, raw.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    readings: dict[BasicCredentials, None] = {}
    for text in texts:
        app_key, _, secret = text.partition(":")
        # What was pasted, or read from a file, ends in a newline; no key or secret of ours does.
        readings[BasicCredentials(app_key.strip(_BLANK), secret.strip(_BLANK))] = None
    for verbatim in list(readings):
        decoded = _form_decoded(verbatim)
        if decoded is not None:
            readings[decoded] = None
    return tuple(readings)


def _basic_bytes(header: str | None) -> bytes | None:
    if header is None or len(header) > MAX_BASIC_CHARS:
        return None
    scheme, _, encoded = header.strip(" \t").partition(" ")
    if scheme.lower() != "basic":
        return None
    encoded = encoded.strip(" ")
    try:
        raw = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (Base64Error, ValueError):
        return None
    return raw if b":" in raw else None


def _form_decoded(credentials: BasicCredentials) -> BasicCredentials | None:
    try:
        return BasicCredentials(*(unquote_plus(part, errors="strict") for part in credentials))
    except UnicodeDecodeError:
        return None
