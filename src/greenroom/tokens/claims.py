"""What tokens say: the claims of both kinds, as typed structs (tokens.md, claims)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from greenroom.model import MAX_EXTERNAL_ID_BYTES, RoomGrant
from greenroom.room_names import MAX_ROOM_GRANTS
from greenroom.tokens.reader import refuse

API_TOKEN_LIFE = 1_800
"""Seconds; the default of `POST /v1/auth/token`."""

CLIENT_TOKEN_LIFE = 3_600
"""Seconds; the default of client access tokens, v1 and v2."""

MAX_LIFE = 86_400
"""Seconds; no token is minted for longer, and none is accepted."""

_TEXT = Annotated[str, Meta(min_length=1, max_length=256)]
_SECONDS = Annotated[int, Meta(ge=0, le=2**53)]
# 128 bits are 22 characters; a later service may take more.
_JTI = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{22,64}\Z")]
# RFC 6749, section 3.3: scope-tokens with one space between them; none at all is no scope.
_SCOPE = Annotated[str, Meta(pattern=r"\A(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?\Z")]


class TokenKind(Enum):
    """The kinds of token. They differ in ``typ`` and in ``aud``, so that one can never pass for another."""

    API = "api", "api+jwt", "greenroom:api", "API token"
    CLIENT = "client", "session+jwt", "greenroom:session", "client access token"
    REFRESH = "refresh", "refresh+jwt", "greenroom:refresh", "refresh token"

    typ: str
    """The header's ``typ``."""
    audience: str
    """The claim ``aud``."""
    title: str
    """What people call it."""

    def __new__(cls, value: str, typ: str, audience: str, title: str) -> TokenKind:
        """Found by its value alone."""
        kind = object.__new__(cls)
        kind._value_ = value
        kind.typ, kind.audience, kind.title = typ, audience, title
        return kind


class SessionPolicyClaim(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """How a client access token narrows its application's policy (``pol``). Unset members leave the application's.

    Unknown members are refused, not ignored: ignoring a restriction would widen what the token allows.
    """

    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    when_full: Literal["reject", "replace_oldest"] | UnsetType = UNSET
    same_device: Literal["replace", "allow"] | UnsetType = UNSET


class ApiClaims(Struct, frozen=True, kw_only=True):
    """Claims of an API token, and of a refresh token. ``sub`` is the app key."""

    iss: _TEXT
    aud: _TEXT
    app: _TEXT
    sub: _TEXT
    scope: _SCOPE
    iat: _SECONDS
    exp: _SECONDS
    jti: _JTI
    nbf: _SECONDS | UnsetType = UNSET


class SessionClaims(Struct, frozen=True, kw_only=True):
    """Claims of a client access token.

    ``sub`` is the participant id, or the app key where there is none yet; ``xid`` the external id, if any; ``ver`` 1
    lets `open` bring an external id that the token lacks (the legacy flow), 2 does not. ``rooms`` is what the token
    grants in rooms (R7).
    """

    iss: _TEXT
    aud: _TEXT
    app: _TEXT
    sub: _TEXT
    ver: Literal[1, 2]
    xid: Annotated[str, Meta(min_length=1, max_length=MAX_EXTERNAL_ID_BYTES)] | UnsetType = UNSET
    pol: SessionPolicyClaim | UnsetType = UNSET
    rooms: Annotated[tuple[RoomGrant, ...], Meta(max_length=MAX_ROOM_GRANTS)] | UnsetType = UNSET
    scope: _SCOPE
    iat: _SECONDS
    exp: _SECONDS
    jti: _JTI
    nbf: _SECONDS | UnsetType = UNSET


class VerifiedToken(Struct, frozen=True, kw_only=True, gc=False):
    """A token that `verify` found genuine and in time. Revocation by ``jti`` and by participant is the engine's to say.

    version: 1 or 2 for client access tokens, 0 for API tokens.
    participant_id: None for API tokens, and where the token names no participant yet.
    external_id: None where the token has none.
    issued_at, not_before, expires_at: Unix seconds, without leeway; not_before 0: it is good from issued_at on.
    policy: None leaves the application's.
    room_grants: what it grants in rooms (R7).
    name, avatar_url: what the token of an application's own issuer says, as it is; None in tokens of the service.
    """

    kind: TokenKind
    issuer: str
    app: str
    participant_id: str | None
    external_id: str | None
    scopes: tuple[str, ...]
    issued_at: int
    not_before: int = 0
    expires_at: int
    jti: str
    kid: str
    version: int
    policy: SessionPolicyClaim | None = None
    room_grants: tuple[RoomGrant, ...] = ()
    name: str | None = None
    avatar_url: str | None = None


_STRUCTS: dict[TokenKind, type[ApiClaims] | type[SessionClaims]] = {
    TokenKind.API: ApiClaims,
    TokenKind.CLIENT: SessionClaims,
    TokenKind.REFRESH: ApiClaims,
}

DECODERS: dict[TokenKind, msgspec.json.Decoder[ApiClaims | SessionClaims]] = {
    kind: msgspec.json.Decoder(struct) for kind, struct in _STRUCTS.items()
}
"""Of payloads. They take what `to_claims` takes, and JSON that the strict reader refuses."""

# Where msgspec says the fault is: the claim at the top of the path, or the one that is missing.
_AT_FAULT = re.compile(r"(?:at `\$\.|required field `)([a-z]+)[^`]*`\Z")

# For each claim what it must be, and where it is set: an error that only says "invalid" sends people searching.
_MEANING = {
    "iss": ("a string", "It is the service's issuer setting, by default its public URL."),
    "aud": ("one string", "Take an API token to the HTTP API, a client access token to session.open."),
    "app": ("a string, the app key", "The token endpoints set it from the app key."),
    "sub": ("a string", "The token endpoints set it: the participant id, or the app key."),
    "ver": ("1 or 2", "The token endpoints set it: v1 from /v1/oauth2/token, v2 from /v2/client-access-token."),
    "scope": ("a string of scopes with single spaces between", "Ask with scope or sessionScope when minting."),
    "iat": ("whole seconds since 1970", "The token endpoints set it."),
    "exp": ("whole seconds since 1970", "Ask with expires_in (1 to 86400 s) when minting."),
    "jti": ("at least 128 random bits in base64url", "The token endpoints set it."),
    "nbf": ("whole seconds since 1970", "The token endpoints do not set it."),
    "xid": ("a string of 1 to 1024 bytes", "Set externalId in the request for the client access token."),
    "rooms": (
        f"at most {MAX_ROOM_GRANTS} objects of name and can (join, watch, send, invite, kick)",
        "Set rooms in the request for the token.",
    ),
    "pol": ("an object of maxSessions, whenFull and sameDevice", "Set sessionPolicy in the request for the token."),
}


def refuse_claim(name: str, problem: str) -> NoReturn:
    """Raise the `TokenInvalidError` that names the claim and where it is set."""
    refuse(f"The token's claim {name} {problem}.", _MEANING[name][1])


def to_claims(members: dict[str, Any], kind: TokenKind) -> ApiClaims | SessionClaims:
    """The typed claims. No bool, string or fraction passes for a number; unknown claims are ignored."""
    try:
        return msgspec.convert(members, _STRUCTS[kind])
    except msgspec.ValidationError as error:
        at_fault = _AT_FAULT.search(str(error))
    # Out here, because msgspec's error quotes values. Only a known claim's name is taken from it.
    name = at_fault[1] if at_fault is not None else ""
    if name not in _MEANING:
        refuse("The token's claims do not fit together.")
    refuse_claim(name, f"is not {_MEANING[name][0]}" if name in members else "is missing")
