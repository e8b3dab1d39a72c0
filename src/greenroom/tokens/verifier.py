"""Verification. One door, and no switch that skips any of it; and the tokens of this process, which were read already.

`MintedTokens` holds what the tokens say that this process minted. One is found by a keyed digest of its whole text,
signature included, so that a token altered by one bit is not found and goes the long way. Whether its key is still in
the ring, its kind, issuer, times and revocation are checked as for any other.
"""

from __future__ import annotations

from functools import lru_cache, partial
from hashlib import blake2b
from typing import NoReturn

import msgspec
from msgspec import UNSET

from greenroom.errors import IllegalArgumentError, TokenExpiredError
from greenroom.model import RoomGrant
from greenroom.room_names import check_room_grants
from greenroom.tokens.claims import (
    DECODERS,
    MAX_LIFE,
    ApiClaims,
    SessionClaims,
    TokenKind,
    VerifiedToken,
    refuse_claim,
    to_claims,
)
from greenroom.tokens.keyring import KeyRing, SigningKey
from greenroom.tokens.reader import Header, Parts, read_object, refuse, split_token

EXPIRY_LEEWAY = 30.0
"""Seconds after ``exp`` (S5)."""

ISSUED_LEEWAY = 5.0
"""Seconds that ``iat`` may be ahead of this node's clock (S5)."""

MAX_LEEWAY = 60.0

CAPACITY = 32_768
"""Minted tokens that are kept until they are used: some 20 MiB. The oldest are forgotten first, and stay good."""
_DIGEST_BYTES = 16

_encode = msgspec.json.Encoder().encode


class MintedTokens:
    """secret: random bytes, of this process alone; nobody who cannot guess it can aim at a digest."""

    def __init__(self, secret: bytes, capacity: int = CAPACITY) -> None:
        self._blake2b = partial(blake2b, digest_size=_DIGEST_BYTES, key=secret)
        self._capacity = capacity
        self._tokens: dict[bytes, VerifiedToken] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, token: str, kind: TokenKind = TokenKind.CLIENT) -> None:
        """This process has just minted it. Raises `TokenInvalidError` where `verify` would for its claims."""
        parts = split_token(token)
        read = _read_payload(parts.payload, kind, parts.header.kid or "")
        if len(self._tokens) >= self._capacity:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[self._blake2b(token.encode("utf-8", "surrogatepass")).digest()] = read

    def take(self, token: object) -> VerifiedToken | None:
        """What the token says, None where it is not known. Each is given out once: who comes again with it goes the
        long way, and what is used takes no room."""
        if not self._tokens or not isinstance(token, str):
            return None
        return self._tokens.pop(self._blake2b(token.encode("utf-8", "surrogatepass")).digest(), None)


def verify(
    token: object,
    ring: KeyRing,
    *,
    kind: TokenKind,
    issuer: str,
    now: float,
    minted: MintedTokens | None = None,
    expiry_leeway: float = EXPIRY_LEEWAY,
    issued_leeway: float = ISSUED_LEEWAY,
) -> VerifiedToken:
    """The token, if it is genuine, of this kind, from this issuer and in time.

    ring: the keys to accept. issuer: the service's own ``issuer`` setting. now: this node's wall clock, Unix seconds.
    minted: of this process, whose signatures need no second look; None: there are none.
    expiry_leeway, issued_leeway: 0 to 60 s.
    Raises `TokenExpiredError` where the token is good but its time is over, `TokenInvalidError` for all else (it
    names the claim and where it is set, never the token), `IllegalArgumentError` for a leeway out of range.
    Revocation is not checked here: it is the engine's to say (S18).
    """
    if not (0 <= expiry_leeway <= MAX_LEEWAY and 0 <= issued_leeway <= MAX_LEEWAY):
        raise IllegalArgumentError(f"A leeway is out of range: 0 to {MAX_LEEWAY:g} s.")
    found = None if minted is None else minted.take(token)
    if found is None or found.kind is not kind or found.kid not in ring.by_kid:
        found = _read(token, ring, kind)
    if found.issuer != issuer:
        refuse_claim("iss", "is not this service")
    latest = now + issued_leeway
    # Each written so that a clock that is not a number refuses.
    if not found.issued_at <= latest:
        refuse_claim("iat", "is in the future: the clocks of issuer and verifier differ")
    if not found.not_before <= latest:
        refuse_claim("nbf", "is in the future")
    if not now < found.expires_at + expiry_leeway:
        raise TokenExpiredError
    return found


def signature_is_good(parts: Parts, key: SigningKey) -> bool:
    """Whether `key` made the token's signature, with the key's own algorithm, and the header does not say otherwise."""
    header = parts.header
    if header.alg != key.alg.value or header.kid not in (None, key.kid):
        return False
    return key.verifies(parts.signing_input, parts.signature)


def _read(token: object, ring: KeyRing, kind: TokenKind) -> VerifiedToken:
    """What a genuine token of this kind says; issuer and times are still to be checked."""
    parts = split_token(token)
    header = parts.header
    key = ring.by_kid.get(header.kid or "")
    if key is None or header.typ != kind.typ:
        _refuse_header(header, kind)
    if not signature_is_good(parts, key):
        refuse("The token's signature is not good.", "Pass the access_token unchanged.")
    # Claims are parsed only now: nobody without a key gets to feed the parser.
    return _read_payload(parts.payload, kind, key.kid)


def _refuse_header(header: Header, kind: TokenKind) -> NoReturn:
    if header.typ == kind.typ:
        refuse("The token's header member kid names no key of this service.", "Get a new token from this service.")
    for other in TokenKind:
        if header.typ == other.typ:
            refuse(
                f"This is an {other.title}." if other is TokenKind.API else f"This is a {other.title}.",
                f"Here the {kind.title} is needed.",
            )
    refuse("The token's header member typ is not one of Greenroom's.", "Get the token from this service.")


def _read_payload(payload: bytes, kind: TokenKind, kid: str) -> VerifiedToken:
    """The typed claims of a payload whose signature was found good. Raises `TokenInvalidError`.

    Nearly every payload is byte for byte what the claims in it are written as: then nothing can stand in it twice,
    be of another type, or be unknown, and the strict reader, which costs ten times as much, has nothing to find.
    """
    claims: ApiClaims | SessionClaims | None
    try:
        claims = DECODERS[kind].decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        claims = None  # the strict reader says what is wrong
    if claims is None or _encode(claims) != payload:
        claims = to_claims(read_object(payload, "payload"), kind)
    _check_claims(claims, kind)
    session = claims if isinstance(claims, SessionClaims) else None
    return VerifiedToken(
        kind=kind,
        issuer=claims.iss,
        app=claims.app,
        participant_id=None if claims.sub == claims.app else claims.sub,
        external_id=None if session is None or session.xid is UNSET else session.xid,
        scopes=_scopes(claims.scope),
        issued_at=claims.iat,
        not_before=0 if claims.nbf is UNSET else claims.nbf,
        expires_at=claims.exp,
        jti=claims.jti,
        kid=kid,
        version=0 if session is None else session.ver,
        policy=None if session is None or session.pol is UNSET else session.pol,
        room_grants=() if session is None or session.rooms is UNSET else session.rooms,
    )


def _check_claims(claims: ApiClaims | SessionClaims, kind: TokenKind) -> None:
    """What can be said of them without a clock or a setting."""
    if claims.aud != kind.audience:
        refuse_claim("aud", f"is not {kind.audience}")
    if isinstance(claims, ApiClaims):
        if claims.sub != claims.app:
            refuse_claim("sub", f"of {'an' if kind is TokenKind.API else 'a'} {kind.title} is not its app key")
    else:
        _check_session_claims(claims)
    life = claims.exp - claims.iat
    if life < 1:
        refuse_claim("exp", "is not after iat")
    if life > MAX_LIFE:
        refuse_claim("exp", f"is more than {MAX_LIFE} s after iat")


def _check_session_claims(claims: SessionClaims) -> None:
    if claims.xid is not UNSET:
        if claims.sub == claims.app:
            refuse_claim("sub", "is not a participant id although there is an external id")
        if len(claims.xid.encode("utf-8")) > 1024:
            refuse_claim("xid", "is longer than 1024 bytes")
    if claims.rooms is not UNSET:
        _check_rooms(claims.rooms)


def _check_rooms(grants: tuple[RoomGrant, ...]) -> None:
    try:
        check_room_grants(grants)
    except IllegalArgumentError as error:
        problem = error.message
    else:
        return
    refuse_claim("rooms", f"is not right: {problem[:-1]}")


@lru_cache(maxsize=64)
def _scopes(scope: str) -> tuple[str, ...]:
    """Apps ask for a few: hence the cache."""
    return tuple(scope.split(" ")) if scope else ()
