"""What a name, an avatar URL and an external id may be (platform.md, name and avatar URL).

The same functions judge in the SDK, before anything is sent, and in the service. Work is bounded: anything too long is
refused before it is looked at. Which characters exist is asked of the Python that runs only where the answer cannot
change: characters newer than it are kept.
"""

from __future__ import annotations

import re
from unicodedata import category, is_normalized, normalize

from greenroom.errors import IllegalArgumentError

MAX_NAME = 256
"""Characters (code points) of a name, as NFC."""
MAX_AVATAR_URL = 2048
"""Characters of an avatar URL."""
MAX_EXTERNAL_ID_BYTES = 1024
"""Bytes of an external id's UTF-8."""

_MAX_RAW_NAME = MAX_NAME * 4  # no character's canonical decomposition is longer than four

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Noncharacters: U+FDD0 … U+FDEF and the last two of each plane.
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane * 0x10000 + low) for plane in range(17) for low in (0xFFFE, 0xFFFF)
)
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_CONTROL = "\x00-\x1f\x7f-\x9f"
_SEPARATORS = "\u2028\u2029"
_SURROGATES = "\ud800-\udfff"

_TAGS = re.compile("[\U000e0000-\U000e007f]+")
# UTS #51, ED-14a: a base, tag characters, and the cancel tag.
_TAG_SEQUENCE = re.compile("[\U000e0020-\U000e007e]{1,30}\U000e007f")

_REFUSED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a control character", re.compile(f"[{_CONTROL}]")),
    ("a lone surrogate", re.compile(f"[{_SURROGATES}]")),
    ("a line separator", re.compile(f"[{_SEPARATORS}]")),
    ("a bidirectional control", re.compile(f"[{_BIDI}]")),
    ("a private-use character", re.compile(f"[{_PRIVATE}]")),
    ("a noncharacter", re.compile(f"[{_NONCHARACTERS}]")),
)
_ANY_REFUSED = re.compile(
    f"[{_CONTROL}{_SURROGATES}{_SEPARATORS}{_BIDI}{_PRIVATE}{_NONCHARACTERS}\U000e0000-\U000e007f]"
)
_REFUSED_IN_EXTERNAL_ID = _REFUSED[:2]

_NOT_IN_URL = re.compile(f'[{_CONTROL} \\\\"<>^`{{|}}]|\\s')
_SCHEME = re.compile(r"([^/?#]*?):")
_AUTHORITY = re.compile(r"//([^/?#]*)")


def check_name(name: str) -> str:
    """The name as it is stored: NFC. "" clears.

    Raises IllegalArgumentError for anything but a string, more than MAX_NAME characters, control, private-use and
    noncharacters, lone surrogates, line separators, bidirectional controls, and tag characters that are not part of a
    well-formed emoji.
    """
    _check_text("name", name, _MAX_RAW_NAME, MAX_NAME)
    if name.isascii():
        normal = name
    else:
        # Judged before it is normalised: lone surrogates have no normal form worth the name.
        _refuse("name", name, _REFUSED)
        normal = name if is_normalized("NFC", name) else normalize("NFC", name)
    if len(normal) > MAX_NAME:
        raise _too_long("name", MAX_NAME)
    if _ANY_REFUSED.search(normal):
        _refuse("name", normal, _REFUSED)
        _check_tags(normal)
    return normal


def check_avatar_url(url: str) -> str:
    """The avatar URL, as it is. "" clears.

    Raises IllegalArgumentError for anything but a string, more than MAX_AVATAR_URL characters, a scheme other than
    https and http, an https or http URL without a host, and characters that have no place in a URL (browsers drop some
    of them, so that ``java\\nscript:`` would run).
    """
    _check_text("avatar_url", url, MAX_AVATAR_URL, MAX_AVATAR_URL)
    if _NOT_IN_URL.search(url):
        raise IllegalArgumentError(
            "avatar_url holds a character that a URL cannot have.", hint="Percent-encode it (RFC 3986, section 2)."
        )
    _refuse("avatar_url", url, _REFUSED)
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[1].lower() not in ("https", "http"):
        raise IllegalArgumentError(
            "avatar_url has a scheme other than https and http.",
            hint="Give an https URL, an http URL or a relative reference.",
        )
    rest = url if scheme is None else url[scheme.end() :]
    authority = _AUTHORITY.match(rest)
    if (scheme is not None and authority is None) or (authority is not None and not _host(authority[1])):
        raise IllegalArgumentError("avatar_url has no host.", hint="Give it as https://host/path.")
    return url


def check_external_id(external_id: str | None) -> str | None:
    """The external id, byte for byte as it is (S2). None and "" are none.

    Raises IllegalArgumentError for anything but a string, more than MAX_EXTERNAL_ID_BYTES bytes of UTF-8, control
    characters and lone surrogates.
    """
    if external_id is None:
        return None
    _check_text("external_id", external_id, MAX_EXTERNAL_ID_BYTES, MAX_EXTERNAL_ID_BYTES, unit="bytes of UTF-8")
    _refuse("external_id", external_id, _REFUSED_IN_EXTERNAL_ID)
    if len(external_id.encode()) > MAX_EXTERNAL_ID_BYTES:
        raise _too_long("external_id", MAX_EXTERNAL_ID_BYTES, "bytes of UTF-8")
    return external_id or None


def differ_only_in_form(one: str, other: str) -> bool:
    """Whether two external ids that differ would be the same as NFC: then the error says so (S2)."""
    if one == other or max(len(one), len(other)) > MAX_EXTERNAL_ID_BYTES:
        return False
    return normalize("NFC", one) == normalize("NFC", other)


def _check_text(what: str, text: object, raw_limit: int, limit: int, *, unit: str = "characters") -> None:
    if not isinstance(text, str):
        raise IllegalArgumentError(f"{what} is not a string.", hint=f"Give {what} as a string.")
    if len(text) > raw_limit:
        raise _too_long(what, limit, unit)


def _too_long(what: str, limit: int, unit: str = "characters") -> IllegalArgumentError:
    return IllegalArgumentError(f"{what} is too long.", hint=f"At most {limit:,} {unit}.")


def _refuse(what: str, text: str, refused: tuple[tuple[str, re.Pattern[str]], ...]) -> None:
    for kind, pattern in refused:
        found = pattern.search(text)
        if found is not None:
            raise IllegalArgumentError(f"{what} holds {kind} (U+{ord(found[0]):04X}).", hint="Leave the character out.")


def _check_tags(name: str) -> None:
    """Tag characters are invisible; they are kept where they finish an emoji (the flags of Scotland, Wales, …)."""
    for found in _TAGS.finditer(name):
        based = found.start() > 0 and _may_carry_tags(name[found.start() - 1])
        if not based or _TAG_SEQUENCE.fullmatch(found[0]) is None:
            raise IllegalArgumentError(
                "name holds tag characters that are not part of an emoji.", hint="Leave the characters out."
            )


def _may_carry_tags(base: str) -> bool:
    """Emoji are "symbol, other"; with a modifier or a variation selector the base ends in that."""
    return base == "\ufe0f" or "\U0001f3fb" <= base <= "\U0001f3ff" or category(base) in ("So", "Cn")


def _host(authority: str) -> str:
    host = authority.rpartition("@")[2]
    return host if host.startswith("[") else host.partition(":")[0]
