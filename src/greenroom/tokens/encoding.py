"""Small things that minting, keys and secrets share."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable


def encode_base64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def draw(random_bytes: Callable[[int], bytes], count: int) -> bytes:
    """`count` bytes of the caller's source. A source that gives fewer is a bug that must not pass for randomness."""
    drawn = random_bytes(count)
    if len(drawn) != count:
        raise RuntimeError(f"the random source gave {len(drawn)} bytes where {count} were asked for")
    return drawn
