"""Checking what the service posts (Standard Webhooks)."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

from greenroom.backend.models import ServiceEvent
from greenroom.backend.requests import decoded
from greenroom.errors import IllegalArgumentError

TOLERANCE = 300.0
"""Seconds that a message's timestamp may differ from the clock."""


class WebhookVerificationError(IllegalArgumentError):
    """The message is not the service's, was changed, or is too old: answer 400 and do nothing else."""


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str, *, now: float | None = None) -> ServiceEvent:
    """The event of a webhook message, if it is genuine.

    body: as it came, before any parsing. headers: names in any letter case. secret: ``whsec_…``, or the public key
    ``whpk_…`` of an asymmetric endpoint. now: Unix seconds; None: the clock. Raises WebhookVerificationError, and
    IllegalArgumentError for a secret that is none.
    """
    named = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = named.get("webhook-id", ""), named.get("webhook-timestamp", "")
    signatures = [one.partition(",") for one in named.get("webhook-signature", "").split(" ") if one]
    if not message_id or not stamp or not signatures:
        raise WebhookVerificationError(
            "The headers webhook-id, webhook-timestamp and webhook-signature are missing.",
            hint="Pass the request's headers; a framework may have dropped or renamed them.",
        )
    if not stamp.isdecimal() or abs(int(stamp[:16]) - (time.time() if now is None else now)) > TOLERANCE:
        raise WebhookVerificationError(
            "The message's timestamp is more than five minutes from this machine's clock.",
            hint="Set the clock; a message this old may be a replay.",
        )
    content = f"{message_id}.{stamp}.".encode() + body
    check = _checker(secret)
    if not any(check(version, content, signature) for version, _, signature in signatures):
        raise WebhookVerificationError(
            "No signature of the message fits.",
            hint="Pass the body's bytes as they came, and the secret of this endpoint.",
        )
    return decoded(body, ServiceEvent)


def _checker(secret: str) -> Callable[[str, bytes, str], bool]:
    """Whether a signature of this version and text is one of the content."""
    prefix, _, text = secret.strip().partition("_")
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b""
    if prefix == "whsec" and key:
        return lambda version, content, signature: version == "v1" and _hmac_fits(key, content, signature)
    if prefix == "whpk" and len(key) == 32:
        return lambda version, content, signature: version == "v1a" and _ed25519_fits(key, content, signature)
    raise IllegalArgumentError(
        "This is not the secret of a webhook endpoint.", hint="It begins with whsec_ or whpk_: see greenroom webhooks."
    )


def _hmac_fits(key: bytes, content: bytes, signature: str) -> bool:
    return hmac.compare_digest(b64encode(hmac.digest(key, content, "sha256")), signature.encode())


def _ed25519_fits(key: bytes, content: bytes, signature: str) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise IllegalArgumentError(
            "An asymmetric endpoint's signature needs the package cryptography.",
            hint="Install cryptography, or greenroom with its extra: greenroom[backend].",
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(b64decode(signature, validate=True), content)
    except (InvalidSignature, ValueError):
        return False
    return True
