"""`greenroom.tokens.minted`: what the table spares is the signature, and nothing else."""

from __future__ import annotations

import pytest

from greenroom.errors import TokenExpiredError, TokenInvalidError
from greenroom.tokens import Algorithm, KeyRing, MintedTokens, SigningKey, TokenKind, generate_key, verify
from tests.tokens.corpus import corpus
from tests.tokens.forge import ISSUER, NOW, RING, STRANGER, stream
from tests.tokens.test_mint_and_verify import client


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
    with pytest.raises(TokenInvalidError, match="signature"):
        check(minted.token, table())
    assert len(asked) == 1


def test_a_token_altered_anywhere_is_refused() -> None:
    token = client().token
    known = table(token)
    for at in range(len(token)):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(TokenInvalidError):
            check(altered, known)


def test_key_issuer_and_times_count_for_a_known_token_too() -> None:
    minted = client()
    known = table(minted.token)
    with pytest.raises(TokenInvalidError, match="kid"):
        check(minted.token, known, ring=KeyRing(STRANGER))
    with pytest.raises(TokenInvalidError, match="iss"):
        check(minted.token, known, issuer="https://elsewhere.example")
    with pytest.raises(TokenExpiredError):
        check(minted.token, known, now=minted.expires_at + 31)
    with pytest.raises(TokenInvalidError, match="iat"):
        check(minted.token, known, now=minted.issued_at - 6)
    with pytest.raises(TokenInvalidError):
        verify(minted.token, RING, kind=TokenKind.API, issuer=ISSUER, now=NOW + 1, minted=known)


def test_what_must_be_refused_is_refused_beside_a_full_table() -> None:
    known = table(*(client(random_bytes=stream(str(number))).token for number in range(50)))
    for _category, case in corpus():
        with pytest.raises((TokenInvalidError, TokenExpiredError)):
            verify(case.token, RING, kind=case.kind, issuer=ISSUER, now=NOW, minted=known)


def test_the_oldest_are_forgotten_and_stay_good() -> None:
    tokens = [client(random_bytes=stream(str(number))).token for number in range(5)]
    known = table(*tokens, capacity=3)
    assert (len(known), [token in known for token in tokens]) == (3, [False, False, True, True, True])
    assert check(tokens[0], known)
    assert None not in known


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
