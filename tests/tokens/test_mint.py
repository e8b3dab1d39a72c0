from __future__ import annotations

import json
import math
from typing import Any

import pytest

from greenroom.errors import IllegalArgumentError, TokenExpiredError, TokenInvalidError
from greenroom.model import RoomGrant
from greenroom.tokens import (
    API_SCOPES,
    MAX_TOKEN_BYTES,
    SESSION_SCOPES,
    Algorithm,
    KeyRing,
    MintedToken,
    SessionPolicyClaim,
    TokenKind,
    generate_key,
    mint_api_token,
    mint_client_token,
    peek,
    verify,
)
from greenroom.tokens.reader import split_token
from tests.tokens.forge import APP, ISSUER, NOW, PARTICIPANT, RING, stream

RINGS = [
    pytest.param(RING, id="EdDSA"),
    pytest.param(KeyRing(generate_key(stream("hs"), created_at=NOW, alg=Algorithm.HS256)), id="HS256"),
]


def api(ring: KeyRing = RING, **changed: Any) -> MintedToken:
    arguments: dict[str, Any] = {"issuer": ISSUER, "app": APP, "scopes": API_SCOPES, "now": NOW + 0.9}
    return mint_api_token(ring, **{**arguments, "random_bytes": stream("api"), **changed})


def client(ring: KeyRing = RING, **changed: Any) -> MintedToken:
    arguments: dict[str, Any] = {"issuer": ISSUER, "app": APP, "version": 2, "scopes": SESSION_SCOPES, "now": NOW + 0.9}
    return mint_client_token(ring, **{**arguments, "random_bytes": stream("client"), **changed})


def check(token: str, kind: TokenKind, ring: KeyRing = RING, now: float = NOW + 1, **more: Any) -> Any:
    return verify(token, ring, kind=kind, issuer=ISSUER, now=now, **more)


@pytest.mark.parametrize("ring", RINGS)
def test_an_api_token_says_what_was_minted(ring: KeyRing) -> None:
    minted = api(ring)
    token = check(minted.token, TokenKind.API, ring)
    assert (token.kind, token.app, token.participant_id, token.external_id) == (TokenKind.API, APP, None, None)
    assert token.scopes == API_SCOPES
    assert (token.issued_at, token.expires_at) == (NOW, NOW + 1800) == (minted.issued_at, minted.expires_at)
    assert (token.jti, token.kid, token.version) == (minted.jti, ring.current.kid, 0)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("version", [1, 2])
def test_a_client_token_says_what_was_minted(ring: KeyRing, version: int) -> None:
    policy = SessionPolicyClaim(max_sessions=3, same_device="allow")
    minted = client(ring, version=version, participant_id=PARTICIPANT, external_id="Ännä [[[[[", policy=policy)
    token = check(minted.token, TokenKind.CLIENT, ring)
    assert (token.kind, token.app, token.participant_id) == (TokenKind.CLIENT, APP, PARTICIPANT)
    assert (token.external_id, token.version, token.policy) == ("Ännä [[[[[", version, policy)
    assert token.scopes == SESSION_SCOPES
    assert (token.expires_at - token.issued_at, minted.life) == (3600, 3600)
    assert peek(minted.token) == ("session+jwt", APP, PARTICIPANT, "Ännä [[[[[", NOW, NOW + 3600)


def test_an_anonymous_client_token() -> None:
    token = check(client(external_id="", scopes=()).token, TokenKind.CLIENT)
    assert (token.participant_id, token.external_id, token.scopes) == (None, None, ())
    assert token.policy is None
    glance = peek(client().token)
    assert (glance.participant_id, glance.external_id) == (None, None)


def test_an_api_token_never_passes_as_client_token_nor_the_other_way() -> None:
    with pytest.raises(TokenInvalidError, match="This is an API token.* client access token is needed"):
        check(api().token, TokenKind.CLIENT)
    with pytest.raises(TokenInvalidError, match="This is a client access token.* API token is needed"):
        check(client().token, TokenKind.API)


def test_header_and_claims_as_documented() -> None:
    minted = client(participant_id=PARTICIPANT, external_id="anna", policy=SessionPolicyClaim(when_full="reject"))
    parts = split_token(minted.token)
    assert parts.header == ("EdDSA", "session+jwt", RING.current.kid)
    assert json.loads(parts.payload) == {
        "iss": ISSUER,
        "aud": "greenroom:session",
        "app": APP,
        "sub": PARTICIPANT,
        "ver": 2,
        "xid": "anna",
        "pol": {"whenFull": "reject"},
        "scope": " ".join(SESSION_SCOPES),
        "iat": NOW,
        "exp": NOW + 3600,
        "jti": minted.jti,
    }
    assert split_token(api().token).header.typ == "api+jwt"


def test_every_jti_is_new() -> None:
    source = stream("jti")
    minted = [api(random_bytes=source).jti for _ in range(100)]
    assert len(set(minted)) == 100
    assert {len(jti) for jti in minted} == {22}  # 128 bits


def test_a_poor_random_source_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="gave 3 bytes where 16"):
        api(random_bytes=lambda count: b"abc")


@pytest.mark.parametrize("life", [1, 60, 86_400])
def test_lives_in_range(life: int) -> None:
    minted = client(life=life)
    assert check(minted.token, TokenKind.CLIENT, now=NOW + life + 29.9).expires_at == NOW + life
    with pytest.raises(TokenExpiredError):
        check(minted.token, TokenKind.CLIENT, now=NOW + life + 30)


@pytest.mark.parametrize("life", [0, -1, 86_401, 10**20, True, 1.0, "60", None])
def test_lives_out_of_range(life: object) -> None:
    for mint in (api, client):
        with pytest.raises(IllegalArgumentError, match=r"expires_in.*1 to 86400"):
            mint(life=life)


def test_leeways() -> None:
    minted = api()
    check(minted.token, TokenKind.API, now=NOW - 5)
    with pytest.raises(TokenInvalidError, match="iat"):
        check(minted.token, TokenKind.API, now=NOW - 5.1)
    with pytest.raises(TokenExpiredError):
        check(minted.token, TokenKind.API, now=NOW + 1800, expiry_leeway=0)
    for leeway in (-1.0, 61.0, math.inf, math.nan):
        with pytest.raises(IllegalArgumentError):
            check(minted.token, TokenKind.API, expiry_leeway=leeway)
        with pytest.raises(IllegalArgumentError):
            check(minted.token, TokenKind.API, issued_leeway=leeway)


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_a_broken_clock_accepts_nothing(now: float) -> None:
    with pytest.raises((TokenInvalidError, TokenExpiredError)):
        check(api().token, TokenKind.API, now=now)


def test_no_token_at_or_below_a_cut_off() -> None:
    assert client(issued_after=NOW - 5).issued_at == NOW
    minted = client(issued_after=NOW)
    assert (minted.issued_at, minted.expires_at) == (NOW + 1, NOW + 3601)
    check(minted.token, TokenKind.CLIENT, now=NOW)


def test_bad_arguments_are_not_minted() -> None:
    with pytest.raises(IllegalArgumentError, match="participant id"):
        client(external_id="anna")
    with pytest.raises(IllegalArgumentError, match="version"):
        client(version=3)
    wrong: list[dict[str, Any]] = [{"issuer": ""}, {"issuer": "x" * 257}, {"app": ""}]
    for changed in wrong:
        with pytest.raises(IllegalArgumentError):
            client(**changed)
    with pytest.raises(IllegalArgumentError, match="longer than 4096"):
        api(scopes=["x" * 40] * 100)


@pytest.mark.parametrize("char", ["x", "é", "字", "😀", '"', "\\", "/", "<", "\u2028"])
def test_the_longest_token_fits(char: str) -> None:
    external_id = char * (1024 // len(char.encode()))
    policy = SessionPolicyClaim(max_sessions=1_000_000, when_full="replace_oldest", same_device="replace")
    sizes: dict[str, Any] = {
        "issuer": "https://" + "i" * 248,
        "app": APP,
        "participant_id": PARTICIPANT,
        "policy": policy,
    }
    minted = client(**sizes, scopes=("*", *SESSION_SCOPES), external_id=external_id)
    assert len(minted.token) <= MAX_TOKEN_BYTES
    token = verify(minted.token, RING, kind=TokenKind.CLIENT, issuer=sizes["issuer"], now=NOW)
    assert token.external_id == external_id


def test_what_is_minted_is_not_in_its_text() -> None:
    minted = api()
    assert minted.token not in repr(minted)
    assert minted.token.split(".")[2] not in str(minted)


def test_grants_in_rooms() -> None:
    grants = (
        RoomGrant(name="team-*", can=("join", "watch", "send")),
        RoomGrant(name="a room", can=("invite", "kick")),
    )
    minted = client(participant_id=PARTICIPANT, external_id="anna", rooms=grants)
    assert json.loads(split_token(minted.token).payload)["rooms"] == [
        {"name": "team-*", "can": ["join", "watch", "send"]},
        {"name": "a room", "can": ["invite", "kick"]},
    ]
    assert check(minted.token, TokenKind.CLIENT).room_grants == grants
    assert check(client().token, TokenKind.CLIENT).room_grants == ()


def test_grants_that_no_token_may_have() -> None:
    with pytest.raises(IllegalArgumentError, match="not at its end"):
        client(rooms=[RoomGrant(name="*a", can=("join",))])
    with pytest.raises(IllegalArgumentError, match=r"longer than 4096.*fewer rooms"):
        client(rooms=[RoomGrant(name=f"{number:02}" * 125, can=("join",)) for number in range(32)])
