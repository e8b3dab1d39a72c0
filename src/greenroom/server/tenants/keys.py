"""The signing keys of tokens: sealed in the engine's directory, opened here, and which of them signs when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from greenroom.model import SealedKey
from greenroom.tokens import Algorithm, KeyRing, SigningKey, generate_key, open_key, seal_key

ANNOUNCED = 600.0
"""Seconds for which a new key is published before it signs: every node has read the directory by then, and whoever
keeps a copy of the key set (`JWKS_MAX_AGE`) has asked again."""
JWKS_MAX_AGE = 300
"""Seconds for which others may keep the key set."""

_NONCE_BYTES = 12
_RECHECK = 3_600.0
"""Seconds within which the ring drops a key whose tokens have all ended."""
_KEPT_RETIRED = 2 * 86_400
"""Seconds for which a retired key is opened: longer than any token lives."""


class SigningKeys:
    """A copy of the keys. master_key: 32 bytes, seals them. clock: Unix seconds. algorithm: of new keys."""

    def __init__(
        self,
        *,
        master_key: bytes,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        algorithm: Algorithm,
    ) -> None:
        self._master = master_key
        self._clock = clock
        self._random = random_bytes
        self._algorithm = algorithm
        self._keys: tuple[SigningKey, ...] = ()
        self._ring: KeyRing | None = None
        self._ring_until = 0.0

    def replace(self, sealed: Iterable[SealedKey]) -> None:
        """These are stored now. Raises IllegalArgumentError where the master key is another one than they were sealed
        with."""
        now = self._clock()
        known = {key.kid: key for key in self._keys}
        self._keys = tuple(
            known.get(one.kid) or open_key(self._master, one.sealed)
            for one in sealed
            if one.retired_at is None or one.retired_at / 1000 + _KEPT_RETIRED >= now
        )
        self._ring = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def ring(self) -> KeyRing:
        """The keys that sign and verify now. It changes with time: a key announced signs `ANNOUNCED` seconds later."""
        now = self._clock()
        if self._ring is None or now >= self._ring_until:
            self._ring, self._ring_until = _ring_at(self._keys, now)
        return self._ring

    def make(self, created_at: float) -> tuple[SigningKey, SealedKey]:
        """A new key, and as it is to be stored. created_at: Unix seconds."""
        key = generate_key(self._random, created_at=created_at, alg=self._algorithm)
        sealed = seal_key(self._master, key, self._random(_NONCE_BYTES))
        return key, SealedKey(kid=key.kid, alg=key.alg.value, sealed=sealed, created_at=int(created_at * 1000))


def describe_key(key: SigningKey, ring: KeyRing) -> Mapping[str, Any]:
    """A key for operators: its name and what it is for now."""
    state = "current" if key is ring.current else "upcoming" if key in ring.upcoming else "previous"
    return {"kid": key.kid, "alg": key.alg.value, "state": state, "createdAt": int(key.created_at * 1000)}


def _ring_at(keys: tuple[SigningKey, ...], now: float) -> tuple[KeyRing, float]:
    """The ring at a moment, and until when it stays so: each key signs from `ANNOUNCED` after it was made until the
    next one does. Every node computes the same from what is stored, without a second write."""
    if not keys:
        raise RuntimeError("the keys have not been loaded")
    newest_first = sorted(keys, key=lambda key: (key.created_at, key.kid), reverse=True)
    signing = [key for key in newest_first if key.created_at + ANNOUNCED <= now] or newest_first[-1:]
    upcoming = [key for key in newest_first if key not in signing]
    ring = KeyRing(signing[0], signing[1:], upcoming).pruned(now - ANNOUNCED)
    return ring, min([*(key.created_at + ANNOUNCED for key in upcoming), now + _RECHECK])
