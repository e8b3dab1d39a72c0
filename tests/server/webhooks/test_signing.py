"""Signatures, judged by the reference library and by the specification's own words."""

from __future__ import annotations

import os
import time
from base64 import b64decode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from greenroom.errors import IllegalArgumentError
from greenroom.model import WebhookEndpoint
from greenroom.server.webhooks import signing
from tests.server.http_service import FakeService


def test_a_symmetric_signature_is_what_the_reference_library_takes() -> None:
    secret = signing.new_secret(os.urandom, asymmetric=False)
    body = '{"name":"Zoë 🎈"}'.encode()
    headers = signing.headers([secret], "e1", int(time.time()), body)
    assert Webhook(secret.shown()).verify(body, headers) == {"name": "Zoë 🎈"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.shown()).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.shown()).verify(body, {**headers, "webhook-id": "e2"})


def test_the_specifications_own_example() -> None:
    secret = signing.WebhookSecret("whsec_plJ3nmyCDGBKInavdOK15jsl")
    body = b'{"event_type":"ping","data":{"success":true}}'
    headers = signing.headers([secret], "msg_loFOjxBNrRLzqYUf", 1731705121, body)
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_an_asymmetric_signature_is_verified_with_the_public_key_alone() -> None:
    secret = signing.new_secret(os.urandom, asymmetric=True)
    headers = signing.headers([secret], "e1", 1_700_000_000, b"{}")
    kind, _, signature = headers["webhook-signature"].partition(",")
    assert kind == "v1a"
    assert secret.shown().startswith("whpk_")
    key = Ed25519PublicKey.from_public_bytes(b64decode(secret.shown().removeprefix("whpk_")))
    key.verify(b64decode(signature), b"e1.1700000000.{}")
    with pytest.raises(InvalidSignature):
        key.verify(b64decode(signature), b"e1.1700000001.{}")


def test_during_a_rotation_either_secret_verifies() -> None:
    old, new = (signing.new_secret(os.urandom, asymmetric=False) for _ in range(2))
    headers = signing.headers([new, old], "e1", int(time.time()), b"{}")
    for secret in (old, new):
        assert Webhook(secret.shown()).verify(b"{}", headers) == {}


def test_secrets_have_24_to_64_bytes() -> None:
    secret = signing.new_secret(os.urandom, asymmetric=False)
    assert 24 <= len(b64decode(secret.text.removeprefix("whsec_"))) <= 64


def test_a_sealed_secret_is_good_for_its_endpoint_alone_and_ends() -> None:
    secrets = FakeService().tenants.secrets
    secret = signing.WebhookSecret("whsec_" + "A" * 43 + "=", expires_at=2_000)
    sealed = signing.seal_secret(secrets, "app", "wh_1", secret)
    assert "AAAA" not in sealed
    endpoint = WebhookEndpoint(id="wh_1", url="https://x.example", sealed_secrets=(sealed,))
    assert signing.open_secrets(secrets, "app", endpoint, 1.0) == [secret]
    assert signing.open_secrets(secrets, "app", endpoint, 2.0) == []
    other = WebhookEndpoint(id="wh_2", url="https://x.example", sealed_secrets=(sealed,))
    with pytest.raises(IllegalArgumentError):
        signing.open_secrets(secrets, "app", other, 1.0)
    with pytest.raises(IllegalArgumentError):
        signing.open_secrets(secrets, "another", endpoint, 1.0)
