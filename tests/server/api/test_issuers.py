"""Issuers of an application, on a real service: from the request that adds one to sessions opened with its tokens."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from greenroom.server.tenants.issuers import MAX_ISSUERS
from tests.server.api_service import Api, api_service
from tests.server.harness import RefusedError, RunningService
from tests.server.issuers import ALGORITHMS, AUDIENCE, ISSUER, SECRET, Signer, good_claims, signer
from tests.support.patience import PATIENCE, until


def body_of(key: Signer, **changed: Any) -> dict[str, Any]:
    keys = {"secret": SECRET} if key.jwk is None else {"keys": [key.jwk]}
    plain = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": [key.alg], **keys, **changed}
    return {name: value for name, value in plain.items() if value is not None}


async def admin(running: RunningService, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {running.service.admin_token}"}
    async with running.http.request(method, running.url + "/admin/v1" + path, json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def opened(running: RunningService, token: str, **participant: str) -> dict[str, Any]:
    async with running.connect() as client:
        return (await client.open(token, participant=participant)).participant


async def refused(running: RunningService, token: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await opened(running, token)
    return str(caught.value)


async def test_a_token_of_each_algorithm_opens_a_session_of_its_participant() -> None:
    async with api_service() as (running, tenant, api):
        for number, alg in enumerate(ALGORITHMS):
            key = signer(alg)
            made = await api.good("POST", "/v1/issuers", body_of(key, audience=f"a{number}", nameClaim="name"))
            assert made["keys"] == ([] if alg == "HS256" else [{"kid": "key-1", "alg": alg}])
            assert SECRET not in str(made)
            participant = await opened(running, key.token(claims=good_claims(time.time(), aud=f"a{number}")))
            assert participant["id"] == tenant.participant_id("auth0|anna")
            assert (participant["externalId"], participant["name"]) == ("auth0|anna", "Anna")
        assert [one["audience"] for one in (await api.good("GET", "/v1/issuers"))["items"]] == [
            f"a{number}" for number in range(5)
        ]


async def test_refresh_and_resume_take_them_as_they_take_the_service_s_own() -> None:
    async with api_service() as (running, tenant, api):
        key = signer("ES256")
        await api.good("POST", "/v1/issuers", body_of(key, sessionScopes=["session:update"]))
        now = time.time()
        async with running.connect() as client:
            session = await client.open(key.token(claims=good_claims(now)))
            later = key.token(claims=good_claims(now, exp=int(now) + 7000, jti="later"))
            reply = await client.call("session.refreshToken", token=later)
            assert (reply["expiresAt"], reply["scopes"]) == ((int(now) + 7000) * 1000, ["session:update"])
            # One of the service for the same participant is as good; another participant's is not.
            await client.call("session.refreshToken", token=tenant.token("auth0|anna"))
            with pytest.raises(RefusedError, match="participant"):
                await client.call("session.refreshToken", token=key.token(claims=good_claims(now, sub="bob")))
            await client.drop()
        async with running.connect() as client:
            await client.resume(session, token=later)


async def test_blocks_kicks_and_revocation_hold_for_them() -> None:
    async with api_service() as (running, tenant, api):
        key, now = signer("EdDSA"), time.time()
        await api.good("POST", "/v1/issuers", body_of(key))
        who = tenant.participant_id("auth0|anna")

        def token(ago: int = 100, **changed: Any) -> str:
            return key.token(claims=good_claims(now, iat=int(now) - ago, **changed))

        await opened(running, token(jti="one"))
        await api.good("POST", "/v1/tokens/revoke", {"jti": "one"})
        assert "revoked" in await refused(running, token(jti="one"))
        await opened(running, token(jti="two"))
        nameless = key.token(claims={name: one for name, one in good_claims(now).items() if name != "jti"})
        tested = await api.good("POST", "/v1/issuers/test", {"token": nameless})
        [jti] = [one["text"] for one in tested["findings"] if one["part"] == "jti"]
        async with running.connect() as client:
            await client.open(nameless)
            await api.good("POST", "/v1/tokens/revoke", {"jti": jti})
            assert await client.closed() == 4501
        assert "revoked" in await refused(running, nameless)
        async with running.connect() as client:
            await client.open(token(jti="three"))
            await api.good("POST", f"/v1/participants/{who}/kick", {})
            assert await client.closed() == 4501
        assert "revoked" in await refused(running, token(jti="four"))
        await opened(running, token(ago=-3, jti="five", exp=int(now) + 600))  # made after the kick
        await api.good("POST", "/v1/blocks", {"participantId": who})
        assert "blocked" in await refused(running, token(ago=-4, jti="six", exp=int(now) + 600))


async def test_a_token_of_an_issuer_can_be_invalidated() -> None:
    async with api_service() as (running, tenant, api):
        key = signer("RS256")
        await api.good("POST", "/v1/issuers", body_of(key))
        token = key.token()
        async with running.connect() as client:
            await client.open(token)
            headers = {"Authorization": aiohttp.encode_basic_auth(tenant.key, tenant.secret)}
            async with running.http.post(
                running.url + "/v1/oauth2/invalidate", data={"access_token": token}, headers=headers
            ) as reply:
                assert reply.status == 200
            assert await client.closed() == 4501
        assert "revoked" in await refused(running, token)


async def test_removed_its_tokens_open_nothing_and_what_is_open_goes_on() -> None:
    async with api_service() as (running, _tenant, api):
        key = signer("PS256")
        made = await api.good("POST", "/v1/issuers", body_of(key))
        async with running.connect() as client:
            session = await client.open(key.token())
            await api.good("DELETE", f"/v1/issuers/{made['id']}")
            assert (await api.good("GET", "/v1/issuers"))["items"] == []
            await refused(running, key.token())
            await client.call("session.getParticipant")
            with pytest.raises(RefusedError):
                await client.call("session.refreshToken", token=key.token())
            await client.drop()
        async with running.connect() as client:
            await client.resume(session)
        assert (await api.refused("DELETE", f"/v1/issuers/{made['id']}"))[0] == 404


async def test_the_pair_belongs_to_one_application_of_the_service() -> None:
    async with api_service() as (running, _tenant, api):
        other = await running.new_application("Other")
        mine, theirs = signer("ES256"), signer("ES256", "other")
        await api.good("POST", "/v1/issuers", body_of(mine))
        reply = await api.call("POST", "/v1/issuers", body_of(theirs))
        assert (reply.status, "already" in reply.body["error_description"]) == (409, True)
        status, body = await admin(running, "POST", f"/applications/{other.key}/issuers", body_of(theirs))
        assert status == 409
        assert _tenant.key not in str(body)
        status, body = await admin(
            running, "POST", f"/applications/{other.key}/issuers", body_of(theirs, audience="other")
        )
        assert status == 201
        now = time.time()
        assert (await opened(running, theirs.token(claims=good_claims(now, aud="other"))))[
            "id"
        ] == other.participant_id("auth0|anna")
        assert "signature" in await refused(running, theirs.token(mine.header(), good_claims(now)))
        assert "several audiences" in await refused(
            running, mine.token(claims=good_claims(now, aud=[AUDIENCE, "other"]))
        )
        status, body = await admin(running, "GET", f"/applications/{other.key}/issuers")
        assert [one["audience"] for one in body["items"]] == ["other"]
        status, _ = await admin(running, "DELETE", f"/applications/{other.key}/issuers/{body['items'][0]['id']}")
        assert status == 200
        status, body = await admin(running, "POST", f"/applications/{other.key}/issuers/test", {"token": mine.token()})
        assert (status, body.get("accepted")) == (200, False), body
        assert (await admin(running, "GET", "/applications/nothing/issuers"))[0] == 404


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"keys": None}, "one of keys, jwksUrl and secret"),
        ({"secret": SECRET}, "one of keys, jwksUrl and secret"),
        ({"algorithms": ["HS256"]}, "HS256 needs secret"),
        ({"algorithms": ["HS256", "RS256"], "keys": None, "secret": SECRET}, "HS256 needs secret"),
        ({"algorithms": ["RS256"], "keys": None, "secret": SECRET}, "HS256 needs secret"),
        ({"algorithms": ["HS256"], "keys": None, "secret": "short"}, "32 bytes or more"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["EdDSA"]}, "none of the issuer's algorithms"),
        ({"keys": [{"kty": "RSA"}]}, "it has 0 bits"),
        ({"keys": [signer("RS256").public, signer("RS256").public]}, "needs a different kid"),
        ({"keys": [{**signer("RS256").public, "d": "AAAA"}]}, "is private"),
        ({"sessionScopes": ["session:udpate"]}, "The scope session:udpate does not exist"),
        ({"maxLife": 86_401}, "maxLife"),
        ({"maxLife": 59}, "maxLife"),
        ({"keys": None, "jwksUrl": "http://id.example/jwks"}, "is without TLS"),
        ({"keys": None, "jwksUrl": "http://127.0.0.1/jwks"}, "without TLS and resolves to a private address"),
        ({"keys": None, "jwksUrl": "https://169.254.169.254/jwks"}, "resolves to a private address"),
        ({"keys": None, "jwksUrl": "ftp://id.example/"}, "must begin with https://"),
        ({"issuer": "a\nb"}, "printable"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_what_cannot_work_is_refused_with_the_reason(changed: dict[str, Any], why: str) -> None:
    async with api_service() as (_running, _tenant, api):
        reply = await api.call("POST", "/v1/issuers", body_of(signer("RS256"), **changed))
        assert reply.status == 400
        assert why in reply.body["error_description"]


async def test_the_service_s_own_issuer_and_a_ninth_are_refused() -> None:
    async with api_service() as (running, _tenant, api):
        key = signer("EdDSA")
        reply = await api.call("POST", "/v1/issuers", body_of(key, issuer=running.service.issuer))
        assert "is this service's own" in reply.body["error_description"]
        for number in range(MAX_ISSUERS):
            await api.good("POST", "/v1/issuers", body_of(key, audience=str(number)))
        assert (await api.refused("POST", "/v1/issuers", body_of(key)))[0] == 409


async def test_a_token_is_tested_part_by_part() -> None:
    async with api_service() as (_running, tenant, api):
        key = signer("ES256")
        await api.good("POST", "/v1/issuers", body_of(key, maxLife=600, nameClaim="name"))
        good = key.token(claims=good_claims(time.time(), exp=int(time.time()) + 500))
        tested = await api.good("POST", "/v1/issuers/test", {"token": good})
        assert tested["accepted"] is True
        texts = {one["part"]: one["text"] for one in tested["findings"]}
        assert (texts["alg and kid"], texts["signature"]) == ("ES256, key-1", "made with that key")
        assert tenant.participant_id("auth0|anna") in texts["externalIdClaim"]
        assert texts["nameClaim"] == "Anna"
        bad = key.token(key.header(typ="x"), good_claims(time.time(), sub=7))
        tested = await api.good("POST", "/v1/issuers/test", {"token": bad})
        assert tested["accepted"] is False
        errors = {one["part"]: one["error"] for one in tested["findings"] if one["error"]}
        assert set(errors) == {"typ", "exp", "externalIdClaim"}
        assert "may live 600 s here" in errors["exp"]
        for token, why in (
            ("not a token", "three parts"),
            (key.token(claims=good_claims(time.time(), aud="else")), "aud 'else'"),
            (tenant.token("anna"), "The application's issuers"),
        ):
            tested = await api.good("POST", "/v1/issuers/test", {"token": token})
            assert tested["accepted"] is False
            assert why in tested["findings"][0]["error"]


class Provider:
    """Publishes a key set on this machine. answers: cleared, it keeps who asks waiting."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.status = 200
        self.asked = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        return web.json_response({"keys": self.keys}, status=self.status)


async def _serving(provider: Provider) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_get("/jwks", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"


LOOPBACK: dict[str, Any] = {"webhook_http": "allowed", "webhook_allowed_networks": ("127.0.0.0/8",)}


async def _add(api: Api, url: str, **changed: Any) -> Any:
    body = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["ES256"], "jwksUrl": url, **changed}
    return await api.good("POST", "/v1/issuers", body)


async def test_a_key_set_is_fetched_when_the_issuer_is_added_and_for_a_key_that_is_new() -> None:
    provider = Provider()
    runner, url = await _serving(provider)
    try:
        async with api_service(**LOOPBACK) as (running, _tenant, api):
            provider.keys = [signer("ES256").public]
            made = await _add(api, url)
            assert (made["keySet"]["keys"], made["keySet"]["why"]) == (1, "")
            await opened(running, signer("ES256").token())
            provider.keys.append(signer("ES256", "key-2").public)
            assert "not been fetched yet" in await refused(running, signer("ES256", "key-2").token())
            running.service.tenants.issuers.key_sets._sets[_tenant.key, made["id"]].began_at = -100.0
            assert "not been fetched yet" in await refused(running, signer("ES256", "key-2").token())
            await until(lambda: provider.asked == 2 and _is_idle(running))
            await opened(running, signer("ES256", "key-2").token())
            metrics = await _metrics(running)
            assert f'greenroom_key_set_fetches_total{{app="{_tenant.key}",outcome="good"}} 2' in metrics
            assert f'greenroom_key_sets_failing{{app="{_tenant.key}"}} 0' in metrics
    finally:
        await runner.cleanup()


def _is_idle(running: RunningService) -> bool:
    return all(one.task is None for one in running.service.tenants.issuers.key_sets._sets.values())


async def _metrics(running: RunningService) -> str:
    headers = {"Authorization": f"Bearer {running.service.admin_token}"}
    async with running.http.get(running.url + "/metrics", headers=headers) as reply:
        return await reply.text()


async def test_an_issuer_that_answers_nothing_useful_is_added_and_says_why() -> None:
    provider = Provider()
    runner, url = await _serving(provider)
    try:
        async with api_service(**LOOPBACK) as (running, tenant, api):
            provider.status = 404
            made = await _add(api, url)
            assert made["keySet"] == {"age": None, "keys": 0, "failures": 1, "why": "status 404"}
            assert "not been fetched yet" in await refused(running, signer("ES256").token())
            tested = await api.good("POST", "/v1/issuers/test", {"token": signer("ES256").token()})
            assert "not been fetched yet" in str(tested)
            assert f'greenroom_key_sets_failing{{app="{tenant.key}"}} 1' in await _metrics(running)
            [failing] = (await admin(running, "GET", "/status"))[1]["keySetsFailing"]
            assert (failing["app"], failing["issuer"], failing["age"]) == (tenant.key, made["id"], None)
            assert (failing["failures"] >= 1, failing["why"]) == (True, "status 404")
    finally:
        await runner.cleanup()


async def test_a_slow_issuer_delays_nobody_else_s_sign_in() -> None:
    provider = Provider()
    runner, url = await _serving(provider)
    try:
        async with api_service(**LOOPBACK) as (running, _tenant, api):
            running.service._documents._timeout = 10 * PATIENCE
            provider.answers.clear()
            adding = asyncio.ensure_future(_add(api, url))
            await until(lambda: provider.asked == 1)
            other = await running.new_application("Other")
            await opened(running, other.token("anna"))
            assert "not been fetched yet" in await refused(running, signer("ES256").token())
            assert not adding.done(), "the slow one has not answered"
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)
    finally:
        provider.answers.set()
        await runner.cleanup()
