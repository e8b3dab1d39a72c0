"""The token endpoints, as the platform documented them (platform.md, tokens)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from greenroom.codes import ErrorCode
from greenroom.engines.base import RevokeToken
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError
from greenroom.external_ids import check_external_id
from greenroom.model import RoomGrant, SessionPolicy, participant_id_of
from greenroom.server.api.common import all_sessions
from greenroom.server.http.problems import NO_STORE, ProblemError, illegal
from greenroom.server.http.routes import Body, Call, Nothing, Origin, api, basic
from greenroom.tokens import (
    API_SCOPES,
    API_TOKEN_LIFE,
    CLIENT_TOKEN_LIFE,
    MAX_LIFE,
    SESSION_SCOPES,
    MintedToken,
    SessionPolicyClaim,
    TokenKind,
    VerifiedToken,
    mint_api_token,
    mint_client_token,
    mint_refresh_token,
    parse_scopes,
    verify,
)
from greenroom.tokens.scopes import CLIENT_ACCESS_TOKEN_CREATE

GRANT_TYPE = "client_credentials"
REFRESH_GRANT = "refresh_token"

_ApiLife = Annotated[
    int, Meta(ge=1, le=MAX_LIFE, description=f"Seconds, 1 to 86,400; {API_TOKEN_LIFE:,} where it is left out.")
]
_ClientLife = Annotated[
    int, Meta(ge=1, le=MAX_LIFE, description=f"Seconds, 1 to 86,400; {CLIENT_TOKEN_LIFE:,} where it is left out.")
]

# Any text is taken, and refused later: another grant has an `error` of its own (RFC 6749, section 5.2).
_GrantType = Annotated[
    str | None, Meta(description=f"`{GRANT_TYPE}`. A form needs it.", extra_json_schema={"enum": [GRANT_TYPE, None]})
]
_InHeader = Annotated[str | None, Meta(description="Accepted only in the `Authorization` header: leave it out.")]

# RFC 6749, section 3.3, without the demand for single spaces.
_SCOPE_TEXT = re.compile(r"[ !#-\[\]-~]*")


class _Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What OAuth clients may send beside the rest, here only to be refused (RFC 6749, section 2.3)."""

    client_id: _InHeader = None
    client_secret: _InHeader = None


class ApiTokenForm(_Form, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/auth/token`."""

    grant_type: _GrantType = None
    expires_in: _ApiLife | None = None
    scope: Annotated[str | None, Meta(description="Scopes, separated by spaces. Left out: all.")] = None


class ClientTokenForm(_Form, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/oauth2/token`."""

    grant_type: _GrantType = None
    expires_in: _ClientLife | None = None


class RefreshForm(_Form, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/oauth2/refresh`."""

    refresh_token: Annotated[
        str, Meta(min_length=1, description="The refresh token that came with the client access token.")
    ]
    grant_type: Annotated[str | None, Meta(description="`refresh_token`, or left out.")] = None
    expires_in: _ClientLife | None = None


class InvalidateForm(_Form, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/oauth2/invalidate`."""

    access_token: Annotated[str, Meta(min_length=1, description="The client access token.")]


class SessionPolicyRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How the token narrows the application's policy. What is left out stays the application's."""

    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    when_full: Literal["reject", "replace_oldest"] | UnsetType = UNSET
    same_device: Literal["replace", "allow"] | UnsetType = UNSET


class ClientAccessTokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v2/client-access-token`, at least ``{}``."""

    sessionScope: Annotated[
        str | None, Meta(description="Session scopes, separated by spaces. Left out: all; empty: none.")
    ] = None
    externalId: Annotated[
        str | None, Meta(description="The app's own id of the participant, at most 1,024 bytes of UTF-8.")
    ] = None
    expires_in: _ClientLife | None = None
    expiresIn: Annotated[_ClientLife | None, Meta(description="The same as `expires_in`.")] = None
    sessionPolicy: SessionPolicyRequest | None = None
    rooms: Annotated[
        tuple[RoomGrant, ...] | None,
        Meta(
            description="What the token grants in rooms, at most 32 entries, where the application's rooms.access is"
            " granted. A name is that of a room, or ends with a `*`, which stands for any rest."
        ),
    ] = None


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """A token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    scope: str


class RefreshableTokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """A token, and what renews it: at `POST /v1/oauth2/refresh`, within a day."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    scope: str
    refresh_token: str


async def api_token(call: Call[Nothing, Nothing, ApiTokenForm]) -> TokenReply:
    """An API token for the application whose key and secret were given."""
    form = call.body
    _check_client(call)
    _check_grant(call, form.grant_type, GRANT_TYPE)
    tenants = call.context.tenants
    minted = mint_api_token(
        tenants.keys.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        scopes=_scopes(form.scope, API_SCOPES),
        now=call.now,
        random_bytes=tenants.random_bytes,
        life=API_TOKEN_LIFE if form.expires_in is None else form.expires_in,
        issued_after=tenants.revocations.cutoff(call.app, None),
    )
    return _reply(minted)


async def client_token(call: Call[Nothing, Nothing, ClientTokenForm]) -> RefreshableTokenReply:
    """A client access token v1: for any participant; `open` may bring the external id (the legacy flow)."""
    _check_client(call)
    _check_grant(call, call.body.grant_type, GRANT_TYPE)
    return _client_token(call, call.body.expires_in)


async def refresh(call: Call[Nothing, Nothing, RefreshForm]) -> RefreshableTokenReply:
    """A new client access token v1 for the refresh token of the previous one, and a new refresh token. A refresh token
    is valid for a day, unless its client access token is revoked."""
    _check_client(call)
    if call.body.grant_type not in (None, REFRESH_GRANT):
        raise _unsupported(REFRESH_GRANT)
    context, problem = call.context, "refresh_token is not a valid refresh token of this application"
    try:
        token = verify(
            call.body.refresh_token,
            context.tenants.keys.ring,
            kind=TokenKind.REFRESH,
            issuer=context.issuer,
            now=call.now,
        )
    except GreenroomError as error:
        raise illegal(f"{problem}. {error}", error="invalid_grant") from None
    if token.app != call.app.key or context.tenants.revocations.is_revoked(call.app, token):
        # The same text for both: it must not reveal whose token it is.
        raise illegal(f"{problem}. Get a new client access token.", error="invalid_grant")
    return _client_token(call, call.body.expires_in)


def _client_token(call: Call[Any, Any, Any], life: int | None) -> RefreshableTokenReply:
    tenants, issuer, app = call.context.tenants, call.context.issuer, call.app.key
    ring = tenants.keys.ring
    minted = mint_client_token(
        ring,
        issuer=issuer,
        app=app,
        version=1,
        scopes=SESSION_SCOPES,
        now=call.now,
        random_bytes=tenants.random_bytes,
        life=CLIENT_TOKEN_LIFE if life is None else life,
        issued_after=tenants.revocations.cutoff(call.app, None),
    )
    tenants.minted.add(minted.token)
    renewal = mint_refresh_token(ring, issuer=issuer, app=app, access=minted, random_bytes=tenants.random_bytes)
    return RefreshableTokenReply(
        access_token=minted.token, expires_in=minted.life, scope=minted.scope, refresh_token=renewal
    )


async def client_access_token(call: Call[Nothing, Nothing, ClientAccessTokenRequest]) -> TokenReply:
    """A client access token v2: for the participant of the external id, with the scopes asked for."""
    body = call.body
    tenants = call.context.tenants
    external_id = check_external_id(body.externalId, "externalId")
    participant_id = None if external_id is None else participant_id_of(call.app.namespace, external_id)
    minted = mint_client_token(
        tenants.keys.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        version=2,
        scopes=_scopes(body.sessionScope, SESSION_SCOPES),
        now=call.now,
        random_bytes=tenants.random_bytes,
        participant_id=participant_id,
        external_id=external_id,
        policy=narrowed_policy(body.sessionPolicy, call.app.settings.policy),
        rooms=body.rooms,
        life=_life_of(body),
        issued_after=tenants.revocations.cutoff(call.app, participant_id),
    )
    tenants.minted.add(minted.token)
    return _reply(minted)


async def invalidate(call: Call[Nothing, Nothing, InvalidateForm]) -> Nothing:
    """Revokes one client access token of the application, and ends the sessions opened with it. One that
    has expired need not be revoked: that succeeds too."""
    _check_client(call)
    text = call.body.access_token
    tenants = call.context.tenants
    problem = "access_token is not a client access token of this application."
    try:
        token = tenants.issuers.verify(text, call.now) or verify(
            text, tenants.keys.ring, kind=TokenKind.CLIENT, issuer=call.context.issuer, now=call.now
        )
    except ServiceUnavailableError:
        raise
    except GreenroomError as error:
        if error.code is ErrorCode.TOKEN_EXPIRED:
            return Nothing()
        raise illegal(f"{problem} {error.hint}") from None
    if token.app != call.app.key:
        # The same text as for any other: it must not reveal whose token it is.
        raise illegal(f"{problem} Get a new token from this service.")
    if token.participant_id is not None:
        await _revoke(call, token, token.participant_id)
        return Nothing()
    # It names no participant, and several may have used it: first nothing more is opened with it, then the sessions say
    # whose they are.
    await _revoke(call, token, token.app)
    opened = {each.participant_id async for each in all_sessions(call.context, token.app) if each.jti == token.jti}
    for participant_id in sorted(opened):
        await _revoke(call, token, participant_id)
    return Nothing()


async def _revoke(call: Call[Nothing, Nothing, InvalidateForm], token: VerifiedToken, subject: str) -> None:
    request = RevokeToken(
        app=token.app,
        participant_id=subject,
        jti=token.jti,
        # Its refresh token, which lives a day, has the same jti.
        until=(token.issued_at + MAX_LIFE if token.version == 1 else token.expires_at) * 1000,
        reason="invalidated by the application",
    )
    await call.context.control.restrict(request)


def narrowed_policy(asked: SessionPolicyRequest | None, settings: SessionPolicy) -> SessionPolicyClaim | None:
    """The claim for what was asked; a token may narrow the application's policy, never widen it.

    Narrower is: fewer sessions; and any choice where the application's setting is its default. Raises ProblemError 400.
    """
    if asked is None:
        return None
    if asked.max_sessions is not UNSET and asked.max_sessions > settings.max_sessions:
        raise illegal(
            f"sessionPolicy.maxSessions is larger than the application's {settings.max_sessions}. "
            "A token can only narrow the application's policy."
        )
    return SessionPolicyClaim(max_sessions=asked.max_sessions, when_full=asked.when_full, same_device=asked.same_device)


def _check_client(call: Call[Any, Any, Any]) -> None:
    if call.body.client_secret is not None or call.body.client_id not in (None, call.app.key):
        raise illegal(
            "The client authenticates in two ways at once. Send app key and secret in the Authorization header, and"
            " neither client_id nor client_secret in the body (RFC 6749, section 2.3)."
        )


def _check_grant(call: Call[Any, Any, Any], given: str | None, wanted: str) -> None:
    """Clients of the platform post an empty JSON object; OAuth's form must name its grant (RFC 6749, section 4.4.2)."""
    if given is None and call.body_form is Body.FORM:
        raise illegal(f"The field grant_type is missing from the body. Send grant_type={wanted}.")
    if given not in (None, wanted):
        raise _unsupported(wanted)


def _unsupported(wanted: str) -> ProblemError:
    return illegal(f"Only grant_type={wanted} is accepted here.", error="unsupported_grant_type")


def _scopes(scope: str | None, known: Sequence[str]) -> tuple[str, ...]:
    text = "The scope has characters that no scope has (RFC 6749, section 3.3). Use names with spaces between."
    if scope is None or _SCOPE_TEXT.fullmatch(scope):
        try:
            return parse_scopes(scope, known)
        except IllegalArgumentError as error:
            text = str(error)
    raise illegal(text, error="invalid_scope")


def _life_of(body: ClientAccessTokenRequest) -> int:
    asked = [life for life in (body.expires_in, body.expiresIn) if life is not None]
    if len(set(asked)) > 1:
        raise illegal("expires_in and expiresIn disagree. Send one of them.")
    return asked[0] if asked else CLIENT_TOKEN_LIFE


def _reply(minted: MintedToken) -> TokenReply:
    return TokenReply(access_token=minted.token, expires_in=minted.life, scope=minted.scope)


ROUTES = (
    basic("POST /v1/auth/token", api_token, "Get an API token", tag="tokens"),
    basic("POST /v1/oauth2/token", client_token, "Get a client access token (v1)", tag="tokens"),
    basic("POST /v1/oauth2/refresh", refresh, "Renew a client access token (v1)", tag="tokens"),
    basic(
        "POST /v1/oauth2/invalidate",
        invalidate,
        "Revoke a client access token",
        tag="tokens",
        errors=(ErrorCode.SERVICE_UNAVAILABLE,),
    ),
    api(
        "POST /v2/client-access-token",
        client_access_token,
        "Get a client access token (v2)",
        CLIENT_ACCESS_TOKEN_CREATE,
        tag="tokens",
        headers=NO_STORE,
        origin=Origin.ANY,
        body_forms=(Body.JSON, Body.FORM),
    ),
)
