"""A bench for forging tokens: any header and any claims, as text or bytes, signed by anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from types import FrameType
from typing import Any

from greenroom.tokens import Algorithm, KeyRing, SessionPolicyClaim, SigningKey, generate_key, mint_client_token

NOW = 1_800_000_000
ISSUER = "https://greenroom.example"
APP = "0123456789abcdef0123456789abcdef"
PARTICIPANT = "0f8fad5b-d9cb-469f-a165-70867728950e"
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 base point (RFC 8032, section 5.1)


def stream(seed: str) -> Callable[[int], bytes]:
    """A deterministic stand-in for ``os.urandom``: the same keys in every run."""
    state = hashlib.sha256(seed.encode()).digest()
    counter = 0

    def draw(count: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(state + counter.to_bytes(8, "big")).digest(count)

    return draw


RANDOM = stream("forge")
ED = generate_key(RANDOM, created_at=NOW - 1000)
HS = generate_key(RANDOM, created_at=NOW - 2000, alg=Algorithm.HS256)
STRANGER = generate_key(RANDOM, created_at=NOW)
RING = KeyRing(ED, previous=(HS,))

HEADER: dict[str, Any] = {"alg": "EdDSA", "typ": "session+jwt", "kid": ED.kid}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "greenroom:session",
    "app": APP,
    "sub": PARTICIPANT,
    "ver": 2,
    "xid": "anna",
    "scope": "conf:create session:update",
    "iat": NOW - 10,
    "exp": NOW + 3590,
    "jti": "AAECAwQFBgcICQoLDA0ODw",
}


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def as_bytes(value: Any) -> bytes:
    """Bytes as they are, text as UTF-8, anything else as JSON."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)).encode()


def assemble(header: str, claims: str, key: SigningKey = ED) -> str:
    """A token of two ready segments, truly signed."""
    return f"{header}.{claims}.{encode(key.sign(f'{header}.{claims}'.encode()))}"


def forge(header: Any = HEADER, claims: Any = CLAIMS, key: SigningKey = ED) -> str:
    """A token that is truly signed, whatever it says."""
    return assemble(encode(as_bytes(header)), encode(as_bytes(claims)), key)


def forge_hmac(secret: bytes, header: Any, claims: Any = CLAIMS, digest: str = "sha256") -> str:
    """A token signed by HMAC with bytes of the forger's choice."""
    message = f"{encode(as_bytes(header))}.{encode(as_bytes(claims))}"
    return f"{message}.{encode(hmac.digest(secret, message.encode(), digest))}"


def claims_with(**changed: Any) -> dict[str, Any]:
    """The good claims with some changed."""
    return {**CLAIMS, **changed}


def claims_without(*names: str) -> dict[str, Any]:
    """The good claims without some."""
    return {name: value for name, value in CLAIMS.items() if name not in names}


def claims_raw(name: str, literal: str) -> str:
    """The good claims as text, one with a literal that Python would not write."""
    text = json.dumps({**CLAIMS, name: "@@@"}, separators=(",", ":"))
    return text.replace('"@@@"', literal)


def control(version: int = 2) -> str:
    """A token that is good in every respect."""
    return mint_client_token(
        RING,
        issuer=ISSUER,
        app=APP,
        version=version,
        scopes=("conf:create", "session:update"),
        now=NOW - 10,
        random_bytes=stream("control"),
        participant_id=PARTICIPANT,
        external_id="anna",
        policy=SessionPolicyClaim(max_sessions=2, when_full="replace_oldest", same_device="allow"),
    ).token


class Work:
    """Counts the calls, of Python and of C, made inside it: work that does not depend on the machine's mood."""

    def __init__(self) -> None:
        self.calls = 0
        self.names: list[str] = []

    def __enter__(self) -> Work:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.calls += 1
            self.names.append(frame.f_code.co_name)
        elif event == "c_call":
            self.calls += 1
            self.names.append(getattr(argument, "__name__", "?"))
