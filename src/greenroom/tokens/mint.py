"""Minting. Time and randomness are passed in; what is minted, `verify` accepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor
from typing import Any, NamedTuple

import msgspec

from greenroom.errors import IllegalArgumentError
from greenroom.model import RoomGrant
from greenroom.room_names import check_room_grants
from greenroom.tokens.claims import API_TOKEN_LIFE, CLIENT_TOKEN_LIFE, MAX_LIFE, SessionPolicyClaim, TokenKind
from greenroom.tokens.encoding import draw, encode_base64url
from greenroom.tokens.keyring import KeyRing, SigningKey
from greenroom.tokens.reader import MAX_TOKEN_BYTES

_JTI_BYTES = 16
_MAX_TEXT = 256


class MintedToken(NamedTuple):
    """A new token and what the endpoints answer about it. Its text does not show the token.

    issued_at, expires_at: Unix seconds. life: seconds. scope: space-separated.
    """

    token: str
    jti: str
    issued_at: int
    expires_at: int
    life: int
    scope: str

    def __repr__(self) -> str:
        return f"MintedToken(jti={self.jti!r}, issued_at={self.issued_at}, expires_at={self.expires_at})"


def mint_api_token(
    ring: KeyRing,
    *,
    issuer: str,
    app: str,
    scopes: Sequence[str],
    now: float,
    random_bytes: Callable[[int], bytes],
    life: int = API_TOKEN_LIFE,
    issued_after: int | None = None,
) -> MintedToken:
    """An API token: what an app's backend calls the HTTP API with.

    issuer: the service's ``issuer`` setting. app: the app key. scopes: as `parse_scopes` granted them.
    now: Unix seconds. life: 1 to 86,400 s. issued_after: see `mint_client_token`.
    Raises `IllegalArgumentError`.
    """
    claims: dict[str, Any] = {"iss": issuer, "aud": TokenKind.API.audience, "app": app, "sub": app}
    return _mint(ring.current, TokenKind.API, claims, scopes, now, random_bytes, life, issued_after)


def mint_client_token(
    ring: KeyRing,
    *,
    issuer: str,
    app: str,
    version: int,
    scopes: Sequence[str],
    now: float,
    random_bytes: Callable[[int], bytes],
    participant_id: str | None = None,
    external_id: str | None = None,
    policy: SessionPolicyClaim | None = None,
    rooms: Sequence[RoomGrant] | None = None,
    life: int = CLIENT_TOKEN_LIFE,
    issued_after: int | None = None,
) -> MintedToken:
    """A client access token: what one participant's SDK opens a session with.

    version: 1 (`POST /v1/oauth2/token`: `open` may bring an external id) or 2 (`POST /v2/client-access-token`).
    external_id: as `greenroom.external_ids.check_external_id` took it; None and "" are none. It is compared byte by
        byte and never normalised (S2). Where it is given, participant_id must be.
    policy: what narrows the application's policy; None leaves it.
    rooms: what the token grants in rooms, where the application's `rooms.access` is ``granted`` (R7); None: nothing.
    issued_after: the newest cut-off known for the participant, Unix seconds (S18: revoked is ``iat`` <= cut-off).
        The token's ``iat`` is above it, if need be by up to a second above `now`, which the leeway covers.
    Others as `mint_api_token`. Raises `IllegalArgumentError`.
    """
    if version not in (1, 2):
        raise IllegalArgumentError("A client access token is of version 1 or 2.")
    external_id = external_id or None
    if external_id is not None and participant_id is None:
        raise IllegalArgumentError("An external id needs the participant id that belongs to it.")
    claims: dict[str, Any] = {"iss": issuer, "aud": TokenKind.CLIENT.audience, "app": app}
    claims |= {"sub": app if participant_id is None else participant_id, "ver": version}
    if external_id is not None:
        claims["xid"] = external_id
    if policy is not None and policy != SessionPolicyClaim():
        claims["pol"] = policy
    if rooms:
        claims["rooms"] = check_room_grants(rooms)
    return _mint(ring.current, TokenKind.CLIENT, claims, scopes, now, random_bytes, life, issued_after)


def mint_refresh_token(
    ring: KeyRing, *, issuer: str, app: str, access: MintedToken, random_bytes: Callable[[int], bytes]
) -> str:
    """A refresh token for a client access token of version 1, good for a day; it is no use without the application's
    credentials. It has the access token's ``jti``: whoever revokes that one revokes both."""
    claims: dict[str, Any] = {"iss": issuer, "aud": TokenKind.REFRESH.audience, "app": app, "sub": app}
    claims["jti"] = access.jti
    return _mint(ring.current, TokenKind.REFRESH, claims, (), access.issued_at, random_bytes, MAX_LIFE, None).token


def check_life(life: object) -> int:
    """`life` if it is a whole number of seconds from 1 to 86,400. Raises `IllegalArgumentError`."""
    if type(life) is not int or not 1 <= life <= MAX_LIFE:
        raise IllegalArgumentError("expires_in is out of range.", hint=f"Use whole seconds from 1 to {MAX_LIFE}.")
    return life


def _mint(
    key: SigningKey,
    kind: TokenKind,
    claims: dict[str, Any],
    scopes: Sequence[str],
    now: float,
    random_bytes: Callable[[int], bytes],
    life: int,
    issued_after: int | None,
) -> MintedToken:
    for name in ("iss", "app", "sub"):
        if not 1 <= len(claims[name]) <= _MAX_TEXT:
            raise IllegalArgumentError(f"The claim {name} is empty or longer than {_MAX_TEXT} characters.")
    issued_at = floor(now)
    if issued_after is not None:
        issued_at = max(issued_at, issued_after + 1)
    expires_at = issued_at + check_life(life)
    jti = claims.get("jti") or encode_base64url(draw(random_bytes, _JTI_BYTES))
    scope = " ".join(scopes)
    claims |= {"scope": scope, "iat": issued_at, "exp": expires_at, "jti": jti}
    token = _sign(key, kind, msgspec.json.encode(claims))
    if len(token) > MAX_TOKEN_BYTES:
        raise IllegalArgumentError(
            f"The token would be longer than {MAX_TOKEN_BYTES} bytes.", hint="Ask for less scope, or fewer rooms."
        )
    return MintedToken(token, jti, issued_at, expires_at, life, scope)


def _sign(key: SigningKey, kind: TokenKind, payload: bytes) -> str:
    header = msgspec.json.encode({"alg": key.alg.value, "typ": kind.typ, "kid": key.kid})
    signing_input = f"{encode_base64url(header)}.{encode_base64url(payload)}"
    return f"{signing_input}.{encode_base64url(key.sign(signing_input.encode('ascii')))}"
