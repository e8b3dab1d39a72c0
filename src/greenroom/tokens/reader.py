"""The strict reader of compact tokens, without any cryptography.

It exists because JOSE libraries are lenient where it hurts: duplicate keys, ``crit``, embedded keys and fractional
times all pass through joserfc (tokens.md, what is refused). This module imports neither joserfc nor cryptography,
so that an SDK can `peek` at a token cheaply.

Nothing here says that a token is genuine: that is `greenroom.tokens.verifier.verify`.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from functools import lru_cache
from json import JSONDecoder
from typing import Any, NamedTuple, NoReturn

from greenroom.errors import TokenInvalidError

MAX_TOKEN_BYTES = 4096
"""A longer token is refused before anything of it is decoded. The longest that is minted is under 3,800."""

MAX_DEPTH = 4
"""Objects and arrays inside one another, the claims themselves being the first."""

OWN_TYPES = frozenset({"api+jwt", "session+jwt", "refresh+jwt"})
"""``typ`` of the service's own tokens: never of an issuer's."""

HEADER_MEMBERS = frozenset({"alg", "typ", "kid"})
"""All else in a header is refused: ``crit`` asks for what we do not do, ``jwk``, ``jku``, ``x5u`` bring keys along."""

MAX_FOREIGN_TOKEN_BYTES = 8192
"""The same of a token that an application's own issuer made: identity providers put more into theirs."""

MAX_FOREIGN_DEPTH = 8

FOREIGN_HEADER_REFUSED = frozenset({"crit", "jwk", "jku", "x5c", "x5u", "b64", "zip", "enc", "epk"})
"""What asks for what is not done here, or brings a key along. Others (``x5t``, ``cat``) mean nothing here."""

# 2^53 has 16 digits. Longer digit strings are never read as numbers at all: that costs quadratic time.
_MAX_DIGITS = 16
_MAX_FOREIGN_DIGITS = 40

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")

# An unfinished string runs to the end, so that this is linear on any input.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_ONE_BRACKET = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Header(NamedTuple):
    """The protected header. ``typ`` and ``kid`` are None where the token has none."""

    alg: str
    typ: str | None
    kid: str | None


class Parts(NamedTuple):
    """A token taken apart; the signature has not been checked."""

    header: Header
    signing_input: bytes
    payload: bytes
    signature: bytes


class ForeignParts(NamedTuple):
    """A token of an application's own issuer taken apart; the signature has not been checked."""

    header: Header
    signing_input: bytes
    claims: dict[str, Any]
    signature: bytes


class Glance(NamedTuple):
    """What an unverified token says of itself. Times are Unix seconds.

    Where an application's own issuer made it, app is its ``iss`` and external_id its ``sub``: enough to see that a
    token is for another participant.
    """

    typ: str | None
    app: str
    participant_id: str | None
    external_id: str | None
    issued_at: int
    expires_at: int


class _RefusedError(ValueError):
    """The text of the error that the caller will raise: raised inside the JSON decoder's hooks."""


def refuse(message: str, hint: str | None = None) -> NoReturn:
    """Raise `TokenInvalidError`. Callers are never inside ``except``: the first error could hold parts of a token."""
    raise TokenInvalidError(message, hint=hint)


def decode_base64url(text: str, part: str) -> bytes:
    """Bytes of exact base64url (RFC 7515, section 2): no padding, whitespace, other alphabets or spare bits set.

    part: what to call it in the error.
    """
    try:
        sent = text.encode("ascii")
        raw = a2b_base64(sent.translate(_TO_STANDARD) + b"==")
    except (UnicodeEncodeError, Base64Error):
        raw, sent = b"", b"!"
    # Python's decoder skips what it does not know; only text that it would itself have written is exact.
    if b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL_SAFE) != sent:
        refuse(f"The token's {part} is not exact base64url.")
    return raw


def read_object(raw: bytes, part: str, *, foreign: bool = False) -> dict[str, Any]:
    """A JSON object: UTF-8, no duplicate keys at any depth, no fractions, nothing deeper than `MAX_DEPTH`.

    Raises `TokenInvalidError`; part: what to call it in the error. foreign: of an application's own issuer, which may
    nest deeper and write fractions.
    """
    depth, decoder = (MAX_FOREIGN_DEPTH, _FOREIGN_DECODER) if foreign else (MAX_DEPTH, _DECODER)
    if _too_deep(raw, depth):
        refuse(f"The token's {part} is nested deeper than {depth}, or its brackets do not match.")
    why = ""
    value: Any = None
    try:
        value = decoder.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            _check_surrogates(value)
    except _RefusedError as error:
        why = f"The token's {part} {error}."
    except ValueError:  # includes UnicodeError and JSONDecodeError
        why = f"The token's {part} is not JSON in UTF-8."
    if why:
        refuse(why)
    if type(value) is not dict:
        refuse(f"The token's {part} is not a JSON object.")
    return value


@lru_cache(maxsize=64)
def read_header(segment: str) -> Header:
    """The header from its base64url segment. A key's tokens share a few: hence the cache (refusals are not kept)."""
    members = read_object(decode_base64url(segment, "header"), "header")
    for name, value in members.items():
        if name not in HEADER_MEMBERS:
            refuse("The token's header has members other than alg, typ and kid.")
        if type(value) is not str:
            refuse(f"The token's header member {name} is not a string.")
    if "alg" not in members:
        refuse("The token's header names no alg.")
    return Header(members["alg"], members.get("typ"), members.get("kid"))


def split_token(token: object) -> Parts:
    """Take a compact token apart (RFC 7515, section 7.1). Nothing is decoded of one over `MAX_TOKEN_BYTES`.

    Raises `TokenInvalidError`. The payload is not looked into.
    """
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or len(segments := token.split(".", 3)) != 3:
        _refuse_shape(token, MAX_TOKEN_BYTES)
    header = read_header(segments[0])
    payload = decode_base64url(segments[1], "payload")
    signature = decode_base64url(segments[2], "signature")
    return Parts(header, token[: token.rindex(".")].encode("ascii"), payload, signature)


def _refuse_shape(token: object, most: int) -> NoReturn:
    if not isinstance(token, str):
        refuse(f"A token is a string, not {type(token).__name__}.", "Return the access_token from your callback.")
    if not token:
        refuse("The token is empty.", "Return the access_token from your callback.")
    if len(token) > most:
        refuse(f"The token is longer than {most} bytes.")
    refuse("The token is not three parts with dots between them.", "Pass the access_token alone, unchanged.")


def split_foreign(token: object) -> ForeignParts:
    """Take the token of an application's own issuer apart. Raises `TokenInvalidError`."""
    if not isinstance(token, str) or len(token) > MAX_FOREIGN_TOKEN_BYTES or len(segments := token.split(".", 3)) != 3:
        _refuse_shape(token, MAX_FOREIGN_TOKEN_BYTES)
    header = _read_foreign_header(segments[0])
    payload = decode_base64url(segments[1], "payload")
    signature = decode_base64url(segments[2], "signature")
    signing_input = token[: token.rindex(".")].encode("ascii")
    return ForeignParts(header, signing_input, read_object(payload, "payload", foreign=True), signature)


@lru_cache(maxsize=64)
def _read_foreign_header(segment: str) -> Header:
    members = read_object(decode_base64url(segment, "header"), "header", foreign=True)
    for name in ("alg", "typ", "kid"):
        if name in members and type(members[name]) is not str:
            refuse(f"The token's header member {name} is not a string.")
    if "alg" not in members:
        refuse("The token's header names no alg.")
    refused = FOREIGN_HEADER_REFUSED.intersection(members)
    if refused:
        refuse(f"The token's header member {min(refused)} is not accepted.", "Let its issuer leave it out.")
    return Header(members["alg"], members.get("typ"), members.get("kid"))


def peek(token: object) -> Glance:
    """What a token says of itself, unverified: for an SDK's timers and for early, clear errors. Never for trust.

    Raises `TokenInvalidError` for anything that no Greenroom service would accept by its form.
    """
    foreign = split_foreign(token)
    if "app" not in foreign.claims and foreign.header.typ not in OWN_TYPES:
        return _glance_of_foreign(foreign)
    parts = split_token(token)
    claims = read_object(parts.payload, "payload")
    app = _claim(claims, "app", str)
    sub = _claim(claims, "sub", str)
    external_id = _claim(claims, "xid", str) if "xid" in claims else None
    return Glance(
        typ=parts.header.typ,
        app=app,
        participant_id=None if sub == app else sub,
        external_id=external_id,
        issued_at=_claim(claims, "iat", int),
        expires_at=_claim(claims, "exp", int),
    )


def _glance_of_foreign(parts: ForeignParts) -> Glance:
    claims, sub = parts.claims, parts.claims.get("sub")
    return Glance(
        typ=parts.header.typ,
        app=_claim(claims, "iss", str),
        participant_id=None,
        external_id=sub if isinstance(sub, str) else None,
        issued_at=_claim(claims, "iat", int),
        expires_at=_claim(claims, "exp", int),
    )


def _claim(claims: dict[str, Any], name: str, wanted: type) -> Any:
    value = claims.get(name)
    if type(value) is not wanted:  # not isinstance: a bool is an int
        kind = "a string" if wanted is str else "a whole number"
        refuse(f"The token's claim {name} is missing or not {kind}.", "Get the token from this Greenroom service.")
    return value


def _too_deep(raw: bytes, depth: int) -> bool:
    # Nearly every token has fewer brackets in all than may be nested: two counts in C.
    if raw.count(b"{") + raw.count(b"[") <= depth:
        return False
    # Else strings go, then all but brackets, then the innermost pairs, once per level: a few calls for any input,
    # before the decoder, which recurses, has seen it.
    skeleton = _STRING.sub(b"", raw).translate(_ONE_BRACKET, _NOT_BRACKETS)
    for _ in range(depth):
        skeleton = skeleton.replace(b"[]", b"")
    return skeleton != b""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)  # keys are compared after their escapes are undone
    if len(members) != len(pairs):
        raise _RefusedError("has a member twice")
    return members


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _RefusedError("has a number that is out of range")
    return int(digits)


def _whole_foreign(digits: str) -> int:
    if len(digits) > _MAX_FOREIGN_DIGITS:
        raise _RefusedError("has a number that is out of range")
    return int(digits)


def _no_fraction(_: str) -> NoReturn:
    raise _RefusedError("has a number with a fraction or an exponent")


def _no_constant(_: str) -> NoReturn:
    raise _RefusedError("has a NaN or Infinity, which JSON does not")


def _check_surrogates(value: Any) -> None:
    """Refuse half a surrogate pair written as an escape: it is no character and cannot be stored as UTF-8."""
    if type(value) is str:
        value.encode("utf-8")
    elif type(value) is dict:
        for name, member in value.items():
            name.encode("utf-8")
            _check_surrogates(member)
    elif type(value) is list:
        for member in value:
            _check_surrogates(member)


_DECODER = JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole, parse_float=_no_fraction, parse_constant=_no_constant
)
_FOREIGN_DECODER = JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole_foreign, parse_float=float, parse_constant=_no_constant
)
