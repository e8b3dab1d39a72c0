"""Signing keys and the ring of them.

A key's algorithm is fixed by our record of it, never by a token's header. joserfc makes the keys and exports the public
ones; what it is given has been read strictly first. Signatures are made by `cryptography`: by way of joserfc each would
cost 10 to 40 µs more, and `hmac.digest` lets another thread take over each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hmac import compare_digest
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OctKey, OKPKey

from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.tokens.claims import MAX_LIFE
from greenroom.tokens.encoding import draw, encode_base64url
from greenroom.tokens.reader import decode_base64url

OVERLAP_SECONDS = MAX_LIFE + 3_600
"""How long a replaced key is still accepted: the longest life, and an hour for clocks, caches and a slow hand-over."""

_SECRET_BYTES = 32
_KID_BYTES = 12


class Algorithm(Enum):
    """How tokens are signed."""

    EDDSA = "EdDSA"
    HS256 = "HS256"


# Per algorithm: JWK key type, curve, bytes of a signature.
_FORM: dict[Algorithm, tuple[str, str | None, int]] = {
    Algorithm.EDDSA: ("OKP", "Ed25519", 64),
    Algorithm.HS256: ("oct", None, 32),
}


class SigningKey:
    """One key of a ring. Its text never shows the private part.

    kid: its name in headers and key sets. alg: what it signs with. created_at: Unix seconds.
    Made by `generate_key`, `from_jwk` or `from_bytes`.
    """

    __slots__ = ("_hmac", "_jose", "_private", "_public", "_signature_bytes", "alg", "can_sign", "created_at", "kid")

    def __init__(self, kid: str, alg: Algorithm, jose: OKPKey | OctKey, created_at: float) -> None:
        self.kid = kid
        self.alg = alg
        self.created_at = float(created_at)
        self._jose = jose
        public = jose.get_op_key("verify")
        self._public = public if isinstance(public, Ed25519PublicKey) else None
        private = jose.get_op_key("sign") if jose.is_private else None
        self._private = private if isinstance(private, Ed25519PrivateKey) else None
        self._hmac = hmac.HMAC(private, hashes.SHA256()) if isinstance(private, bytes) else None
        self._signature_bytes = _FORM[alg][2]
        self.can_sign = jose.is_private

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, alg={self.alg.value}, created_at={self.created_at!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a signing key is not pickled: use to_bytes, and seal it")

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`. Raises `IllegalArgumentError` where only the public part is held."""
        if self._private is not None:
            return self._private.sign(message)
        if self._hmac is not None:
            signature = self._hmac.copy()
            signature.update(message)
            return signature.finalize()
        raise IllegalArgumentError(f"Key {self.kid} is public: it verifies, it cannot sign.", hint="Use a private key.")

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's for `message`. Signatures of the wrong length are not even tried.

        With the private part of a key the message is signed again and compared in constant time: signatures of both
        algorithms are deterministic (RFC 8032, section 5.1.6; RFC 2104), and signing with Ed25519 costs a third of
        verifying.
        """
        if len(signature) != self._signature_bytes:
            return False
        if self._public is None or self._private is not None:
            return compare_digest(self.sign(message), signature)
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def public_jwk(self) -> dict[str, str] | None:
        """The public key (RFC 7517, RFC 8037), or None for a shared secret, which has no public part."""
        if self.alg is Algorithm.HS256:
            return None
        public = self._jose.as_dict(private=False)
        return {"kty": "OKP", "crv": "Ed25519", "x": str(public["x"]), **self._names()}

    def to_bytes(self) -> bytes:
        """The whole record, private part and all, as JSON: for `greenroom.tokens.seal_key`, never to be stored bare."""
        kty, crv, _ = _FORM[self.alg]
        whole = self._jose.as_dict(private=self.can_sign)
        material = {name: whole[name] for name in ("x", "d", "k") if name in whole}
        curve = {} if crv is None else {"crv": crv}
        return msgspec.json.encode({"kty": kty, **curve, **material, **self._names(), "createdAt": self.created_at})

    @classmethod
    def from_bytes(cls, data: bytes) -> SigningKey:
        """The inverse of `to_bytes`. Raises `IllegalArgumentError`."""
        try:
            record = msgspec.json.decode(data, type=dict[str, str | int | float])
            created_at = record.pop("createdAt")
        except (msgspec.MsgspecError, KeyError):
            record, created_at = {}, ""
        if isinstance(created_at, str):
            raise IllegalArgumentError("These bytes are no key record.", hint="Restore the key from a backup.")
        return cls.from_jwk(record, created_at=float(created_at))

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, created_at: float = 0.0) -> SigningKey:
        """A key from a JWK (RFC 7517): private, or public, which verifies only.

        ``kid`` and ``alg`` are required, ``kty`` and ``crv`` must fit ``alg``, ``use`` and ``key_ops`` must allow
        signatures, and an Ed25519 ``d`` must belong to its ``x``. Raises `IllegalArgumentError`.
        """
        alg, kid = _algorithm_of(jwk), jwk.get("kid")
        if type(kid) is not str or not 1 <= len(kid) <= 64:
            raise IllegalArgumentError("A key needs a kid of 1 to 64 characters.")
        try:
            jose = _okp(jwk) if alg is Algorithm.EDDSA else _oct(jwk)
        except (GreenroomError, ValueError):
            jose = None
        if jose is None:
            # Raised out here: the first error could hold parts of the key.
            raise IllegalArgumentError(f"The material of key {kid[:64]!r} does not fit its alg {alg.value}.")
        return cls(kid, alg, jose, created_at)

    def _names(self) -> dict[str, str]:
        return {"kid": self.kid, "alg": self.alg.value, "use": "sig"}


def generate_key(
    random_bytes: Callable[[int], bytes], *, created_at: float, alg: Algorithm = Algorithm.EDDSA
) -> SigningKey:
    """A new key. random_bytes: a cryptographic source, e.g. ``os.urandom``. created_at: Unix seconds."""
    kid = encode_base64url(draw(random_bytes, _KID_BYTES))
    secret = draw(random_bytes, _SECRET_BYTES)
    names = {"kid": kid, "alg": alg.value}
    if alg is Algorithm.HS256:
        return SigningKey.from_jwk({"kty": "oct", "k": encode_base64url(secret), **names}, created_at=created_at)
    okp = {"kty": "OKP", "crv": "Ed25519", "d": encode_base64url(secret), "x": encode_base64url(_public_of(secret))}
    return SigningKey.from_jwk({**okp, **names}, created_at=created_at)


class KeyRing:
    """The keys that tokens are accepted from; `current` signs new ones. Immutable: changes make another ring.

    previous: keys replaced, newest first, accepted until `pruned` drops them.
    upcoming: keys that are published and accepted, but do not sign yet.

    Keys of both algorithms may overlap while the setting changes: a key's own record says which it is for, so neither
    can be used as the other. Raises `IllegalArgumentError` for two keys of one kid.
    """

    __slots__ = ("by_kid", "current", "previous", "upcoming")

    def __init__(
        self, current: SigningKey, previous: Sequence[SigningKey] = (), upcoming: Sequence[SigningKey] = ()
    ) -> None:
        self.current = current
        self.previous = tuple(previous)
        self.upcoming = tuple(upcoming)
        self.by_kid: Mapping[str, SigningKey] = {key.kid: key for key in self.keys}
        """All keys, each by exactly its name."""
        if len(self.by_kid) != len(self.keys):
            raise IllegalArgumentError("Two keys of the ring have the same kid.", hint="Generate one of them again.")

    def __repr__(self) -> str:
        return f"KeyRing(current={self.current!r}, previous={self.previous!r}, upcoming={self.upcoming!r})"

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """All keys: upcoming, current, previous."""
        return (*self.upcoming, self.current, *self.previous)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The key set for ``/.well-known/jwks.json`` (RFC 7517, section 5): public keys only, never a shared secret."""
        return {"keys": [jwk for key in self.keys if (jwk := key.public_jwk()) is not None]}

    def pruned(self, now: float) -> KeyRing:
        """Without previous keys whose last token is over: `OVERLAP_SECONDS` after the key that followed was made."""
        followers = (self.current, *self.previous)
        pairs = zip(self.previous, followers, strict=False)
        kept = tuple(key for key, next_key in pairs if next_key.created_at + OVERLAP_SECONDS > now)
        return KeyRing(self.current, kept, self.upcoming)


def _algorithm_of(jwk: Mapping[str, Any]) -> Algorithm:
    for alg, (kty, crv, _) in _FORM.items():
        if jwk.get("alg") == alg.value and jwk.get("kty") == kty and jwk.get("crv") == crv:
            break
    else:
        raise IllegalArgumentError("A key's alg, kty and crv are not EdDSA, OKP, Ed25519, nor HS256, oct.")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise IllegalArgumentError("The key's use or key_ops are for something other than signatures.")
    return alg


def _okp(jwk: Mapping[str, Any]) -> OKPKey | None:
    public = decode_base64url(str(jwk.get("x", "")), "key")
    if len(public) != 32:
        return None
    clean: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(public)}
    if "d" in jwk:
        private = decode_base64url(str(jwk["d"]), "key")
        if len(private) != 32 or _public_of(private) != public:
            return None
        clean["d"] = encode_base64url(private)
    return OKPKey.import_key(clean)


def _oct(jwk: Mapping[str, Any]) -> OctKey | None:
    secret = decode_base64url(str(jwk.get("k", "")), "key")
    # RFC 7518, section 3.2: not shorter than the hash.
    return None if len(secret) < _SECRET_BYTES else OctKey.import_key(secret)


def _public_of(private: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
