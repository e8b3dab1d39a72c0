"""Base64url without padding, and randomness that is as much as was asked for."""

from __future__ import annotations

import os
from functools import partial

import pytest

from greenroom.tokens.encoding import draw, encode_base64url


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff", "-_8"), (bytes(3), "AAAA")],
)
def test_base64url(raw: bytes, text: str) -> None:
    assert encode_base64url(raw) == text


def _give(found: bytes, _count: int) -> bytes:
    return found


def test_a_source_that_gives_too_little_is_noticed() -> None:
    assert len(draw(os.urandom, 16)) == 16
    for wrong in (b"", b"x" * 15, b"x" * 17):
        with pytest.raises(RuntimeError, match=f"gave {len(wrong)} bytes where 16"):
            draw(partial(_give, wrong), 16)
