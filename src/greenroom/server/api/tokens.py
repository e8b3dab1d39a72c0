"""The token endpoints, as the platform documented them (platform.md, tokens)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from greenroom.codes import ErrorCode
from greenroom.engines.base import RestrictRequest
from greenroom.errors import GreenroomError
from greenroom.model import SessionPolicy
from greenroom.server.api.common import all_sessions
from greenroom.server.http.problems import NO_STORE, Problem, ProblemError, illegal
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
    parse_scopes,
    verify,
)
from greenroom.tokens.scopes import CLIENT_ACCESS_TOKEN_CREATE

GRANT_TYPE = "client_credentials"

_ApiLife = Annotated[
    int, Meta(ge=1, le=MAX_LIFE, description=f"Seconds, 1 to 86,400; {API_TOKEN_LIFE:,} where it is left out.")
]
_ClientLife = Annotated[
    int, Meta(ge=1, le=MAX_LIFE, description=f"Seconds, 1 to 86,400; {CLIENT_TOKEN_LIFE:,} where it is left out.")
]

# Any text is taken, and refused later: another grant has an `error` of its own (RFC 6749, section 5.2).
_GrantType = Annotated[str, Meta(description=f"`{GRANT_TYPE}`.", extra_json_schema={"enum": [GRANT_TYPE]})]

# RFC 6749, section 3.3, without the demand for single spaces: what is merely unknown is dropped, not refused.
_SCOPE_TEXT = re.compile(r"[ !#-\[\]-~]*")


class ApiTokenForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of `POST /v1/auth/token`."""

    grant_type: _GrantType
    expires_in: _ApiLife | None = None
    scope: Annotated[str | None, Meta(description="Space-separated; none means all, empty means none.")] = None


class ClientTokenForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of `POST /v1/oauth2/token`."""

    grant_type: _GrantType
    expires_in: _ClientLife | None = None


class InvalidateForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of `POST /v1/oauth2/invalidate`."""

    access_token: Annotated[str, Meta(min_length=1, description="The client access token.")]


class SessionPolicyRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How the token narrows the application's policy. What is left out stays the application's."""

    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    when_full: Literal["reject", "replace_oldest"] | UnsetType = UNSET
    same_device: Literal["replace", "allow"] | UnsetType = UNSET


class ClientAccessTokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v2/client-access-token`, at least ``{}``."""

    sessionScope: Annotated[
        str | None, Meta(description="Space-separated session scopes; none means all, empty means none.")
    ] = None
    externalId: Annotated[
        str | None, Meta(description="The app's own id of the participant, at most 1,024 bytes of UTF-8.")
    ] = None
    expires_in: _ClientLife | None = None
    expiresIn: Annotated[_ClientLife | None, Meta(description="The same as expires_in.")] = None
    sessionPolicy: SessionPolicyRequest | None = None


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """A token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    scope: str


async def api_token(call: Call[Nothing, Nothing, ApiTokenForm]) -> TokenReply:
    """An API token for the application whose key and secret were given."""
    form = call.body
    _check_grant(form.grant_type)
    tenants = call.context.tenants
    minted = mint_api_token(
        tenants.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        scopes=parse_scopes(_checked_scope(form.scope), API_SCOPES),
        now=call.now,
        random_bytes=tenants.random_bytes,
        life=API_TOKEN_LIFE if form.expires_in is None else form.expires_in,
        issued_after=tenants.revocations.cutoff(call.app, None),
    )
    return _reply(minted)


async def client_token(call: Call[Nothing, Nothing, ClientTokenForm]) -> TokenReply:
    """A client access token v1: for any participant; `open` may bring the external id (the legacy flow)."""
    form = call.body
    _check_grant(form.grant_type)
    tenants = call.context.tenants
    minted = mint_client_token(
        tenants.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        version=1,
        scopes=SESSION_SCOPES,
        now=call.now,
        random_bytes=tenants.random_bytes,
        life=CLIENT_TOKEN_LIFE if form.expires_in is None else form.expires_in,
        issued_after=tenants.revocations.cutoff(call.app, None),
    )
    tenants.minted.add(minted.token)
    return _reply(minted)


async def client_access_token(call: Call[Nothing, Nothing, ClientAccessTokenRequest]) -> TokenReply:
    """A client access token v2: for the participant of the external id, with the scopes asked for."""
    body = call.body
    tenants = call.context.tenants
    external_id = body.externalId or None
    participant_id = None if external_id is None else tenants.participant_id(call.app, _encodable(external_id))
    minted = mint_client_token(
        tenants.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        version=2,
        scopes=parse_scopes(_checked_scope(body.sessionScope), SESSION_SCOPES),
        now=call.now,
        random_bytes=tenants.random_bytes,
        participant_id=participant_id,
        external_id=external_id,
        policy=narrowed_policy(body.sessionPolicy, call.app.settings.policy),
        life=_life_of(body),
        issued_after=tenants.revocations.cutoff(call.app, participant_id),
    )
    tenants.minted.add(minted.token)
    return _reply(minted)


async def invalidate(call: Call[Nothing, Nothing, InvalidateForm]) -> Nothing:
    """Revokes one client access token of the application, and ends the sessions opened with it. One whose time is over
    needs no revoking: a success too."""
    text = call.body.access_token
    tenants = call.context.tenants
    problem = "access_token is no client access token of this application."
    try:
        token = verify(text, tenants.ring, kind=TokenKind.CLIENT, issuer=call.context.issuer, now=call.now)
    except GreenroomError as error:
        if error.code is ErrorCode.TOKEN_EXPIRED:
            return Nothing()
        raise illegal(f"{problem} {error.hint}") from None
    if token.app != call.app.key:
        # In the same words as for any other: whose it is is nobody's business.
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
    request = RestrictRequest(
        app=token.app,
        kind="jti",
        participant_id=subject,
        jti=token.jti,
        until=token.expires_at * 1000,
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


def _check_grant(grant_type: str) -> None:
    if grant_type != GRANT_TYPE:
        raise illegal(f"Only grant_type={GRANT_TYPE} is taken here.", error="unsupported_grant_type")


def _checked_scope(scope: str | None) -> str | None:
    if scope is not None and not _SCOPE_TEXT.fullmatch(scope):
        text = "The scope has characters that no scope has (RFC 6749, section 3.3). Use names with spaces between."
        raise ProblemError(Problem(400, "invalid_scope", 90, "Illegal_argument", text))
    return scope


def _encodable(external_id: str) -> str:
    """UUIDv5 wants UTF-8; what is not is refused here as `mint_client_token` would."""
    try:
        external_id.encode("utf-8")
    except UnicodeEncodeError:
        raise illegal("externalId has half a surrogate pair in it.") from None
    return external_id


def _life_of(body: ClientAccessTokenRequest) -> int:
    asked = [life for life in (body.expires_in, body.expiresIn) if life is not None]
    if len(set(asked)) > 1:
        raise illegal("expires_in and expiresIn disagree. Send one of them.")
    return asked[0] if asked else CLIENT_TOKEN_LIFE


def _reply(minted: MintedToken) -> TokenReply:
    return TokenReply(access_token=minted.token, expires_in=minted.life, scope=minted.scope)


ROUTES = (
    basic("POST /v1/auth/token", api_token, "Get an API token", tag="tokens", body_form=Body.FORM),
    basic("POST /v1/oauth2/token", client_token, "Get a client access token (v1)", tag="tokens", body_form=Body.FORM),
    basic(
        "POST /v1/oauth2/invalidate",
        invalidate,
        "Revoke a client access token",
        tag="tokens",
        body_form=Body.FORM,
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
    ),
)
