"""The table of minted tokens: what it spares is reading them and their signature, and nothing else."""

from __future__ import annotations

import math

import pytest

from greenroom.errors import TokenExpiredError, TokenInvalidError
from greenroom.tokens import (
    SESSION_SCOPES,
    Algorithm,
    KeyRing,
    MintedTokens,
    SessionPolicyClaim,
    SigningKey,
    TokenKind,
    generate_key,
    verify,
)
from tests.tokens.corpus import corpus
from tests.tokens.forge import ISSUER, NOW, PARTICIPANT, RING, STRANGER, stream
from tests.tokens.test_mint import client


def table(*tokens: str, capacity: int = 100) -> MintedTokens:
    minted = MintedTokens(stream("table")(32), capacity)
    for token in tokens:
        minted.add(token)
    return minted


def check(token: str, minted: MintedTokens, ring: KeyRing = RING, now: float = NOW + 1, issuer: str = ISSUER) -> str:
    return verify(token, ring, kind=TokenKind.CLIENT, issuer=issuer, now=now, minted=minted).jti


@pytest.mark.interpreted
def test_its_signature_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    minted = client()
    known = table(minted.token)
    asked: list[bytes] = []

    def verifies(_key: SigningKey, message: bytes, _signature: bytes) -> bool:
        asked.append(message)
        return False

    monkeypatch.setattr(SigningKey, "verifies", verifies)
    assert check(minted.token, known) == minted.jti
    assert asked == []
    assert len(known) == 0
    with pytest.raises(TokenInvalidError, match="signature"):
        check(minted.token, known)
    assert len(asked) == 1


@pytest.mark.parametrize("scopes", [(), ("session:update",), SESSION_SCOPES])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("external_id", [None, "anna", "Ännä [[["])
@pytest.mark.parametrize("policy", [None, SessionPolicyClaim(max_sessions=2, when_full="reject")])
def test_it_says_what_reading_the_token_says(
    scopes: tuple[str, ...], version: int, external_id: str | None, policy: SessionPolicyClaim | None
) -> None:
    token = client(
        scopes=scopes, version=version, external_id=external_id, policy=policy,
        participant_id=None if external_id is None else PARTICIPANT,
    ).token  # fmt: skip
    read = verify(token, RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
    assert table(token).take(token) == read
    assert (read.external_id, read.policy, read.not_before) == (external_id, policy, 0)


def test_a_token_altered_anywhere_is_refused() -> None:
    token = client().token
    known = table(token)
    for at in range(len(token)):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(TokenInvalidError):
            check(altered, known)


def test_key_issuer_and_times_count_for_a_known_token_too() -> None:
    minted = client()
    token = minted.token
    with pytest.raises(TokenInvalidError, match="kid"):
        check(token, table(token), ring=KeyRing(STRANGER))
    with pytest.raises(TokenInvalidError, match="iss"):
        check(token, table(token), issuer="https://elsewhere.example")
    with pytest.raises(TokenExpiredError):
        check(token, table(token), now=minted.expires_at + 31)
    for now in (minted.issued_at - 6, math.nan):
        with pytest.raises(TokenInvalidError, match="iat"):
            check(token, table(token), now=now)
    with pytest.raises(TokenInvalidError):
        verify(token, RING, kind=TokenKind.API, issuer=ISSUER, now=NOW + 1, minted=table(token))


def test_what_must_be_refused_is_refused_beside_a_full_table() -> None:
    known = table(*(client(random_bytes=stream(str(number))).token for number in range(50)))
    for _category, case in corpus():
        with pytest.raises((TokenInvalidError, TokenExpiredError)):
            verify(case.token, RING, kind=case.kind, issuer=ISSUER, now=NOW, minted=known)


def test_the_oldest_are_forgotten_and_stay_good() -> None:
    tokens = [client(random_bytes=stream(str(number))).token for number in range(5)]
    known = table(*tokens, capacity=3)
    assert len(known) == 3
    assert check(tokens[0], known)
    assert [known.take(token) is not None for token in tokens] == [False, False, True, True, True]
    assert known.take(None) is None


@pytest.mark.parametrize("alg", list(Algorithm))
def test_a_private_key_and_its_public_part_agree_on_every_signature(alg: Algorithm) -> None:
    """Signing again stands for verifying: both say the same of a signature, and of one that differs in any bit."""
    private = generate_key(stream("again"), created_at=NOW, alg=alg)
    jwk = private.public_jwk()
    public = private if jwk is None else SigningKey.from_jwk(jwk)
    message = b"header.claims"
    signature = private.sign(message)
    for bit in range(-1, len(signature) * 8):
        changed = bytearray(signature)
        if bit >= 0:
            changed[bit // 8] ^= 1 << bit % 8
        assert private.verifies(message, bytes(changed)) is public.verifies(message, bytes(changed)) is (bit < 0)
    assert private.verifies(message + b"x", signature) is public.verifies(message + b"x", signature) is False
