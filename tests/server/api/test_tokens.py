"""The token endpoints, field by field (platform.md, tokens), on real sockets."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import msgspec
import pytest

from greenroom.engines.base import RevokeToken
from greenroom.errors import TokenInvalidError
from greenroom.model import Application, Restriction, SessionPolicy, participant_id_of
from greenroom.tokens import API_SCOPES, SESSION_SCOPES, TokenKind, verify
from tests.server.http_service import (
    ISSUER,
    START,
    FakeService,
    Reply,
    Site,
    basic,
    claims_of,
    http_site,
    request_bytes,
)
from tests.tokens.forge import Work

GRANT = "grant_type=client_credentials"
API, V1, INVALIDATE, V2 = "/v1/auth/token", "/v1/oauth2/token", "/v1/oauth2/invalidate", "/v2/client-access-token"
REFRESH = "/v1/oauth2/refresh"


class Backend:
    """An app's backend: knows its key and secret, asks for tokens."""

    def __init__(self, site: Site, app: Application, secret: str) -> None:
        self.site = site
        self.app = app
        self.secret = secret

    @classmethod
    async def of(cls, site: Site, name: str = "Test") -> Backend:
        """A backend with an application of its own."""
        return cls(site, *await site.service.tenants.create_application(name))

    async def form(self, path: str, body: str = GRANT) -> Reply:
        """A form with key and secret."""
        return await self.site.form(path, body, Authorization=basic(self.app.key, self.secret))

    async def api_token(self, more: str = "") -> str:
        """An API token."""
        reply = await self.form(API, GRANT + more)
        assert reply.status == 200, reply
        return str(reply.json["access_token"])

    async def v2(self, body: Any, token: str | None = None, scheme: str = "Bearer") -> Reply:
        """A client access token v2."""
        token = await self.api_token() if token is None else token
        return await self.site.json("POST", V2, body, Authorization=f"{scheme} {token}")


def check_token_reply(reply: Reply, life: int, scope: tuple[str, ...]) -> dict[str, Any]:
    """A reply of RFC 6749, section 5.1, with these values; the token's claims."""
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["pragma"] == "no-cache"
    body = reply.json
    assert body.keys() - {"refresh_token"} == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", life, " ".join(scope))
    claims = claims_of(body["access_token"])
    assert claims["exp"] - claims["iat"] == life
    assert claims["scope"] == body["scope"]
    return claims


# --- the documented requests ------------------------------------------------------------------------------------------


async def test_api_token() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        claims = check_token_reply(await backend.form(API), 1_800, API_SCOPES)
        assert (claims["iss"], claims["aud"]) == (ISSUER, "greenroom:api")
        assert claims["app"] == claims["sub"] == backend.app.key


async def test_client_access_token_v1() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        claims = check_token_reply(await backend.form(V1), 3_600, SESSION_SCOPES)
        assert (claims["aud"], claims["ver"], claims["sub"]) == ("greenroom:session", 1, backend.app.key)
        assert "xid" not in claims


async def test_client_access_token_v2() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        claims = check_token_reply(await backend.v2({"externalId": "anna"}), 3_600, SESSION_SCOPES)
        assert (claims["aud"], claims["ver"], claims["xid"]) == ("greenroom:session", 2, "anna")
        assert UUID(claims["sub"]).version == 5
        again = check_token_reply(await backend.v2({"externalId": "anna"}), 3_600, SESSION_SCOPES)
        assert again["sub"] == claims["sub"]
        assert again["jti"] != claims["jti"]


async def test_client_access_token_v2_without_external_id_is_anonymous() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        for body in ({}, {"externalId": ""}, {"externalId": None}):
            claims = check_token_reply(await backend.v2(body), 3_600, SESSION_SCOPES)
            assert claims["sub"] == backend.app.key
            assert "xid" not in claims


async def test_the_same_external_id_is_another_participant_in_another_application() -> None:
    async with http_site() as site:
        subjects = {
            claims_of((await (await Backend.of(site, name)).v2({"externalId": "anna"})).json["access_token"])["sub"]
            for name in ("One", "Two")
        }
        assert len(subjects) == 2


async def test_tokens_verify_with_the_service_s_own_keys_and_only_as_what_they_are() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        tenants = site.service.tenants
        token = (await backend.v2({"externalId": "anna"})).json["access_token"]
        found = verify(token, tenants.keys.ring, kind=TokenKind.CLIENT, issuer=ISSUER, now=START)
        assert found.external_id == "anna"
        refused = await backend.v2({}, token)
        assert refused.status == 401
        assert refused.error["error_reason"] == "Invalid_token"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_comes_back_in_any_letter_case(scheme: str) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        assert (await backend.v2({}, scheme=scheme)).status == 200


# --- expires_in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, V1])
@pytest.mark.parametrize("life", [1, 600, 86_400])
async def test_expires_in_of_forms(path: str, life: int) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).form(path, f"{GRANT}&expires_in={life}")
        assert reply.json["expires_in"] == life


@pytest.mark.parametrize("path", [API, V1])
@pytest.mark.parametrize(
    "life",
    [
        "0",
        "-1",
        "86401",
        "99999999999999999999",
        "1.5",
        "600.0",
        "6e2",
        "0x10",
        "+600",
        "600s",
        "%20600",
        "６００",
        "true",
    ],
)
async def test_expires_in_of_forms_out_of_range(path: str, life: str) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).form(path, f"{GRANT}&expires_in={quote_plus(life, safe='%')}")
        assert reply.status == 400
        assert (reply.error["error"], reply.error["error_code"]) == ("invalid_request", 90)
        assert "expires_in" in reply.error["error_description"]


async def test_a_field_without_value_counts_as_omitted() -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).form(API, f"{GRANT}&expires_in=")
        assert reply.json["expires_in"] == 1_800


@pytest.mark.parametrize("name", ["expires_in", "expiresIn"])
@pytest.mark.parametrize("life", [1, 600, 86_400])
async def test_both_spellings_of_expires_in(name: str, life: int) -> None:
    async with http_site() as site:
        assert (await (await Backend.of(site)).v2({name: life})).json["expires_in"] == life


@pytest.mark.parametrize("name", ["expires_in", "expiresIn"])
@pytest.mark.parametrize("life", [0, -1, 86_401, 1.5, "600", True, [600], {}, 10**30])
async def test_both_spellings_of_expires_in_out_of_range(name: str, life: Any) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).v2({name: life})
        assert (reply.status, reply.error["error_code"]) == (400, 90)
        assert name in reply.error["error_description"]


async def test_spellings_that_agree_are_taken_and_those_that_disagree_refused() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        assert (await backend.v2({"expires_in": 60, "expiresIn": 60})).json["expires_in"] == 60
        reply = await backend.v2({"expires_in": 60, "expiresIn": 61})
        assert (reply.status, reply.error["error_reason"]) == (400, "Illegal_argument")
        assert "disagree" in reply.error["error_description"]


# --- scopes -----------------------------------------------------------------------------------------------------------

SCOPES = [
    (None, None),
    ("", ()),
    ("session:update", ("session:update",)),
    ("session:update  session:update", ("session:update",)),
    ("*", ("*",)),
]


@pytest.mark.parametrize(("asked", "granted"), SCOPES)
async def test_session_scopes(asked: str | None, granted: tuple[str, ...] | None) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        check_token_reply(
            await backend.v2({"sessionScope": asked}), 3_600, SESSION_SCOPES if granted is None else granted
        )


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, API_SCOPES),
        ("", API_SCOPES),  # without a value: omitted (RFC 6749, section 3.1)
        ("comms:conf:create sessions:read", ("comms:conf:create", "sessions:read")),
        ("comms:*", ("comms:*",)),
        ("*", ("*",)),
    ],
)
async def test_api_scopes(asked: str | None, granted: tuple[str, ...]) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        more = "" if asked is None else f"&scope={quote_plus(asked)}"
        check_token_reply(await backend.form(API, GRANT + more), 1_800, granted)


@pytest.mark.parametrize("scope", ['say "x"', "back\\slash", "tab\tbed", "ünknown", "nonsense", "* Conf:Create"])
async def test_what_no_scope_is_is_invalid_scope(scope: str) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        for reply in (
            await backend.form(API, f"{GRANT}&scope={quote_plus(scope)}"),
            await backend.v2({"sessionScope": scope}),
        ):
            assert (reply.status, reply.error["error"], reply.error["error_code"]) == (400, "invalid_scope", 90)


@pytest.mark.parametrize(
    ("scope", "status"),
    [("comms:client_access_token:create", 200), ("comms:*", 200), ("*", 200), ("sessions:read", 403)],
)
async def test_v2_needs_its_api_scope(scope: str, status: int) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        reply = await backend.v2({}, await backend.api_token(f"&scope={quote_plus(scope)}"))
        assert reply.status == status
        if status == 403:
            assert reply.error["error"] == "insufficient_scope"
            assert reply.error["error_reason"] == "Insufficient_scope"
            challenge = reply.headers["www-authenticate"]
            assert 'error="insufficient_scope"' in challenge
            assert 'scope="comms:client_access_token:create"' in challenge


# --- grant_type -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, V1])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=Client_Credentials", "unsupported_grant_type"),
        ("GRANT_TYPE=client_credentials", "invalid_request"),
    ],
)
async def test_the_only_grant_is_client_credentials(path: str, body: str, error: str) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).form(path, body)
        assert (reply.status, reply.error["error"], reply.error["error_code"]) == (400, error, 90)


async def test_unknown_fields_of_a_form_are_ignored_and_members_of_json_refused_by_name() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        assert (await backend.form(API, f"{GRANT}&audience=x&resource=y&resource=z")).status == 200
        typed = {"external_id": "externalId", "sessionscope": "sessionScope", "expire": "expires_in"}
        for member, meant in typed.items():
            reply = await backend.v2({member: "a"})
            assert (reply.status, reply.error["error"]) == (400, "invalid_request")
            assert f"has no field {member}. Did you mean {meant}?" in reply.error["error_description"]
        text = (await backend.v2({"sessionPolicy": {"max_sessions": 1}})).error["error_description"]
        assert text == "The body has no field sessionPolicy.max_sessions. Did you mean maxSessions?"


@pytest.mark.parametrize("path", [API, V1])
@pytest.mark.parametrize("body", [{}, {"grant_type": "client_credentials"}, {"expires_in": 1_800}])
async def test_what_apps_of_the_platform_post_as_json_is_taken(path: str, body: dict[str, Any]) -> None:
    """`axios.post(url, {}, basic)`, and the like."""
    async with http_site() as site:
        backend = await Backend.of(site)
        reply = await site.json("POST", path, body, Authorization=basic(backend.app.key, backend.secret))
        assert reply.status == 200, reply
        assert reply.json["token_type"] == "Bearer"


async def test_v2_takes_a_form_too() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = await backend.api_token()
        form = "externalId=anna&sessionScope=conf:create&expires_in=60"
        reply = await site.form(V2, form, Authorization=f"Bearer {token}")
        assert check_token_reply(reply, 60, ("conf:create",))["xid"] == "anna"
        reply = await site.form(V2, "external_id=anna", Authorization=f"Bearer {token}")
        assert "Did you mean externalId?" in reply.error["error_description"]


@pytest.mark.parametrize("path", [API, V1, REFRESH, INVALIDATE, V2])
async def test_json_sent_as_text_is_refused_with_the_header_to_send(path: str) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        who = f"Bearer {await backend.api_token()}" if path == V2 else basic(backend.app.key, backend.secret)
        headers = {"Content-Type": "text/plain;charset=UTF-8", "Authorization": who}
        reply = await site.send("POST", path, b"{}", headers)
        assert reply.status == 415
        assert "JSON sent as text/plain" in reply.error["error_description"]
        assert "Content-Type: application/json" in reply.error["error_description"]


# --- refresh tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_form", [True, False])
async def test_a_refresh_token_renews_a_client_access_token(as_form: bool) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        first = (await backend.form(V1)).json
        if as_form:
            reply = await backend.form(REFRESH, f"grant_type=refresh_token&refresh_token={first['refresh_token']}")
        else:
            body = {"refresh_token": first["refresh_token"]}
            reply = await site.json("POST", REFRESH, body, Authorization=basic(backend.app.key, backend.secret))
        claims = check_token_reply(reply, 3_600, SESSION_SCOPES)
        assert claims["ver"] == 1
        assert reply.json["access_token"] != first["access_token"]
        again = await backend.form(REFRESH, f"refresh_token={reply.json['refresh_token']}")
        assert again.status == 200


async def test_a_refresh_token_opens_nothing_and_other_tokens_renew_nothing() -> None:
    async with http_site() as site:
        backend, other = await Backend.of(site, "One"), await Backend.of(site, "Two")
        pair = (await backend.form(V1)).json
        ring = site.service.tenants.keys.ring
        with pytest.raises(TokenInvalidError):
            verify(pair["refresh_token"], ring, kind=TokenKind.CLIENT, issuer=ISSUER, now=START)
        assert (await backend.v2({}, pair["refresh_token"])).status == 401
        for token in (pair["access_token"], await backend.api_token(), "x.y.z"):
            reply = await backend.form(REFRESH, f"refresh_token={token}")
            assert (reply.status, reply.error["error"]) == (400, "invalid_grant")
        reply = await other.form(REFRESH, f"refresh_token={pair['refresh_token']}")
        assert (reply.status, reply.error["error"]) == (400, "invalid_grant")


async def test_a_refresh_token_ends_with_its_day_and_with_its_access_token() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        pair, revoked = (await backend.form(V1)).json, (await backend.form(V1)).json
        # As `POST /v1/oauth2/invalidate` does.
        jti, app = claims_of(revoked["access_token"])["jti"], backend.app.key
        await site.service.restrict(RevokeToken(app=app, participant_id=app, jti=jti))
        reply = await backend.form(REFRESH, f"refresh_token={revoked['refresh_token']}")
        assert (reply.status, reply.error["error"]) == (400, "invalid_grant")
        site.service.clock.now += 86_400 + 31
        reply = await backend.form(REFRESH, f"refresh_token={pair['refresh_token']}")
        assert (reply.status, reply.error["error"]) == (400, "invalid_grant")
        assert (await backend.form(REFRESH, "grant_type=password&refresh_token=x")).error[
            "error"
        ] == "unsupported_grant_type"


# --- one way to say who calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, V1, REFRESH, INVALIDATE])
@pytest.mark.parametrize("more", ["client_secret=x", "client_id=another"])
async def test_two_ways_of_client_authentication_at_once_are_refused(path: str, more: str) -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        form = f"{GRANT if path in (API, V1) else 'refresh_token=x' if path == REFRESH else 'access_token=x'}&{more}"
        reply = await backend.form(path, form)
        assert (reply.status, reply.error["error"]) == (400, "invalid_request")
        assert "two ways" in reply.error["error_description"]


async def test_the_client_s_own_id_in_the_form_is_no_second_way() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        assert (await backend.form(API, f"{GRANT}&client_id={backend.app.key}")).status == 200


async def test_two_authorization_headers_are_refused() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        request = request_bytes("POST", API, GRANT.encode(), {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": basic(backend.app.key, backend.secret) + "\r\nAuthorization: Bearer x",
        })  # fmt: skip
        async with site.wire() as wire:
            await wire.send(request)
            reply = await wire.reply()
        assert (reply.status, reply.error["error"]) == (400, "invalid_request")
        assert "several Authorization headers" in reply.error["error_description"]


# --- external ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "external_id", ["a", " ", "x" * 1_024, "é" * 512, "🙂" * 256, "anna@example.org", "__proto__", "null"]
)
async def test_external_ids_come_back_byte_for_byte(external_id: str) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).v2({"externalId": external_id})
        assert claims_of(reply.json["access_token"])["xid"] == external_id


async def test_external_ids_are_not_normalised() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        replies = [await backend.v2({"externalId": text}) for text in ("\u00e9", "e\u0301")]
        assert len({claims_of(reply.json["access_token"])["sub"] for reply in replies}) == 2


@pytest.mark.parametrize("external_id", ["x" * 1_025, "é" * 513, "a\u0000b", "a\nb", "a\u0085b", "\u007f"])
async def test_bad_external_ids_are_refused(external_id: str) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).v2({"externalId": external_id})
        assert (reply.status, reply.error["error_reason"]) == (400, "Illegal_argument")
        assert "externalId" in reply.error["error_description"]


# --- sessionPolicy ----------------------------------------------------------------------------------------------------


async def test_session_policy_narrows() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        policy = {"maxSessions": 2, "whenFull": "replace_oldest", "sameDevice": "allow"}
        assert claims_of((await backend.v2({"sessionPolicy": policy})).json["access_token"])["pol"] == policy
        assert claims_of((await backend.v2({"sessionPolicy": {"maxSessions": 1}})).json["access_token"])["pol"] == {
            "maxSessions": 1
        }
        assert "pol" not in claims_of((await backend.v2({"sessionPolicy": {}})).json["access_token"])


@pytest.mark.parametrize(
    "policy",
    [
        {"maxSessions": 0},
        {"maxSessions": "2"},
        {"whenFull": "explode"},
        {"sameDevice": "REPLACE"},
        {"max_sessions": 2},
        {"maxSessions": 1, "other": 1},
        [],
        "reject",
    ],
)
async def test_a_policy_that_is_none_is_refused(policy: Any) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).v2({"sessionPolicy": policy})
        assert (reply.status, reply.error["error_code"]) == (400, 90)


async def test_a_policy_cannot_widen_the_applications() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)

        def narrow(app: Application) -> Application:
            policy = SessionPolicy(max_sessions=3)
            return msgspec.structs.replace(app, settings=msgspec.structs.replace(app.settings, policy=policy))

        await site.service.tenants.change(backend.app.key, narrow)
        assert (await backend.v2({"sessionPolicy": {"maxSessions": 3}})).status == 200
        assert (await backend.v2({"sessionPolicy": {"maxSessions": 4}})).status == 400


# --- rooms ------------------------------------------------------------------------------------------------------------


async def test_a_token_grants_rooms() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        rooms = [{"name": "team-*", "can": ["join", "watch"]}, {"name": "hall", "can": ["send"]}]
        assert claims_of((await backend.v2({"rooms": rooms})).json["access_token"])["rooms"] == rooms
        assert "rooms" not in claims_of((await backend.v2({"rooms": []})).json["access_token"])


@pytest.mark.parametrize(
    ("rooms", "problem"),
    [
        ("hall", "rooms"),
        ([{"name": "hall"}], "can"),
        ([{"name": "hall", "can": ["enter"]}], "The field rooms[0].can[0] of the body is"),
        ([{"name": "hall", "can": ["join"], "unless": "bob"}], "unless"),
        ([{"name": "*hall", "can": ["join"]}], "rooms[0].name has a * that is not at its end"),
        ([{"name": "", "can": ["join"]}], "rooms[0].name is empty"),
        ([{"name": "hall", "can": ["join"]}] * 33, "rooms has 33 entries"),
    ],
)
async def test_grants_that_are_none_are_refused(rooms: Any, problem: str) -> None:
    async with http_site() as site:
        reply = await (await Backend.of(site)).v2({"rooms": rooms})
        assert (reply.status, reply.error["error_code"]) == (400, 90)
        assert problem in reply.error["error_description"]


# --- Basic ------------------------------------------------------------------------------------------------------------


async def refusal_of(site: Site, authorization: str | None) -> Reply:
    """What a form without, or with these, credentials is answered."""
    headers = {} if authorization is None else {"Authorization": authorization}
    return await site.form(API, GRANT, **headers)


async def test_wrong_secret_and_unknown_key_are_answered_alike() -> None:
    async with http_site() as site:
        app, secret = await site.service.tenants.create_application("Test")
        wrong = await refusal_of(site, basic(app.key, "0" * 64))
        unknown = await refusal_of(site, basic("0" * 32, secret))
        assert wrong.status == unknown.status == 401
        assert wrong.body == unknown.body
        assert {k: v for k, v in wrong.headers.items() if k != "date"} == {
            k: v for k, v in unknown.headers.items() if k != "date"
        }
        assert wrong.error["error"] == "invalid_client"
        assert (wrong.error["error_code"], wrong.error["error_reason"]) == (89, "Invalid_token")
        assert wrong.headers["www-authenticate"] == 'Basic realm="greenroom", charset="UTF-8"'
        assert wrong.headers["pragma"] == "no-cache"


@pytest.mark.interpreted
async def test_wrong_secret_and_unknown_key_are_the_same_work() -> None:
    service = FakeService()
    await service.tenants.load()
    app, _ = await service.tenants.create_application("Test")
    from greenroom.tokens import parse_basic

    cases = {"wrong": parse_basic(basic(app.key, "0" * 64)), "unknown": parse_basic(basic("0" * 32, "0" * 64))}
    for readings in cases.values():
        with Work() as work:
            assert service.tenants.authenticate(readings) is None
        assert len(readings) == 1
        assert (work.names.count("hash_secret"), work.names.count("compare_digest")) == (1, 2)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Bearer " + base64.b64encode(b"a:b").decode(),
        "Digest username=a",
        "Basic " + "A" * 4_000,
    ],
)
async def test_no_usable_credentials_are_401_with_a_challenge(authorization: str | None) -> None:
    async with http_site() as site:
        reply = await refusal_of(site, authorization)
        assert (reply.status, reply.error["error"]) == (401, "invalid_client")
        assert reply.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("secret", ["with:colon:s", "pässwörd", "50% off +more", "日本語"])
async def test_credentials_in_every_encoding_that_clients_use(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from greenroom.server.tenants import applications as tenants

    monkeypatch.setattr(tenants, "new_secret", lambda _random: secret)
    async with http_site() as site:
        app, _ = await site.service.tenants.create_application("Test")
        ways = [
            basic(app.key, secret),
            basic(app.key, quote_plus(secret)),
            basic(app.key, secret).replace("Basic", "bAsIc"),
        ]
        if secret.isascii() or max(secret) < "\u0100":
            ways.append(basic(app.key, secret, "latin-1"))
        for way in ways:
            assert (await refusal_of(site, way)).status == 200, way
        assert (await refusal_of(site, basic(app.key, secret + "x"))).status == 401
        assert (await refusal_of(site, basic(app.key, secret.partition(":")[0] + "!"))).status == 401


async def test_a_disabled_application_gets_the_reason_but_only_with_its_secret() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = await backend.api_token()
        await site.service.tenants.disable(backend.app.key)
        reply = await backend.form(API)
        assert (reply.status, reply.error["error_reason"]) == (403, "Application_disabled")
        assert reply.error["error"] == "unauthorized_client"
        assert (await refusal_of(site, basic(backend.app.key, "wrong"))).error["error"] == "invalid_client"
        assert (await backend.v2({}, token)).error["error_reason"] == "Application_disabled"
        await site.service.tenants.enable(backend.app.key)
        assert (await backend.v2({}, token)).status == 200


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_ten_failed_attempts_a_minute_for_each_key_and_address(caplog: pytest.LogCaptureFixture) -> None:
    async with http_site() as site:
        backend, other = await Backend.of(site, "One"), await Backend.of(site, "Two")
        for _ in range(10):
            assert (await refusal_of(site, basic(backend.app.key, "wrong"))).status == 401
        limited = await refusal_of(site, basic(backend.app.key, "wrong"))
        assert (limited.status, limited.error["error_reason"]) == (429, "Rate_limited")
        assert 1 <= int(limited.headers["retry-after"]) <= 60
        # App keys are public: nobody who knows the secret is shut out by those who do not.
        assert (await backend.form(API)).status == 200
        assert (await refusal_of(site, basic(backend.app.key, "wrong"))).status == 429
        assert (await other.form(API)).status == 200
        assert (await refusal_of(site, basic("unknown", "wrong"))).status == 401
        assert caplog.messages.count("too many failed sign-ins: address=127.0.0.1") == 1
        assert backend.app.key not in caplog.text


async def test_right_attempts_do_not_count() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        for _ in range(25):
            assert (await backend.form(API)).status == 200


async def test_behind_a_trusted_proxy_the_forwarded_address_counts() -> None:
    async with http_site(trusted_proxies=["127.0.0.1"]) as site:
        backend = await Backend.of(site)

        async def attempt(address: str | None, secret: str = "wrong") -> int:
            headers = {} if address is None else {"X_Forwarded_For": address}
            return (await site.form(API, GRANT, Authorization=basic(backend.app.key, secret), **headers)).status

        for _ in range(10):
            assert await attempt("203.0.113.7") == 401
        assert await attempt("203.0.113.7") == 429
        assert await attempt("203.0.113.8") == 401
        # What the client wrote itself stands left of what the proxy added.
        assert await attempt("203.0.113.99, 203.0.113.7") == 429
        for _ in range(15):
            assert await attempt(None) == 401


async def test_a_forwarded_address_of_nobody_trusted_is_ignored() -> None:
    async with http_site() as site:
        app, _ = await site.service.tenants.create_application("Test")
        statuses = [
            (await site.form(API, GRANT, Authorization=basic(app.key, "no"), X_Forwarded_For=f"203.0.113.{n}")).status
            for n in range(11)
        ]
        assert statuses == [401] * 10 + [429]


# --- Bearer -----------------------------------------------------------------------------------------------------------


async def test_without_a_token_the_challenge_has_no_error() -> None:
    async with http_site() as site:
        reply = await site.json("POST", V2, {})
        assert (reply.status, reply.error["error_code"]) == (401, 89)
        assert reply.headers["www-authenticate"] == 'Bearer realm="greenroom"'


@pytest.mark.parametrize("token", ["x", "a.b.c", "", "Bearer", "x" * 7_000, "ÿ"])
async def test_a_token_that_is_none_is_401_invalid_token(token: str) -> None:
    async with http_site() as site:
        reply = await site.json("POST", V2, {}, Authorization=f"Bearer {token}")
        assert (reply.status, reply.error["error"], reply.error["error_reason"]) == (
            401,
            "invalid_token",
            "Invalid_token",
        )
        assert 'error="invalid_token"' in reply.headers["www-authenticate"]


async def test_a_token_in_the_query_or_the_body_does_not_count() -> None:
    async with http_site() as site:
        token = await (await Backend.of(site)).api_token()
        assert (await site.json("POST", f"{V2}?access_token={token}", {"access_token": token})).status == 401


async def test_an_api_token_ends_30_s_after_its_time() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = await backend.api_token("&expires_in=60")
        site.service.clock.now += 89
        assert (await backend.v2({}, token)).status == 200
        site.service.clock.now += 1
        reply = await backend.v2({}, token)
        assert (reply.status, reply.error["error_reason"], reply.error["error_code"]) == (401, "Token_expired", 89)


async def test_api_tokens_at_or_below_the_applications_cut_off_are_revoked() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = await backend.api_token()

        def cut_off(app: Application) -> Application:
            return msgspec.structs.replace(app, revoked_before=int(START))

        await site.service.tenants.change(backend.app.key, cut_off)
        reply = await backend.v2({}, token)
        assert (reply.status, reply.error["error_reason"]) == (401, "Token_revoked")
        assert (await backend.v2({})).status == 200


# --- cut-offs (S18) ---------------------------------------------------------------------------------------------------


async def kicked(site: Site, backend: Backend, external_id: str, before: int) -> None:
    """As the engine stores a cut-off of a participant."""
    subject = participant_id_of(backend.app.namespace, external_id)
    entry = Restriction(app=backend.app.key, kind="cutoff", subject=subject, before=before)
    site.service.fake_engine.directory.restricted.append(entry)
    await site.service.tenants.reload()


async def test_s18_no_token_is_minted_at_or_below_a_known_cut_off() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        for before in (START - 10, START, START + 1):
            await kicked(site, backend, "anna", int(before))
            claims = claims_of((await backend.v2({"externalId": "anna"})).json["access_token"])
            assert claims["iat"] > before
            assert claims["exp"] - claims["iat"] == 3_600
        # Another participant is not touched.
        assert claims_of((await backend.v2({"externalId": "bob"})).json["access_token"])["iat"] == START


async def test_s18_a_cut_off_too_far_ahead_is_to_be_waited_for() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        await kicked(site, backend, "anna", int(START) + 30)
        reply = await backend.v2({"externalId": "anna"})
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) == 27


# --- invalidate -------------------------------------------------------------------------------------------------------


async def test_invalidate_revokes_one_client_access_token() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = (await backend.v2({"externalId": "anna"})).json["access_token"]
        reply = await backend.form(INVALIDATE, f"access_token={token}")
        assert (reply.status, reply.json) == (200, {})
        assert reply.headers["cache-control"] == "no-store"
        (request,) = site.service.restrictions
        claims = claims_of(token)
        assert isinstance(request, RevokeToken)
        assert (request.app, request.jti) == (backend.app.key, claims["jti"])
        assert request.participant_id == claims["sub"]
        assert request.until == claims["exp"] * 1_000
        found = verify(token, site.service.tenants.keys.ring, kind=TokenKind.CLIENT, issuer=ISSUER, now=START)
        assert site.service.tenants.revocations.is_revoked(backend.app, found)
        assert (await backend.form(INVALIDATE, f"access_token={token}")).status == 200


async def test_invalidating_what_is_over_is_a_success() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        token = (await backend.v2({"expiresIn": 60})).json["access_token"]
        site.service.clock.now += 3_600
        assert (await backend.form(INVALIDATE, f"access_token={token}")).status == 200
        assert site.service.restrictions == []


async def test_invalidate_takes_only_the_applications_own_client_access_tokens() -> None:
    async with http_site() as site:
        backend, other = await Backend.of(site, "One"), await Backend.of(site, "Two")
        foreign = (await other.v2({"externalId": "anna"})).json["access_token"]
        for token in ("", "nonsense", await backend.api_token(), foreign):
            reply = await backend.form(INVALIDATE, f"access_token={token}")
            assert (reply.status, reply.error["error"], reply.error["error_code"]) == (400, "invalid_request", 90)
        assert site.service.restrictions == []
        assert (await site.form(INVALIDATE, f"access_token={foreign}")).status == 401


# --- nothing secret comes back ----------------------------------------------------------------------------------------


async def test_no_refusal_repeats_what_was_sent() -> None:
    async with http_site() as site:
        backend = await Backend.of(site)
        canary = "canary-c4f3"
        replies = await asyncio.gather(
            refusal_of(site, basic(canary, canary)),
            refusal_of(site, f"Bearer {canary}"),
            backend.form(API, f"grant_type={canary}"),
            backend.form(API, f"{GRANT}&expires_in={canary}"),
            backend.form(INVALIDATE, f"access_token={canary}"),
            backend.v2({"externalId": canary + "\n"}),
            backend.v2({"expiresIn": canary}),
            backend.v2({}, canary),
            backend.v2({}, canary + "." + canary + "." + canary),
            site.send("GET", f"/{canary}"),
        )
        for reply in replies:
            assert reply.status >= 400
            assert canary.encode() not in reply.body
