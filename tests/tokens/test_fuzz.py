"""Mutations of a good token, and bytes from nowhere. `--hypothesis-seed` repeats a run; a failure prints its own."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64decode

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from greenroom.errors import TokenError, TokenInvalidError
from greenroom.tokens import TokenKind, parse_basic, peek, verify
from greenroom.tokens.reader import read_object
from tests.tokens.forge import CLAIMS, HEADER, ISSUER, NOW, RING, as_bytes, control, encode, forge

GOOD = control()
TEXT = st.text(max_size=60) | st.text('{}[]",:\\u0123456789.eE+- aA_=ntf\x00', max_size=200)
REPEATABLE = settings(
    max_examples=200, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def edits(draw: st.DrawFn, good: bytes) -> bytes:
    """`good` with one to three pieces cut out, put in, or doubled."""
    raw = good
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 12)))
        piece = draw(st.binary(max_size=6) | st.sampled_from([raw[start:end] * 2, b'"', b"\\u0061", b"{", b"]", b"."]))
        raw = raw[:start] + piece + raw[end:]
    return raw


def is_accepted(token: object) -> bool:
    try:
        verify(token, RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
    except TokenError:
        return False
    return True


@REPEATABLE
@given(edits(GOOD.encode()))
def test_no_mutation_of_a_token_is_accepted(raw: bytes) -> None:
    token = raw.decode("latin-1")
    note(token)
    assert is_accepted(token) == (token == GOOD)


@REPEATABLE
@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_is_accepted(part: int, position: int, bit: int) -> None:
    segments = GOOD.split(".")
    raw = bytearray(urlsafe_b64decode(segments[part] + "=="))
    raw[position % len(raw)] ^= 1 << bit
    segments[part] = encode(bytes(raw))
    assert not is_accepted(".".join(segments))


@REPEATABLE
@given(edits(as_bytes(CLAIMS)))
def test_signed_claims_of_any_kind_end_in_a_documented_way(raw: bytes) -> None:
    """Accepted or refused with our own error; where accepted, the times and the address are what they must be."""
    token = forge(claims=raw)
    if is_accepted(token):
        claims = read_object(raw, "payload")
        assert (claims["iss"], claims["aud"]) == (ISSUER, "greenroom:session")
        assert 1 <= claims["exp"] - claims["iat"] <= 86_400
        assert claims["iat"] <= NOW + 5
        assert claims["exp"] + 30 > NOW


@REPEATABLE
@given(edits(as_bytes(HEADER)))
def test_signed_headers_of_any_kind_end_in_a_documented_way(raw: bytes) -> None:
    if is_accepted(forge(header=raw)):
        assert read_object(raw, "header") == HEADER


@REPEATABLE
@given(TEXT | st.binary(max_size=200) | st.none() | st.integers())
def test_nothing_from_nowhere_is_accepted(token: object) -> None:
    assert not is_accepted(token)
    with pytest.raises(TokenInvalidError):
        peek(token)


@REPEATABLE
@given(st.binary(max_size=300) | TEXT.map(lambda text: text.encode("utf-8", "replace")))
def test_the_reader_of_json_gives_an_object_or_our_error(raw: bytes) -> None:
    try:
        assert type(read_object(raw, "payload")) is dict
    except TokenInvalidError:
        pass


@REPEATABLE
@given(st.text(max_size=100), st.binary(max_size=100))
def test_the_reader_of_basic_never_raises(text: str, raw: bytes) -> None:
    parse_basic(text)
    assert len(parse_basic(f"Basic {b64encode(raw).decode()}")) <= 4
