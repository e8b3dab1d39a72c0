"""Everything that must be refused is, for the right reason, with bounded work and without revealing secrets."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from greenroom.errors import TokenError, TokenInvalidError
from greenroom.tokens import TokenKind, verify
from greenroom.tokens.reader import decode_base64url
from tests.tokens.corpus import Case, corpus
from tests.tokens.forge import (
    CLAIMS,
    HEADER,
    ISSUER,
    NOW,
    RING,
    Work,
    claims_raw,
    claims_with,
    claims_without,
    control,
    encode,
    forge,
)

CORPUS = corpus()

MOST_CALLS = 200
"""Calls of Python or C for one refusal, whatever it is. An acceptance takes about 60."""


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """What is only done once, such as msgspec's look at a struct, is not the token's doing."""
    for kind, typ in ((TokenKind.CLIENT, "session+jwt"), (TokenKind.API, "api+jwt")):
        with pytest.raises(TokenInvalidError):
            verify(forge({**HEADER, "typ": typ}, {}), RING, kind=kind, issuer=ISSUER, now=NOW)


def refusal(case: Case) -> TokenError:
    try:
        verify(case.token, RING, kind=case.kind, issuer=ISSUER, now=NOW)
    except TokenError as error:
        return error
    raise AssertionError(f"accepted: {case.name}")


def test_the_control_is_accepted() -> None:
    token = verify(control(), RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
    assert (token.external_id, token.scopes) == ("anna", ("conf:create", "session:update"))


def test_the_forger_makes_good_tokens_too() -> None:
    assert verify(forge(HEADER, CLAIMS), RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW).jti == CLAIMS["jti"]


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(claims_with(future="claim", more=[[{"x": 1}]]), id="unknown claims up to depth 4"),
        pytest.param(claims_raw("xid", '"\\ud83d\\ude00[[[[[["'), id="a whole surrogate pair, brackets in a string"),
        pytest.param(claims_raw("iat", f" \t\r\n{NOW} "), id="JSON's own white space"),
        pytest.param(claims_with(nbf=NOW + 5, iat=NOW + 5), id="5 s ahead"),
        pytest.param(claims_with(iat=NOW - 86_429, exp=NOW - 29), id="within the leeway, with the longest life"),
        pytest.param(claims_with(scope=""), id="no scopes"),
        pytest.param(claims_with(pol={}), id="a policy that narrows nothing"),
        pytest.param({**claims_without("xid"), "sub": CLAIMS["app"]}, id="anonymous"),
    ],
)
def test_neighbours_of_the_corpus_are_accepted(claims: object) -> None:
    verify(forge(claims=claims), RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)


def test_the_corpus_is_large_and_broad() -> None:
    sizes = Counter(category for category, _ in CORPUS)
    assert sum(sizes.values()) >= 300
    assert len(sizes) == 16
    assert min(sizes.values()) >= 10


@pytest.mark.parametrize(
    "case", [case for _, case in CORPUS], ids=[f"{category}-{case.name}"[:80] for category, case in CORPUS]
)
def test_refused(case: Case) -> None:
    with Work() as work:
        error = refusal(case)
    assert type(error) is case.error
    assert case.mentions in str(error)
    assert work.calls <= MOST_CALLS
    assert error.__context__ is None  # it would hold parts of the token


def test_no_refusal_shows_the_token() -> None:
    for _, case in CORPUS:
        if isinstance(case.token, str):
            text = str(refusal(case))
            for run in re.findall(r"[A-Za-z0-9_-]{16,}", text):
                assert run not in case.token


def test_16_kib_are_refused_before_decoding() -> None:
    whole = forge(claims=claims_with(x="x" * 12_200))
    assert len(whole) > 16_384
    for token in (whole, "A" * 16_384, "." * 16_384, "[" * 16_384, "é" * 16_384, control() + "=" * 16_384):
        with pytest.raises(TokenInvalidError, match="longer than 4096"), Work() as work:
            verify(token, RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
        assert not {"decode_base64url", "a2b_base64", "split", "encode", "read_header"} & set(work.names)
        assert work.calls < 40


def test_an_ungenuine_token_never_reaches_the_parser_of_claims() -> None:
    head, claims, signature = forge(claims="[" * 2500).split(".")
    with pytest.raises(TokenInvalidError, match="signature"), Work() as work:
        verify(f"{head}.{claims}.{signature[:-4]}AAAA", RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
    assert "read_object" not in work.names


@pytest.mark.interpreted
def test_a_signature_of_the_wrong_length_is_not_even_tried() -> None:
    head, claims, signature = control().split(".")
    raw = decode_base64url(signature, "signature")
    for wrong in map(encode, (b"", raw[:-1], raw + b"\x00")):
        with pytest.raises(TokenInvalidError, match="signature"), Work() as work:
            verify(f"{head}.{claims}.{wrong}", RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
        assert "verifies" in work.names
        assert work.names.count("verify") == 1  # ours, and not joserfc's
