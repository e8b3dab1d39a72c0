"""What an external id may be (S2). Checked by the SDK before anything is sent, in tokens, and by the service."""

from __future__ import annotations

import re
from unicodedata import normalize

from greenroom.errors import IllegalArgumentError
from greenroom.model import MAX_EXTERNAL_ID_BYTES

_REFUSED = (
    ("a control character", re.compile("[\x00-\x1f\x7f-\x9f]")),
    ("a lone surrogate", re.compile("[\ud800-\udfff]")),
)


def check_external_id(external_id: str | None, what: str = "external_id") -> str | None:
    """The external id, byte for byte as it is (S2). None and "" are none. what: its name for whoever gave it.

    Raises IllegalArgumentError for anything but a string, more than MAX_EXTERNAL_ID_BYTES bytes of UTF-8, control
    characters and lone surrogates.
    """
    if external_id is None:
        return None
    if not isinstance(external_id, str):
        raise IllegalArgumentError(f"{what} is not a string.", hint=f"Give {what} as a string.")
    is_too_long = len(external_id) > MAX_EXTERNAL_ID_BYTES  # judged before it is looked at
    if not is_too_long:
        for kind, pattern in _REFUSED:
            found = pattern.search(external_id)
            if found is not None:
                code = f"U+{ord(found[0]):04X}"
                raise IllegalArgumentError(f"{what} holds {kind} ({code}).", hint="Leave the character out.")
    if is_too_long or len(external_id.encode()) > MAX_EXTERNAL_ID_BYTES:
        raise IllegalArgumentError(f"{what} is too long.", hint=f"At most {MAX_EXTERNAL_ID_BYTES:,} bytes of UTF-8.")
    return external_id or None


def differ_only_in_form(one: str, other: str) -> bool:
    """Whether two external ids that differ would be the same as NFC: then the error says so (S2)."""
    if one == other or max(len(one), len(other)) > MAX_EXTERNAL_ID_BYTES:
        return False
    return normalize("NFC", one) == normalize("NFC", other)
