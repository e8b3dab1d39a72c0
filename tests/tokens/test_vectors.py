"""The shared vectors: read from beside the project, never copied into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import GreenroomError, TokenError
from greenroom.tokens import KeyRing, SigningKey, TokenKind, verify
from greenroom.tokens.reader import split_token
from greenroom.tokens.verifier import signature_is_good
from tests.tokens.forge import HS, ISSUER, NOW, RING, control

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"

SUPPORTED = {"EdDSA", "HS256"}

# Published as valid, refused here: a "?" was put into the signed text and the MAC is of the text without it. Only a
# verifier that skips what is not base64url and signs the rest again accepts them. RFC 7515 (sections 2 and 5.2) does
# not, and the collection of tokens that no deployment may accept has both.
MISLABELLED = {"json_web_signature_test:21:372", "json_web_signature_test:21:373"}

# Published as invalid for their padding, which the copy here lacks: what is left is, byte for byte and with the same
# key, the vector that is published as valid. Padding itself is refused: see `reencoded` in the corpus.
WITHOUT_THEIR_FAULT = {"json_web_signature_test:21:367", "json_web_signature_test:21:370"}
UNSPOILED = "json_web_signature_test:21:357"


def load(name: str) -> list[dict[str, Any]]:
    path = VECTORS / name
    if not path.exists():
        pytest.skip("../shared/vectors is absent")
    vectors: list[dict[str, Any]] = json.loads(path.read_text())
    return vectors


def keys_of(vector: dict[str, Any]) -> KeyRing:
    """All keys of the vector, by our own reader of keys: one that we do not take spoils the set."""
    listed = vector["key"].get("keys", [vector["key"]])
    named = [{"kid": "unnamed", "alg": vector["alg"], **jwk} for jwk in listed]
    keys = [SigningKey.from_jwk(jwk) for jwk in named]
    return KeyRing(keys[0], keys[1:])


def is_accepted(vector: dict[str, Any]) -> bool:
    try:
        ring = keys_of(vector)
        parts = split_token(vector["jws"])
    except GreenroomError:
        return False
    kid = parts.header.kid
    key = ring.current if kid is None else ring.by_kid.get(kid)
    return key is not None and signature_is_good(parts, key)


def test_published_signatures() -> None:
    vectors = load("published_vectors.json")
    accepted = {vector["id"] for vector in vectors if is_accepted(vector)}
    valid = {vector["id"] for vector in vectors if vector["result"] == "valid" and vector["alg"] in SUPPORTED}
    assert accepted - WITHOUT_THEIR_FAULT == valid - MISLABELLED
    by_id = {vector["id"]: vector for vector in vectors}
    for name in WITHOUT_THEIR_FAULT:
        assert all(by_id[name][part] == by_id[UNSPOILED][part] for part in ("jws", "key"))
    # So that the test cannot pass by refusing all, nor by there being nothing to refuse.
    assert len(accepted) >= 10
    assert {vector["alg"] for vector in vectors if vector["id"] in accepted} == SUPPORTED
    assert sum(vector["result"] == "invalid" for vector in vectors) >= 300


def test_tokens_that_no_deployment_may_accept() -> None:
    vectors = load("must_reject_static.json")
    assert len(vectors) >= 500
    mislabelled = {vector["jws"] for vector in load("published_vectors.json") if vector["id"] in MISLABELLED}
    assert mislabelled <= {vector["token"] for vector in vectors}
    verify(control(), RING, kind=TokenKind.CLIENT, issuer=ISSUER, now=NOW)
    for vector in vectors:
        for kind in TokenKind:
            for ring in (RING, KeyRing(HS)):
                with pytest.raises(TokenError):
                    verify(vector["token"], ring, kind=kind, issuer=ISSUER, now=NOW)


def test_published_tokens_are_refused_even_where_their_keys_are_ours() -> None:
    """A published signature under a published key says nothing of Greenroom: no typ, no claims of ours."""
    for vector in load("published_vectors.json"):
        try:
            ring = keys_of(vector)
        except GreenroomError:
            continue
        for kind in TokenKind:
            with pytest.raises(TokenError):
                verify(vector["jws"], ring, kind=kind, issuer=ISSUER, now=NOW)
