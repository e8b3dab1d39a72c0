"""Issuers for tests: key pairs of each algorithm, tokens that say anything, and key sets that come from a script."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from greenroom.model import TokenIssuer
from greenroom.server.outbound.documents import Document, FetchFailedError
from tests.tokens.forge import as_bytes, encode

ALGORITHMS = ("EdDSA", "ES256", "RS256", "PS256", "HS256")
ISSUER = "https://id.example"
AUDIENCE = "my-app"
SECRET = "a shared secret that has more than 32 bytes"


class NoFetcher:
    """Takes any URL and gets nothing."""

    def check(self, url: str) -> str:
        return url

    async def fetch(self, url: str, *, app: str) -> Document:
        raise FetchFailedError("there is nothing")


class ScriptedFetcher(NoFetcher):
    """Gives what `answer` is at the time: a key set, or why there is none."""

    def __init__(self, answer: Any = "there is nothing") -> None:
        self.answer = answer
        self.max_age: float | None = None
        self.urls: list[str] = []

    async def fetch(self, url: str, *, app: str) -> Document:
        self.urls.append(url)
        if isinstance(self.answer, str):
            raise FetchFailedError(self.answer)
        return Document(json.dumps(self.answer).encode(), self.max_age)


def _number(value: int, size: int) -> str:
    return encode(value.to_bytes(size, "big"))


class Signer:
    """A key pair, or a shared secret, of an issuer. jwk: its public half; None for HS256."""

    def __init__(self, alg: str, kid: str = "key-1", *, bits: int = 2048) -> None:
        self.alg, self.kid = alg, kid
        self.jwk: dict[str, Any] | None
        self.sign: Callable[[bytes], bytes]
        self.pem = b""
        getattr(self, f"_make_{alg[:2].lower()}")(bits)

    @property
    def public(self) -> dict[str, Any]:
        assert self.jwk is not None
        return self.jwk

    def token(self, header: Any = None, claims: Any = None, *, now: float | None = None) -> str:
        """A token that is truly signed, whatever it says. None: what is good."""
        return self.assemble(
            encode(as_bytes(self.header() if header is None else header)),
            encode(as_bytes(good_claims(time.time() if now is None else now) if claims is None else claims)),
        )

    def assemble(self, header: str, claims: str) -> str:
        """A token of two ready segments, truly signed."""
        return f"{header}.{claims}.{encode(self.sign(f'{header}.{claims}'.encode()))}"

    def header(self, **changed: Any) -> dict[str, Any]:
        return {"alg": self.alg, "typ": "JWT", "kid": self.kid, **changed}

    def record(self, **changed: Any) -> TokenIssuer:
        """The issuer as it is stored, with this key; an HS256 secret is to be sealed by the caller."""
        keys = () if self.jwk is None else (self.jwk,)
        plain = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": (self.alg,), "keys": keys}
        return TokenIssuer(**{"id": "iss_1", **plain, **changed})

    def _make_ed(self, _bits: int) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        self.sign = key.sign
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public(key.public_key(), {"kty": "OKP", "crv": "Ed25519", "x": encode(raw)})

    def _make_es(self, _bits: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())

        def sign(message: bytes) -> bytes:
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")

        self.sign = sign
        numbers = key.public_key().public_numbers()
        point = {"x": _number(numbers.x, 32), "y": _number(numbers.y, 32)}
        self._public(key.public_key(), {"kty": "EC", "crv": "P-256", **point})

    def _make_rs(self, bits: int) -> None:
        key = rsa.generate_private_key(65_537, bits)
        self.sign = lambda message: key.sign(message, padding.PKCS1v15(), SHA256())
        self._public_rsa(key, bits)

    def _make_ps(self, bits: int) -> None:
        key = rsa.generate_private_key(65_537, bits)
        pss = padding.PSS(padding.MGF1(SHA256()), 32)
        self.sign = lambda message: key.sign(message, pss, SHA256())
        self._public_rsa(key, bits)

    def _public_rsa(self, key: rsa.RSAPrivateKey, bits: int) -> None:
        numbers = key.public_key().public_numbers()
        members = {"kty": "RSA", "n": _number(numbers.n, bits // 8), "e": _number(numbers.e, 3)}
        self._public(key.public_key(), members)

    def _make_hs(self, _bits: int) -> None:
        self.sign = lambda message: hmac.digest(SECRET.encode(), message, "sha256")
        self.jwk = None

    def _public(self, key: Any, members: dict[str, Any]) -> None:
        self.pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.jwk = {**members, "kid": self.kid, "alg": self.alg, "use": "sig"}


@cache
def signer(alg: str, kid: str = "key-1") -> Signer:
    """The same one for each algorithm and kid: RSA keys take a while to make."""
    return Signer(alg, kid)


def good_claims(now: float, **changed: Any) -> dict[str, Any]:
    """Claims as an identity provider writes them."""
    at = int(now)
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "auth0|anna",
        "iat": at - 10,
        "exp": at + 3590,
        "jti": "e3b0c442",
        "name": "Anna",
        "picture": "https://id.example/anna.png",
        **changed,
    }
