"""What a name, an avatar URL, attributes and a status may be (platform.md, name and avatar URL).

The same functions judge in the SDK, before anything is sent, and in the service. Work is bounded: anything too long is
refused before it is looked at. Which characters exist is asked of the Python that runs only where the answer cannot
change: characters newer than it are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from unicodedata import category, is_normalized, normalize

from greenroom.errors import IllegalArgumentError

MAX_NAME = 256
"""Characters (code points) of a name, as NFC."""
MAX_AVATAR_URL = 2048
"""Characters of an avatar URL."""
MAX_ATTRIBUTES = 32
"""Attributes of a participant."""
MAX_ATTRIBUTE_NAME = 64
"""Characters of an attribute's name."""
MAX_ATTRIBUTE_BYTES = 1024
"""Bytes of an attribute's value, as UTF-8."""
MAX_ATTRIBUTES_BYTES = 4096
"""Bytes of all attributes of a participant together, names and values."""
MAX_STATUS = 64
"""Characters of a session's status, as NFC."""

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
_REFUSED_IN_ATTRIBUTE_NAME = _REFUSED[:2]
_REFUSED_IN_VALUE = (("a control character", re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")), _REFUSED[1])
"""Lines and tabs are part of texts."""

_NOT_IN_URL = re.compile(f'[{_CONTROL} \\\\"<>^`{{|}}]|\\s')
_SCHEME = re.compile(r"([^/?#]*?):")
_AUTHORITY = re.compile(r"//([^/?#]*)")
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:[/?#][!#-;=?-\[\]_a-z~]*)?")
"""What nearly every avatar URL is; of it nothing else need be asked."""


def usable(text: str | None, check: Callable[[str], str]) -> str | None:
    """A name or avatar URL that a token brings, as `check` stores it; None where there is none, or none that it takes:
    what an identity provider says of a participant must not keep them out."""
    if not text:
        return None
    try:
        return check(text)
    except IllegalArgumentError:
        return None


def check_name(name: str) -> str:
    """The name as it is stored: NFC. "" clears.

    Raises IllegalArgumentError for anything but a string, more than MAX_NAME characters, control, private-use and
    noncharacters, lone surrogates, line separators, bidirectional controls, and tag characters that are not part of a
    well-formed emoji.
    """
    # Nearly every one. Apps give anything.
    if isinstance(name, str) and len(name) <= MAX_NAME and name.isascii() and name.isprintable():  # type: ignore[redundant-expr]
        return name
    return _check_line("name", name, MAX_NAME)


def check_status(status: str) -> str:
    """The status as it is stored: NFC. `available`, `away`, `busy`, or a text of the app's own.

    Raises IllegalArgumentError for anything but a string of 1 to MAX_STATUS characters, and for the characters that a
    name may not have.
    """
    if status == "":
        raise IllegalArgumentError("status is empty.", hint='Give "available", "away", "busy" or a text of your own.')
    return _check_line("status", status, MAX_STATUS)


def check_attributes(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """The changes of attributes, as they are: a value that is None removes the attribute. The limits on all attributes
    of a participant together are `merge_attributes`'s.

    Raises IllegalArgumentError that names the attribute: for a name that is empty, has more than MAX_ATTRIBUTE_NAME
    characters, control characters or lone surrogates, for a value that is neither string nor None, has more than
    MAX_ATTRIBUTE_BYTES bytes of UTF-8, control characters (but tabs and line ends) or lone surrogates.
    """
    if not isinstance(changes, Mapping):
        raise IllegalArgumentError("attributes is not a mapping of names to texts.", hint='Give {"name": "value"}.')
    if len(changes) > 2 * MAX_ATTRIBUTES:
        raise IllegalArgumentError(
            f"attributes has {len(changes)} members.", hint=f"A participant may have {MAX_ATTRIBUTES}."
        )
    for name, value in changes.items():
        _check_text("The name of an attribute", name, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_NAME)
        if not name:
            raise IllegalArgumentError("The name of an attribute is empty.")
        _refuse("The name of an attribute", name, _REFUSED_IN_ATTRIBUTE_NAME)
        if value is None:
            continue
        what = f"attributes.{name}"
        _check_text(what, value, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_BYTES, unit="bytes of UTF-8")
        _refuse(what, value, _REFUSED_IN_VALUE)
        if len(value.encode()) > MAX_ATTRIBUTE_BYTES:
            raise _too_long(what, MAX_ATTRIBUTE_BYTES, "bytes of UTF-8")
    return dict(changes)


def merge_attributes(present: Mapping[str, str] | None, changes: Mapping[str, str | None]) -> dict[str, str] | None:
    """The attributes after the changes, by name; None where none is left.

    Raises IllegalArgumentError where they would be more than MAX_ATTRIBUTES, or MAX_ATTRIBUTES_BYTES together.
    """
    merged: dict[str, str] = {}
    for name, value in sorted({**(present or {}), **changes}.items()):
        if value is not None:
            merged[name] = value
    size = sum(len(name.encode()) + len(value.encode()) for name, value in merged.items())
    if len(merged) > MAX_ATTRIBUTES or size > MAX_ATTRIBUTES_BYTES:
        raise too_many_attributes(len(merged), size)
    return merged or None


def too_many_attributes(count: int, size: int) -> IllegalArgumentError:
    """The error for attributes beyond the limits. size: bytes of names and values."""
    if count > MAX_ATTRIBUTES:
        problem = f"The participant would have {count} attributes."
    else:
        problem = f"The participant's attributes would have {size:,} bytes."
    return IllegalArgumentError(
        problem,
        hint=f"At most {MAX_ATTRIBUTES} with {MAX_ATTRIBUTES_BYTES:,} bytes of names and values; null removes one.",
    )


def not_for_clients(names: Iterable[str], allowed: Iterable[str] | None) -> tuple[str, ...]:
    """Those of the names that the application lets nobody but its backend set. allowed: the names that clients may set;
    None is all."""
    if allowed is None:
        return ()
    known = frozenset(allowed)
    return tuple(name for name in names if name not in known)


def check_avatar_url(url: str) -> str:
    """The avatar URL, as it is. "" clears.

    Raises IllegalArgumentError for anything but a string, more than MAX_AVATAR_URL characters, a scheme other than
    https and http, an https or http URL without a host, and characters that have no place in a URL (browsers drop some
    of them, so that ``java\\nscript:`` would run).
    """
    if isinstance(url, str) and len(url) <= MAX_AVATAR_URL and _PLAIN_URL.fullmatch(url):  # type: ignore[redundant-expr]
        return url
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


def _check_line(what: str, text: str, limit: int) -> str:
    """A text that people read, as NFC."""
    # No character's canonical decomposition is longer than four.
    _check_text(what, text, limit * 4, limit)
    if text.isascii():
        normal = text
    else:
        # Judged before it is normalised: lone surrogates have no normal form worth the name.
        _refuse(what, text, _REFUSED)
        normal = text if is_normalized("NFC", text) else normalize("NFC", text)
    if len(normal) > limit:
        raise _too_long(what, limit)
    if _ANY_REFUSED.search(normal):
        _refuse(what, normal, _REFUSED)
        _check_tags(what, normal)
    return normal


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


def _check_tags(what: str, name: str) -> None:
    """Tag characters are invisible; they are kept where they finish an emoji (the flags of Scotland, Wales, …)."""
    for found in _TAGS.finditer(name):
        based = found.start() > 0 and _may_carry_tags(name[found.start() - 1])
        if not based or _TAG_SEQUENCE.fullmatch(found[0]) is None:
            raise IllegalArgumentError(
                f"{what} holds tag characters that are not part of an emoji.", hint="Leave the characters out."
            )


def _may_carry_tags(base: str) -> bool:
    """Emoji are "symbol, other"; with a modifier or a variation selector the base ends in that."""
    return base == "\ufe0f" or "\U0001f3fb" <= base <= "\U0001f3ff" or category(base) in ("So", "Cn")


def _host(authority: str) -> str:
    host = authority.rpartition("@")[2]
    return host if host.startswith("[") else host.partition(":")[0]
