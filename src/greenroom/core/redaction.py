"""Addresses as they may be shown: without the user name and password that they hold."""

from __future__ import annotations

import re

MASK = "***"

_USERINFO = re.compile(r"(?<=://)[^\s'\"]*@")
"""Up to the last @: a password may hold one."""
_IN_QUERY = re.compile(r"([?&][\w-]*(?:password|username|secret|token)=)[^&\s'\"]*", re.ASCII | re.IGNORECASE)


def redact_addresses(text: str) -> str:
    """`text` with what stands before the @ of each address blanked, and passwords in a query.

    >>> redact_addresses("redis://:s3cret@redis.example:6379/0 is away")
    'redis://***@redis.example:6379/0 is away'
    """
    if "://" not in text:
        return text
    return _IN_QUERY.sub(rf"\g<1>{MASK}", _USERINFO.sub(f"{MASK}@", text))
