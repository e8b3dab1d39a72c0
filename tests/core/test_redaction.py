"""What may be shown of an address."""

from __future__ import annotations

import pytest

from greenroom.core.redaction import redact_addresses


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:s3cret@redis.example:6379/0", "redis://***@redis.example:6379/0"),
        ("redis://user:s3cret@a", "redis://***@a"),
        ("Error 111 connecting to redis://:s3@cret@a:1: refused", "Error 111 connecting to redis://***@a:1: refused"),
        ("rediss+cluster://:s3cret@a,b:2/0?username=me&sentinel_password=s3cret&db=1",
         "rediss+cluster://***@a,b:2/0?username=***&sentinel_password=***&db=1"),
        ("https://sessions.example.com/x?y=1", "https://sessions.example.com/x?y=1"),
        ("anna@example.com wrote", "anna@example.com wrote"),
        ("one redis://a and anna@example.com", "one redis://a and anna@example.com"),
    ],
)  # fmt: skip
def test_user_and_password_are_blanked_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact_addresses(text) == shown
