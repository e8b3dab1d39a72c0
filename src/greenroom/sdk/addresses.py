"""The address of a service, and when it may be asked again."""

from __future__ import annotations

import email.utils
from urllib.parse import urlsplit, urlunsplit

from greenroom.errors import IllegalArgumentError

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_EXAMPLE = "Pass e.g. https://sessions.example.com."


def service_base(url: object) -> str:
    """The service's address as http(s), without a slash at the end. Takes http, https, ws and wss, also a URL object.

    Raises IllegalArgumentError.
    """
    if url is None or isinstance(url, bytes):
        kind = "None" if url is None else "bytes"
        raise IllegalArgumentError(f"The service's URL is {kind}, not a string.", hint=_EXAMPLE)
    text = str(url).strip()
    if "://" not in text:
        raise IllegalArgumentError(f"{text!r} lacks http:// or https://.", hint=_EXAMPLE)
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0 and not any(char.isspace() for char in text)
    except ValueError:
        raise IllegalArgumentError(f"{text!r} is not a valid URL.", hint=_EXAMPLE) from None
    if parts.scheme not in _SCHEMES:
        raise IllegalArgumentError(f"The service's URL begins with {parts.scheme}://.", hint=_EXAMPLE)
    if not has_host:
        raise IllegalArgumentError(f"{text!r} has no valid host and port.", hint=_EXAMPLE)
    if parts.query or parts.fragment or parts.username is not None:
        raise IllegalArgumentError(
            "The service's URL has a query, a fragment or a user in it.", hint="Pass scheme, host, port and path alone."
        )
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))


def retry_after_of(value: str | None, wall: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3), which may also be a date. wall: Unix seconds."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - wall)
    except (ValueError, OverflowError):
        return None
