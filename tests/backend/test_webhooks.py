"""`greenroom.backend.webhooks`: what the service signs is taken, and nothing else."""

from __future__ import annotations

import os

import pytest

from greenroom.backend import WebhookVerificationError, verify_webhook
from greenroom.errors import IllegalArgumentError
from greenroom.server.webhooks.signing import headers, new_secret

BODY = (
    b'{"id":"e1","type":"session.opened","timestamp":"2026-01-01T00:00:00.000Z","at":1767225600000,"appKey":"k",'
    b'"participantId":"p","sessionId":"s","data":{}}'
)
NOW = 1_767_225_600


@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_genuine_message(asymmetric: bool) -> None:
    secret, other = (new_secret(os.urandom, asymmetric=asymmetric) for _ in range(2))
    # During a rotation a message carries two signatures.
    signed = headers([other, secret], "e1", NOW, BODY)
    event = verify_webhook(BODY, {name.title(): value for name, value in signed.items()}, secret.shown(), now=NOW + 10)
    assert (event.id, event.type, event.session_id) == ("e1", "session.opened", "s")


@pytest.mark.parametrize("asymmetric", [False, True])
def test_what_is_not_genuine(asymmetric: bool) -> None:
    secret, other = (new_secret(os.urandom, asymmetric=asymmetric) for _ in range(2))
    signed = headers([secret], "e1", NOW, BODY)
    shown = secret.shown()
    for body, given, key, at in (
        (BODY + b" ", signed, shown, NOW),
        (BODY, signed | {"webhook-id": "e2"}, shown, NOW),
        (BODY, signed | {"webhook-signature": "v1,AAAA v1a,AAAA v9,x x"}, shown, NOW),
        (BODY, signed | {"webhook-timestamp": "soon"}, shown, NOW),
        (BODY, signed, other.shown(), NOW),
        (BODY, signed, shown, NOW + 301),
        (BODY, signed, shown, NOW - 301),
        (BODY, {}, shown, NOW),
    ):
        with pytest.raises(WebhookVerificationError):
            verify_webhook(body, given, key, now=at)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%", "whpk_AAAA", "plain"])
def test_a_secret_that_is_none(secret: str) -> None:
    signed = headers([new_secret(os.urandom, asymmetric=False)], "e1", NOW, BODY)
    with pytest.raises(IllegalArgumentError, match="not the secret of a webhook endpoint"):
        verify_webhook(BODY, signed, secret, now=NOW)
