"""Looking into tokens, for ``greenroom token inspect``."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

from greenroom.cli.exits import CliError, Exit

_INSTANTS = ("iat", "exp", "nbf")
_NO_INSTANT = "not a time in seconds since 1970"


def looked_into(text: str) -> dict[str, Any]:
    """What the token says of itself, header first; times as text, and whether it is over. Raises CliError."""
    parts = text.split(".")
    if len(parts) != 3:
        raise CliError("This is not a token: it does not have three parts with dots between them.", Exit.USAGE)
    try:
        header, claims = (_decoded(part) for part in parts[:2])
    except (ValueError, RecursionError):
        raise CliError("This is not a token: its header and claims are not JSON in base64url.", Exit.USAGE) from None
    found: dict[str, Any] = {**header, **claims}
    for name in _INSTANTS:
        if name in found:
            found[f"{name}Text"] = _instant(found[name])
    if found.get("expText", _NO_INSTANT) != _NO_INSTANT:
        left = int(found["exp"] - time.time())
        found["life"] = f"over for {-left} s" if left <= 0 else f"{left} s left"
    return found


def verified(text: str, jwks: dict[str, Any]) -> str:
    """What the service's keys say of the signature; ``good`` or why it is not. Raises CliError."""
    from greenroom.errors import GreenroomError, TokenExpiredError
    from greenroom.tokens import KeyRing, SigningKey, TokenKind, verify

    keys = [SigningKey.from_jwk(jwk) for jwk in jwks.get("keys", ())]
    if not keys:
        raise CliError("The service signs with a shared secret (HS256): only the service can verify.", Exit.FAILED)
    ring = KeyRing(keys[0], keys[1:])
    said = looked_into(text)
    kind = TokenKind.API if said.get("typ") == TokenKind.API.typ else TokenKind.CLIENT
    try:
        verify(text, ring, kind=kind, issuer=str(said.get("iss", "")), now=time.time())
    except TokenExpiredError:
        return "valid, but the token has expired"
    except GreenroomError as error:
        raise CliError(str(error), Exit.CREDENTIALS) from None
    return "good"


def _instant(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NO_INSTANT
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return _NO_INSTANT


def _decoded(part: str) -> dict[str, Any]:
    value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
