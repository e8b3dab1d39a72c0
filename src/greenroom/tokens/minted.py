"""Which tokens this process minted: their signatures need no second look.

A token is found by a keyed digest of its whole text, signature included, so that a token altered by one bit is not
found and goes the long way. Everything else about it (key still in the ring, issuer, times, revocation) is checked
each time as for any other.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b

CAPACITY = 65_536
"""Digests that are kept: some 8 MiB. The oldest are forgotten first; their tokens stay good."""
_DIGEST_BYTES = 16


class MintedTokens:
    """secret: random bytes, of this process alone; nobody who cannot guess it can aim at a digest."""

    def __init__(self, secret: bytes, capacity: int = CAPACITY) -> None:
        self._blake2b = partial(blake2b, digest_size=_DIGEST_BYTES, key=secret)
        self._capacity = capacity
        self._digests: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, token: str) -> None:
        """This process has just minted it."""
        if len(self._digests) >= self._capacity:
            del self._digests[next(iter(self._digests))]
        self._digests[self._blake2b(token.encode("utf-8", "surrogatepass")).digest()] = None

    def __contains__(self, token: object) -> bool:
        if not isinstance(token, str):
            return False
        return self._blake2b(token.encode("utf-8", "surrogatepass")).digest() in self._digests
