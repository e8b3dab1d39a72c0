"""Verification. One door, and no switch that skips any of it."""

from __future__ import annotations

from collections.abc import Container

from msgspec import UNSET

from greenroom.errors import IllegalArgumentError, TokenExpiredError
from greenroom.room_names import check_room_grants
from greenroom.tokens.claims import (
    MAX_LIFE,
    ApiClaims,
    SessionClaims,
    SessionPolicyClaim,
    TokenKind,
    VerifiedToken,
    read_claims,
    refuse_claim,
)
from greenroom.tokens.keyring import KeyRing, SigningKey
from greenroom.tokens.reader import Parts, refuse, split_token

EXPIRY_LEEWAY = 30.0
"""Seconds after ``exp`` (S5)."""

ISSUED_LEEWAY = 5.0
"""Seconds that ``iat`` may be ahead of this node's clock (S5)."""

MAX_LEEWAY = 60.0

_NO_POLICY = SessionPolicyClaim()


def verify(
    token: object,
    ring: KeyRing,
    *,
    kind: TokenKind,
    issuer: str,
    now: float,
    minted: Container[str] = (),
    expiry_leeway: float = EXPIRY_LEEWAY,
    issued_leeway: float = ISSUED_LEEWAY,
) -> VerifiedToken:
    """The token, if it is genuine, of this kind, from this issuer and in time.

    ring: the keys to accept. issuer: the service's own ``issuer`` setting. now: this node's wall clock, Unix seconds.
    minted: tokens whose signature was made in this process, see `MintedTokens`; all else of them is checked too.
    expiry_leeway, issued_leeway: 0 to 60 s.
    Raises `TokenExpiredError` where the token is good but its time is over, `TokenInvalidError` for all else (it
    names the claim and where it is set, never the token), `IllegalArgumentError` for a leeway out of range.
    Revocation is not checked here: it is the engine's to say (S18).
    """
    if not (0 <= expiry_leeway <= MAX_LEEWAY and 0 <= issued_leeway <= MAX_LEEWAY):
        raise IllegalArgumentError(f"A leeway is out of range: 0 to {MAX_LEEWAY:g} s.")
    parts = split_token(token)
    key = _key_of(parts, ring, kind)
    if token not in minted and not signature_is_good(parts, key):
        refuse("The token's signature is not good.", "Pass the access_token unchanged.")
    # Claims are parsed only now: nobody without a key gets to feed the parser.
    claims = read_claims(parts.payload, kind)
    _check_address(claims, kind, issuer)
    _check_rooms(claims)
    _check_times(claims, now, expiry_leeway, issued_leeway)
    return _verified(claims, kind, key.kid)


def signature_is_good(parts: Parts, key: SigningKey) -> bool:
    """Whether `key` made the token's signature, with the key's own algorithm, and the header does not say otherwise."""
    header = parts.header
    if header.alg != key.alg.value or header.kid not in (None, key.kid):
        return False
    return key.verifies(parts.signing_input, parts.signature)


def _key_of(parts: Parts, ring: KeyRing, kind: TokenKind) -> SigningKey:
    header = parts.header
    if header.typ != kind.typ:
        for other in TokenKind:
            if header.typ == other.typ:
                refuse(
                    f"This is an {other.title}." if other is TokenKind.API else f"This is a {other.title}.",
                    f"Here the {kind.title} is needed.",
                )
        refuse("The token's header member typ is not one of Greenroom's.", "Get the token from this service.")
    key = None if header.kid is None else ring.find(header.kid)
    if key is None:
        refuse("The token's header member kid names no key of this service.", "Get a new token from this service.")
    return key


def _check_address(claims: ApiClaims | SessionClaims, kind: TokenKind, issuer: str) -> None:
    if claims.iss != issuer:
        refuse_claim("iss", "is not this service")
    if claims.aud != kind.audience:
        refuse_claim("aud", f"is not {kind.audience}")
    if isinstance(claims, ApiClaims):
        if claims.sub != claims.app:
            refuse_claim("sub", f"of {'an' if kind is TokenKind.API else 'a'} {kind.title} is not its app key")
    elif claims.xid is not UNSET:
        if claims.sub == claims.app:
            refuse_claim("sub", "is not a participant id although there is an external id")
        if len(claims.xid.encode("utf-8")) > 1024:
            refuse_claim("xid", "is longer than 1024 bytes")


def _check_rooms(claims: ApiClaims | SessionClaims) -> None:
    if not isinstance(claims, SessionClaims) or claims.rooms is UNSET:
        return
    try:
        check_room_grants(claims.rooms)
    except IllegalArgumentError as error:
        problem = error.message
    else:
        return
    refuse_claim("rooms", f"is not right: {problem[:-1]}")


def _check_times(claims: ApiClaims | SessionClaims, now: float, expiry_leeway: float, issued_leeway: float) -> None:
    # Each written so that a clock that is not a number refuses.
    life = claims.exp - claims.iat
    if life < 1:
        refuse_claim("exp", "is not after iat")
    if life > MAX_LIFE:
        refuse_claim("exp", f"is more than {MAX_LIFE} s after iat")
    if not claims.iat <= now + issued_leeway:
        refuse_claim("iat", "is in the future: the clocks of issuer and verifier differ")
    if claims.nbf is not UNSET and not claims.nbf <= now + issued_leeway:
        refuse_claim("nbf", "is in the future")
    if not now < claims.exp + expiry_leeway:
        raise TokenExpiredError


def _verified(claims: ApiClaims | SessionClaims, kind: TokenKind, kid: str) -> VerifiedToken:
    session = claims if isinstance(claims, SessionClaims) else None
    external_id = None if session is None or session.xid is UNSET else session.xid
    policy = _NO_POLICY if session is None or session.pol is UNSET else session.pol
    return VerifiedToken(
        kind=kind,
        app=claims.app,
        participant_id=None if claims.sub == claims.app else claims.sub,
        external_id=external_id,
        scopes=tuple(claims.scope.split(" ")) if claims.scope else (),
        issued_at=claims.iat,
        expires_at=claims.exp,
        jti=claims.jti,
        kid=kid,
        version=0 if session is None else session.ver,
        policy=policy,
        room_grants=() if session is None or session.rooms is UNSET else session.rooms,
    )
