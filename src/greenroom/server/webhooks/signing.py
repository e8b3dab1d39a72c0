"""Secrets and signatures of webhooks (Standard Webhooks, sections "Signature scheme" and "Secrets").

Symmetric: ``v1``, HMAC-SHA256 with a ``whsec_`` secret that the app is shown once. Asymmetric: ``v1a``, Ed25519; the
app gets the public key ``whpk_``, the private one never leaves the service. During a rotation a message carries a
signature of each valid secret, newest first.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from greenroom.model import WebhookEndpoint
from greenroom.server.tenants.secrets import SecretStore

SECRET_BYTES = 32
"""The specification asks for 24 to 64."""
SYMMETRIC_PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"


class WebhookSecret(msgspec.Struct, frozen=True):
    """A secret as it is sealed. expires_at: Unix ms, None: not being replaced."""

    text: str
    expires_at: int | None = None

    def shown(self) -> str:
        """What the app verifies with: the secret itself, or the public key."""
        if self.text.startswith(SYMMETRIC_PREFIX):
            return self.text
        return PUBLIC_PREFIX + b64encode(_private(self.text).public_key().public_bytes_raw()).decode()

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """One signature of the header webhook-signature. timestamp: Unix seconds."""
        if self.text.startswith(SYMMETRIC_PREFIX):
            signed: str = Webhook(self.text).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body.decode())
            return signed
        content = f"{message_id}.{timestamp}.".encode() + body
        return "v1a," + b64encode(_private(self.text).sign(content)).decode()


def _private(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b64decode(text.removeprefix(PRIVATE_PREFIX)))


def new_secret(random_bytes: Callable[[int], bytes], *, asymmetric: bool) -> WebhookSecret:
    """A fresh secret."""
    prefix = PRIVATE_PREFIX if asymmetric else SYMMETRIC_PREFIX
    return WebhookSecret(prefix + b64encode(random_bytes(SECRET_BYTES)).decode())


def seal_secret(secrets: SecretStore, app_key: str, endpoint_id: str, secret: WebhookSecret) -> str:
    """As it is stored."""
    return secrets.seal(msgspec.json.encode(secret).decode(), _context(app_key, endpoint_id))


def open_secrets(secrets: SecretStore, app_key: str, endpoint: WebhookEndpoint, now: float) -> list[WebhookSecret]:
    """The endpoint's valid secrets, newest first. now: Unix seconds. Raises IllegalArgumentError."""
    opened = [
        msgspec.json.decode(secrets.open(sealed, _context(app_key, endpoint.id)), type=WebhookSecret)
        for sealed in endpoint.sealed_secrets
    ]
    return [secret for secret in opened if secret.expires_at is None or secret.expires_at > now * 1000]


def headers(secrets: Iterable[WebhookSecret], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of the specification."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(secret.sign(message_id, timestamp, body) for secret in secrets),
    }


def _context(app_key: str, endpoint_id: str) -> str:
    return f"greenroom webhook secret {app_key} {endpoint_id}"
