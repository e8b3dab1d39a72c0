"""Issuers of an application's own tokens: list, add, remove, test. The same for the application and for operators."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.errors import ConflictError, IllegalArgumentError, NotFoundError
from greenroom.model import Application, TokenIssuer
from greenroom.server.api.admin import AppPath
from greenroom.server.http.context import HttpContext
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, admin, api
from greenroom.server.tenants.issuers import MAX_ISSUERS, secret_context
from greenroom.tokens import MAX_LIFE, SESSION_SCOPES
from greenroom.tokens.issuers import key_of, public_members, shared_secret
from greenroom.tokens.scopes import SESSIONS_ADMIN, SESSIONS_READ

MAX_KEYS = 16
"""Of an issuer whose keys are stored."""

Algorithm = Literal["EdDSA", "ES256", "RS256", "PS256", "HS256"]
ClaimName = Annotated[
    str,
    Meta(
        min_length=1, max_length=256, description="A claim's name, or a JSON pointer like `/user_metadata/full_name`."
    ),
]
_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class IssuerPath(msgspec.Struct, frozen=True):
    """Names an issuer."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]


class AppIssuerPath(msgspec.Struct, frozen=True):
    """Names an issuer of an application."""

    app_key: str
    id: Annotated[str, Meta(min_length=1, max_length=64)]


class NewIssuer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A new issuer, with one of keys (public JWKs), jwksUrl and secret (for HS256 alone). issuer and audience are the
    claims `iss` and `aud` of its tokens, character by character. The external id is externalIdPrefix and the value of
    externalIdClaim. maxLife: seconds. sessionScopes null: all."""

    issuer: _Text
    audience: _Text
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, max_length=4)]
    keys: Annotated[tuple[dict[str, Any], ...], Meta(max_length=MAX_KEYS)] = ()
    jwks_url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    secret: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    external_id_claim: ClaimName = "sub"
    external_id_prefix: Annotated[str, Meta(max_length=256)] = ""
    name_claim: ClaimName | None = None
    avatar_url_claim: ClaimName | None = None
    rooms_claim: ClaimName | None = None
    session_scopes: Annotated[tuple[str, ...], Meta(max_length=16)] | None = None
    max_life: Annotated[int, Meta(ge=60, le=MAX_LIFE)] = MAX_LIFE


class IssuerKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key: its name and what it is used with. kid null: it has none."""

    kid: str | None
    alg: str


class KeySetView(msgspec.Struct, frozen=True, kw_only=True):
    """A fetched key set as the node asked has it. age: seconds; null: it has none, and fetches it at the next token.
    keys: how many it uses. failures: requests in a row that failed; why: of the last one, "" where it did not."""

    age: float | None
    keys: int
    failures: int
    why: str


class IssuerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An issuer, without its secret. key_set null: its keys are stored. created_at: Unix milliseconds."""

    id: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    keys: tuple[IssuerKeyView, ...]
    jwks_url: str | None
    key_set: KeySetView | None
    external_id_claim: str
    external_id_prefix: str
    name_claim: str | None
    avatar_url_claim: str | None
    rooms_claim: str | None
    session_scopes: tuple[str, ...] | None
    max_life: int
    created_at: int


class IssuerList(msgspec.Struct, frozen=True):
    """All issuers, oldest first."""

    items: tuple[IssuerView, ...]


class TokenToTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token. It is neither stored nor logged."""

    token: Annotated[str, Meta(min_length=1, max_length=16_384)]


class ExaminedPartView(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of one part of the token. error null: it is fine. hint: what to change."""

    part: str
    text: str
    error: str | None
    hint: str


class TestedToken(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a session opens with the token, as far as the token goes, and why not."""

    accepted: bool
    findings: tuple[ExaminedPartView, ...]


# -- what both do ------------------------------------------------------------------------------------------------------


def _views(context: HttpContext, app: Application) -> IssuerList:
    return IssuerList(tuple(_view(context, app, each) for each in app.issuers))


async def _add(context: HttpContext, app_key: str, body: NewIssuer, now: float) -> IssuerView:
    issuer = _made(context, app_key, body, now)

    def added(app: Application) -> Application:
        if len(app.issuers) >= MAX_ISSUERS:
            raise ConflictError(f"The application has {MAX_ISSUERS} issuers.", hint="Remove one first.")
        if any((each.issuer, each.audience) == (issuer.issuer, issuer.audience) for each in app.issuers):
            raise ConflictError(
                "The application has this issuer with this audience already.", hint="Remove it first, to change it."
            )
        return msgspec.structs.replace(app, issuers=(*app.issuers, issuer))

    app = await context.tenants.change(app_key, added)
    await context.control.announce_directory()
    if issuer.jwks_url is not None:
        await context.tenants.issuers.key_sets.fetch_now(app_key, issuer)
    return _view(context, app, issuer)


async def _remove(context: HttpContext, app_key: str, issuer_id: str) -> Nothing:
    def without(app: Application) -> Application:
        kept = tuple(each for each in app.issuers if each.id != issuer_id)
        if len(kept) == len(app.issuers):
            raise NotFoundError("There is no such issuer.", hint="See: greenroom apps issuers list.")
        return msgspec.structs.replace(app, issuers=kept)

    await context.tenants.change(app_key, without)
    await context.control.announce_directory()
    return Nothing()


async def _test(context: HttpContext, app: Application, token: str, now: float) -> TestedToken:
    findings = []
    for part, text, error in await context.tenants.issuers.examine(app, token, now):
        why = None if error is None else error.message
        findings.append(
            ExaminedPartView(part=part, text=text, error=why, hint="" if error is None else error.hint or "")
        )
    return TestedToken(accepted=all(one.error is None for one in findings), findings=tuple(findings))


def _made(context: HttpContext, app_key: str, body: NewIssuer, now: float) -> TokenIssuer:
    _check(context, body)
    tenants = context.tenants
    issuer_id = "iss_" + tenants.random_bytes(12).hex()
    sealed = ""
    if body.secret is not None:
        shared_secret(body.secret.encode())
        sealed = tenants.secrets.seal(body.secret, secret_context(app_key, issuer_id))
    url = body.jwks_url if body.jwks_url is None else tenants.issuers.key_sets.check_url(body.jwks_url)
    return TokenIssuer(
        id=issuer_id,
        issuer=body.issuer,
        audience=body.audience,
        algorithms=tuple(dict.fromkeys(body.algorithms)),
        keys=tuple(public_members(jwk) for jwk in body.keys),
        jwks_url=url,
        sealed_secret=sealed,
        external_id_claim=body.external_id_claim,
        external_id_prefix=body.external_id_prefix,
        name_claim=body.name_claim,
        avatar_url_claim=body.avatar_url_claim,
        rooms_claim=body.rooms_claim,
        session_scopes=body.session_scopes,
        max_life=body.max_life,
        created_at=int(now * 1000),
    )


def _check(context: HttpContext, body: NewIssuer) -> None:
    """Raises IllegalArgumentError for what can never verify a token, or would let it be checked with another kind of
    key than it was made for."""
    for name, text in (("issuer", body.issuer), ("audience", body.audience), ("prefix", body.external_id_prefix)):
        if not text.isprintable():
            raise IllegalArgumentError(f"{name} must have printable characters only.")
    if body.issuer == context.issuer:
        raise IllegalArgumentError(
            "issuer is this service's own.", hint="Name another one: tokens of the service need no issuer here."
        )
    if sum((bool(body.keys), body.jwks_url is not None, body.secret is not None)) != 1:
        raise IllegalArgumentError("An issuer needs exactly one of keys, jwksUrl and secret.")
    if ("HS256" in body.algorithms) != (body.secret is not None) or (body.secret and len(set(body.algorithms)) > 1):
        raise IllegalArgumentError(
            "HS256 needs secret, and no other algorithm; the others need keys or jwksUrl.",
            hint="If an issuer uses both, add it twice, with two audiences.",
        )
    kids = [key_of(jwk, body.algorithms).kid for jwk in body.keys]
    if len(set(kids)) < len(kids) or (len(kids) > 1 and None in kids):
        raise IllegalArgumentError("If there are several keys, each needs a different kid.")
    unknown = [scope for scope in body.session_scopes or () if scope not in SESSION_SCOPES]
    if unknown:
        raise IllegalArgumentError(
            f"The scope {unknown[0][:64]} does not exist here.", hint=f"Allowed: {', '.join(SESSION_SCOPES)}."
        )


def _view(context: HttpContext, app: Application, issuer: TokenIssuer) -> IssuerView:
    key_set = None
    if issuer.jwks_url is not None:
        age, keys, failures, why = context.tenants.issuers.key_sets.state(app.key, issuer)
        key_set = KeySetView(age=None if age is None else round(age, 1), keys=keys, failures=failures, why=why)
    return IssuerView(
        id=issuer.id,
        issuer=issuer.issuer,
        audience=issuer.audience,
        algorithms=issuer.algorithms,
        keys=tuple(_key_view(jwk, issuer) for jwk in issuer.keys),
        jwks_url=issuer.jwks_url,
        key_set=key_set,
        external_id_claim=issuer.external_id_claim,
        external_id_prefix=issuer.external_id_prefix,
        name_claim=issuer.name_claim,
        avatar_url_claim=issuer.avatar_url_claim,
        rooms_claim=issuer.rooms_claim,
        session_scopes=issuer.session_scopes,
        max_life=issuer.max_life,
        created_at=issuer.created_at,
    )


def _key_view(jwk: dict[str, Any], issuer: TokenIssuer) -> IssuerKeyView:
    key = key_of(jwk, issuer.algorithms)
    return IssuerKeyView(kid=key.kid, alg=key.alg)


# -- for the application -----------------------------------------------------------------------------------------------


async def list_issuers(call: Call[Nothing, Nothing, Nothing]) -> IssuerList:
    """The application's issuers."""
    return _views(call.context, call.app)


async def add_issuer(call: Call[Nothing, Nothing, NewIssuer]) -> IssuerView:
    """Adds an issuer. Its tokens open sessions from now on, on every node within seconds. A key set is fetched before
    the answer, which has the result."""
    return await _add(call.context, call.app.key, call.body, call.now)


async def remove_issuer(call: Call[IssuerPath, Nothing, Nothing]) -> Nothing:
    """Removes an issuer: its tokens no longer open or resume sessions. Sessions opened with them continue until their
    tokens expire; revoke the tokens to end them now."""
    return await _remove(call.context, call.app.key, call.path.id)


async def test_token(call: Call[Nothing, Nothing, TokenToTest]) -> TestedToken:
    """Shows, part by part, how a token is read, and everything that is wrong with it."""
    return await _test(call.context, call.app, call.body.token, call.now)


# -- for operators -----------------------------------------------------------------------------------------------------


def _application(call: Call[Any, Any, Any]) -> Application:
    found = call.context.tenants.get(call.path.app_key)
    if found is None:
        raise NotFoundError("There is no application with that key.", hint="See: greenroom apps list.")
    return found


async def list_issuers_of(call: Call[AppPath, Nothing, Nothing]) -> IssuerList:
    """An application's issuers."""
    return _views(call.context, _application(call))


async def add_issuer_of(call: Call[AppPath, Nothing, NewIssuer]) -> IssuerView:
    """Adds an issuer to an application."""
    return await _add(call.context, _application(call).key, call.body, call.now)


async def remove_issuer_of(call: Call[AppIssuerPath, Nothing, Nothing]) -> Nothing:
    """Removes an issuer of an application."""
    return await _remove(call.context, _application(call).key, call.path.id)


async def test_token_of(call: Call[AppPath, Nothing, TokenToTest]) -> TestedToken:
    """Shows, part by part, how a token of an application is read."""
    return await _test(call.context, _application(call), call.body.token, call.now)


_NOT_FOUND = (ErrorCode.NOT_FOUND,)
_CHANGED = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT)
_OWN = {"tag": "tokens"}
_LARGE = {"max_body_bytes": MAX_LARGE_BODY_BYTES}

ROUTES = (
    api("GET /v1/issuers", list_issuers, "List issuers", SESSIONS_READ, **_OWN),
    api(
        "POST /v1/issuers", add_issuer, "Add an issuer", SESSIONS_ADMIN,
        status=201, errors=(ErrorCode.CONFLICT,), **_OWN, **_LARGE,
    ),
    api("DELETE /v1/issuers/{id}", remove_issuer, "Remove an issuer", SESSIONS_ADMIN, errors=_CHANGED, **_OWN),
    api("POST /v1/issuers/test", test_token, "Test a token", SESSIONS_READ, **_OWN, **_LARGE),
    admin("GET /applications/{app_key}/issuers", list_issuers_of, "List an application's issuers", errors=_NOT_FOUND),
    admin(
        "POST /applications/{app_key}/issuers", add_issuer_of, "Add an issuer to an application",
        status=201, errors=_CHANGED, **_LARGE,
    ),
    admin(
        "POST /applications/{app_key}/issuers/test", test_token_of, "Test a token of an application",
        errors=_NOT_FOUND, **_LARGE,
    ),
    admin(
        "DELETE /applications/{app_key}/issuers/{id}", remove_issuer_of, "Remove an application's issuer",
        errors=_CHANGED,
    ),
)  # fmt: skip
