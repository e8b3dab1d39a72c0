"""Identity providers of a simulated world: each signs tokens of its own for apps, until the application removes it."""

from __future__ import annotations

from greenroom.model import TokenIssuer
from tests.server.issuers import AUDIENCE, signer

LIFE = 60
"""Seconds from `iat` to `exp`: tokens that are refused from now on are over before a walk comes to rest."""


class SimIssuer:
    """One provider. number: which one of the world."""

    def __init__(self, number: int) -> None:
        self.url = f"https://id{number}.sim"
        self.is_removed = False
        """The application's removal of it was acknowledged."""
        self._made = 1
        self._key = signer("EdDSA", "key-1")
        self._next = self._key

    def token(self, external_id: str, now: float) -> str:
        """A token as the provider makes it, whether or not anybody still takes it. now: Unix seconds."""
        at = int(now)
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": external_id, "iat": at, "exp": at + LIFE}
        return self._key.token(claims=claims)

    def record(self) -> TokenIssuer:
        """What the application says of it: the key that signs, and the one that will sign next."""
        keys = dict.fromkeys((self._key, self._next))
        return self._key.record(
            id=self.url.rpartition("/")[2], issuer=self.url, keys=tuple(key.public for key in keys), max_life=LIFE
        )

    def rotate(self) -> None:
        """One half of a rotation: another key is made, which every node may learn of; or it signs from now on, and the
        old one is gone."""
        if self._next is self._key:
            self._made += 1
            self._next = signer("EdDSA", f"key-{self._made}")
        else:
            self._key = self._next
