from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from greenroom.errors import IllegalArgumentError, TokenInvalidError
from greenroom.tokens import Algorithm, KeyRing, SigningKey, TokenKind, generate_key, mint_api_token, verify
from greenroom.tokens.keyring import OVERLAP_SECONDS
from tests.tokens.forge import APP, HS, ISSUER, NOW, stream

RANDOM = stream("keyring")
A, B, C = (generate_key(RANDOM, created_at=NOW + age) for age in (0, 1000, 2000))


def minted(ring: KeyRing) -> str:
    return mint_api_token(ring, issuer=ISSUER, app=APP, scopes=(), now=NOW, random_bytes=RANDOM).token


def accepts(ring: KeyRing, token: str) -> bool:
    try:
        verify(token, ring, kind=TokenKind.API, issuer=ISSUER, now=NOW)
    except TokenInvalidError:
        return False
    return True


def test_rotation_overlaps() -> None:
    before = KeyRing(A)
    after = KeyRing(B, (A,))
    old, new = minted(before), minted(after)
    assert accepts(after, old)
    assert accepts(after, new)
    with pytest.raises(TokenInvalidError, match="kid names no key"):  # why a cluster announces first
        verify(new, before, kind=TokenKind.API, issuer=ISSUER, now=NOW)
    assert not accepts(KeyRing(C, (B, A)).pruned(B.created_at + OVERLAP_SECONDS), old)


def test_rotation_over_several_nodes_has_no_gap() -> None:
    first = KeyRing(A)
    second = KeyRing(A, upcoming=(B,))
    third = KeyRing(B, (A,))
    tokens = [minted(first), minted(second), minted(third)]
    # a node is at most one step behind another
    assert all(accepts(first, token) for token in tokens[:2])
    assert all(accepts(second, token) for token in tokens)
    assert all(accepts(third, token) for token in tokens)


def test_rotation_between_algorithms_overlaps_too() -> None:
    ring = KeyRing(HS)
    token = minted(ring)
    assert accepts(KeyRing(A, (HS,)), token)
    assert accepts(KeyRing(HS, (A,)), minted(KeyRing(A)))


def test_a_key_is_kept_until_its_last_token_is_over() -> None:
    ring = KeyRing(C, (B, A))
    assert ring.pruned(NOW).previous == (B, A)
    assert ring.pruned(B.created_at + OVERLAP_SECONDS - 1).previous == (B, A)
    assert ring.pruned(B.created_at + OVERLAP_SECONDS).previous == (B,)
    assert ring.pruned(C.created_at + OVERLAP_SECONDS).previous == ()
    assert OVERLAP_SECONDS > 86_400 + 30


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="same kid"):
        KeyRing(A, (B, A))
    with pytest.raises(IllegalArgumentError, match="same kid"):
        KeyRing(A, upcoming=(A,))


def test_the_key_set_holds_public_keys_only() -> None:
    ring = KeyRing(A, (HS, B), (C,))
    keys = ring.jwks()["keys"]
    assert [key["kid"] for key in keys] == [C.kid, A.kid, B.kid]
    assert all(set(key) == {"kty", "crv", "x", "kid", "alg", "use"} for key in keys)
    secrets = [json.loads(key.to_bytes()).get("d") or json.loads(key.to_bytes())["k"] for key in ring.keys]
    assert not [secret for secret in secrets if secret in json.dumps(ring.jwks())]
    assert KeyRing(HS).jwks() == {"keys": []}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the name, by RFC 9864; joserfc says so
def test_others_verify_with_the_key_set_alone() -> None:
    token = minted(KeyRing(A, (HS,)))
    keys = KeySet.import_key_set(json.loads(json.dumps(KeyRing(A, (HS,)).jwks())))
    assert json.loads(jws.deserialize_compact(token, keys, algorithms=["EdDSA"]).payload)["app"] == APP


@pytest.mark.parametrize("alg", list(Algorithm))
def test_keys_come_back_from_bytes(alg: Algorithm) -> None:
    key = generate_key(stream("bytes"), created_at=NOW + 0.5, alg=alg)
    back = SigningKey.from_bytes(key.to_bytes())
    assert (back.kid, back.alg, back.created_at, back.can_sign) == (key.kid, alg, NOW + 0.5, True)
    assert back.verifies(b"text", key.sign(b"text"))
    assert key.verifies(b"text", back.sign(b"text"))
    assert back.to_bytes() == key.to_bytes()


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b'{"createdAt":"x"}', b'{"createdAt":1}', b"\xff"])
def test_bytes_that_are_no_key(data: bytes) -> None:
    with pytest.raises(IllegalArgumentError):
        SigningKey.from_bytes(data)


def test_no_two_keys_are_the_same_and_their_text_shows_nothing() -> None:
    keys = [generate_key(RANDOM, created_at=NOW, alg=alg) for alg in Algorithm for _ in range(20)]
    assert len({key.kid for key in keys}) == len({key.to_bytes() for key in keys}) == 40
    for key in keys:
        record = json.loads(key.to_bytes())
        assert (record.get("d") or record["k"]) not in repr(key) + str(KeyRing(key))
        with pytest.raises(TypeError):
            pickle.dumps(key)


def test_a_public_key_verifies_and_cannot_sign() -> None:
    jwk = A.public_jwk()
    assert jwk is not None
    public = SigningKey.from_jwk(jwk)
    assert accepts(KeyRing(public), minted(KeyRing(A)))
    assert SigningKey.from_bytes(public.to_bytes()).public_jwk() == jwk
    with pytest.raises(IllegalArgumentError, match="cannot sign"):
        public.sign(b"text")


def ed(**changed: Any) -> dict[str, Any]:
    record = json.loads(A.to_bytes())
    del record["createdAt"]
    return {name: value for name, value in {**record, **changed}.items() if value is not ...}


def hs(**changed: Any) -> dict[str, Any]:
    record = json.loads(HS.to_bytes())
    del record["createdAt"]
    return {name: value for name, value in {**record, **changed}.items() if value is not ...}


def test_the_untouched_records_are_good() -> None:
    assert SigningKey.from_jwk(ed()).kid == A.kid
    assert SigningKey.from_jwk(hs(key_ops=["sign", "verify"])).kid == HS.kid


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param(ed(alg="HS256"), id="an EdDSA key said to be HS256"),
        pytest.param(hs(alg="EdDSA"), id="a shared secret said to be EdDSA"),
        pytest.param(ed(alg=...), id="no alg"),
        pytest.param(ed(alg="none"), id="alg none"),
        pytest.param(ed(kty="oct"), id="wrong kty"),
        pytest.param(ed(crv="Ed448"), id="wrong curve"),
        pytest.param(ed(crv="X25519"), id="a curve for key agreement"),
        pytest.param(ed(use="enc"), id="for encryption"),
        pytest.param(hs(key_ops=["encrypt"]), id="key_ops without verify"),
        pytest.param(hs(key_ops="verify"), id="key_ops not a list"),
        pytest.param(ed(kid=...), id="no kid"),
        pytest.param(ed(kid=""), id="empty kid"),
        pytest.param(ed(kid=7), id="kid a number"),
        pytest.param(ed(kid="x" * 65), id="kid too long"),
        pytest.param(ed(x=...), id="no x"),
        pytest.param(ed(x="AAAA"), id="x too short"),
        pytest.param(ed(x=ed()["x"] + "="), id="x padded"),
        pytest.param(ed(d="AAAA"), id="d too short"),
        pytest.param(ed(d=json.loads(B.to_bytes())["d"]), id="d of another key"),
        pytest.param(hs(k=...), id="no k"),
        pytest.param(hs(k=""), id="empty k"),
        pytest.param(hs(k="A" * 42), id="31 bytes of k"),
        pytest.param(hs(k=hs()["k"] + "="), id="k padded"),
    ],
)
def test_keys_that_are_not_taken(jwk: dict[str, Any]) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        SigningKey.from_jwk(jwk)
    for secret in (jwk.get("d"), jwk.get("k")):
        assert not secret or secret not in str(caught.value)
    assert caught.value.__context__ is None
