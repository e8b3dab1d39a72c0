"""Typed claims: which claim is wrong is said by name, and never what stood in it."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.errors import TokenInvalidError
from greenroom.tokens.claims import ApiClaims, SessionClaims, TokenKind, refuse_claim, to_claims

API: dict[str, Any] = {
    "iss": "i", "aud": "greenroom-api", "app": "app", "sub": "app", "scope": "tokens:create", "iat": 1, "exp": 2,
    "jti": "j" * 22,
}  # fmt: skip
CLIENT: dict[str, Any] = {**API, "aud": "greenroom-session", "sub": "participant", "ver": 2, "xid": "anna"}
SECRET = "what nobody should read"


def test_good_claims_are_typed() -> None:
    api, client = to_claims(API, TokenKind.API), to_claims(CLIENT, TokenKind.CLIENT)
    assert isinstance(api, ApiClaims)
    assert isinstance(client, SessionClaims)
    assert (api.app, client.xid, client.ver) == ("app", "anna", 2)


def test_unknown_claims_are_ignored() -> None:
    assert to_claims({**API, "extra": [1]}, TokenKind.API) == to_claims(API, TokenKind.API)


@pytest.mark.parametrize("name", sorted(set(API)))
def test_a_claim_that_is_missing_is_named(name: str) -> None:
    members = {key: value for key, value in API.items() if key != name}
    with pytest.raises(TokenInvalidError, match=f"claim {name} is missing"):
        to_claims(members, TokenKind.API)


@pytest.mark.parametrize(
    ("name", "value"),
    [("iss", 5), ("aud", [SECRET]), ("iat", "1"), ("iat", True), ("exp", 2.5), ("ver", 3), ("xid", ""), ("jti", SECRET),
     ("scope", {}), ("pol", SECRET), ("rooms", SECRET)],
)  # fmt: skip
def test_a_claim_of_another_type_is_named_and_not_quoted(name: str, value: Any) -> None:
    with pytest.raises(TokenInvalidError, match=f"claim {name} is not ") as refused:
        to_claims({**CLIENT, name: value}, TokenKind.CLIENT)
    assert SECRET not in str(refused.value)
    assert refused.value.hint


def test_a_refusal_says_where_the_claim_is_set() -> None:
    with pytest.raises(TokenInvalidError) as refused:
        refuse_claim("exp", "is not after iat")
    assert (
        str(refused.value) == "The token's claim exp is not after iat. Ask with expires_in (1 to 86400 s) when minting."
    )
