"""Client access tokens that an app's backend signs by itself, with a key of `greenroom apps keys generate`."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from greenroom.errors import IllegalArgumentError
from greenroom.model import RoomGrant
from greenroom.room_names import check_room_grants

LIFE = 3_600
"""Seconds; the default."""
MAX_LIFE = 86_400


def sign_client_token(
    key: str,
    *,
    external_id: str,
    name: str | None = None,
    avatar_url: str | None = None,
    rooms: Iterable[RoomGrant] | None = None,
    life: int = LIFE,
    now: float | None = None,
) -> str:
    """A client access token for the participant of `external_id`. Nothing is asked of the service.

    key: what `greenroom apps keys generate` printed, one line of JSON. Keep it as any secret: it signs in anybody.
    external_id: 1 to 1,024 bytes of UTF-8. name, avatar_url: set at `open` where the client brings none; None leaves
    them. rooms: what the token grants in rooms, up to 32 entries, where the application's rooms.access is ``granted``;
    None: nothing. The issuer of a key that was generated before version 0.3
    has no `roomsClaim`: generate another. life: 1 to 86,400 s. now: Unix seconds; None: the clock.
    Raises IllegalArgumentError, which never holds the key. Needs ``greenroom[backend]``.
    """
    jwk = _read(key)
    if not 1 <= len(external_id.encode("utf-8", "surrogatepass")) <= 1024:
        raise IllegalArgumentError("external_id must be a string of 1 to 1,024 bytes of UTF-8.")
    if not 1 <= life <= MAX_LIFE or life != int(life):
        raise IllegalArgumentError(f"life must be whole seconds from 1 to {MAX_LIFE}.")
    grants = None if rooms is None else [{"name": one.name, "can": one.can} for one in check_room_grants(rooms)]
    issued_at = int(time.time() if now is None else now)
    claims = {
        "iss": jwk["iss"], "aud": jwk["aud"], "sub": external_id, "name": name, "picture": avatar_url,
        "rooms": grants,
        "iat": issued_at, "exp": issued_at + life, "jti": secrets.token_urlsafe(16),
    }  # fmt: skip
    header = {"alg": "EdDSA", "typ": "JWT", "kid": jwk["kid"]}
    signed = f"{_segment(header)}.{_segment({name: one for name, one in claims.items() if one is not None})}"
    return f"{signed}.{_encode(_sign(jwk['d'], signed.encode()))}"


def _read(key: str) -> dict[str, str]:
    try:
        jwk = json.loads(key)
    except (ValueError, TypeError):
        jwk = None
    members = ("kty", "crv", "d", "kid", "iss", "aud")
    if not isinstance(jwk, dict) or not all(isinstance(jwk.get(one), str) for one in members):
        raise IllegalArgumentError(
            "This is not a key of greenroom apps keys generate.", hint="Pass the line of JSON that it printed, whole."
        )
    if (jwk["kty"], jwk["crv"]) != ("OKP", "Ed25519"):
        raise IllegalArgumentError("The key is not an Ed25519 key.", hint="Use one of greenroom apps keys generate.")
    return jwk


def _sign(private: str, message: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise IllegalArgumentError(
            "Signing needs the package cryptography.",
            hint="Install cryptography, or greenroom with its extra: greenroom[backend].",
        ) from None
    try:
        key = Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(private + "=" * (-len(private) % 4)))
    except ValueError:
        key = None
    if key is None:  # raised out here: the first error could hold parts of the key
        raise IllegalArgumentError("The key's member d is not an Ed25519 private key.")
    return key.sign(message)


def _segment(members: dict[str, Any]) -> str:
    return _encode(json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode())


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
