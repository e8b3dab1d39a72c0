"""Issuers that others wrote: an identity provider (npm `oidc-provider`), and the signers `jose`, PyJWT and Authlib."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from greenroom import Greenroom
from tests.browser.node import BROWSER, node_program, output_of
from tests.server.api_service import Api, api_service
from tests.server.harness import RefusedError, RunningService
from tests.server.issuers import ALGORITHMS, SECRET, good_claims
from tests.support.patience import PATIENCE

with warnings.catch_warnings(record=True):  # it announces its own successor
    from authlib.jose import JsonWebKey
    from authlib.jose import jwt as authlib_jwt

LOOPBACK: dict[str, Any] = {"webhook_http": "allowed", "webhook_allowed_networks": ("127.0.0.0/8",)}


# -- an identity provider ----------------------------------------------------------------------------------------------


class Provider:
    """The one of browser/test/tools, as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def say(self, word: str) -> Any:
        """One command, and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await answer_of(self._process)

    async def sign_in(self, who: str) -> str:
        """The access token of someone who signs in with the authorization code flow and PKCE, as a page does."""
        verifier = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        callback = "http://127.0.0.1/callback"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            query = {
                "client_id": "app", "response_type": "code", "redirect_uri": callback, "scope": "openid",
                "code_challenge": challenge, "code_challenge_method": "S256", "resource": "urn:greenroom",
            }  # fmt: skip
            place = f"{self.url}/auth"
            form: dict[str, str] | None = None
            for _ in range(12):
                if place.startswith(callback):
                    break
                params = query if place == f"{self.url}/auth" else None
                method = "GET" if form is None else "POST"
                async with http.request(method, place, params=params, data=form, allow_redirects=False) as reply:
                    form = None
                    if reply.status in (302, 303):
                        place = urljoin(place, reply.headers["Location"])
                        continue
                    page = await reply.text()
                    assert reply.status == 200, page
                    prompt = re.search(r'name="prompt" value="(\w+)"', page)
                    assert prompt is not None, page
                    form = {"prompt": prompt[1], "login": who, "password": "x"}
            code = parse_qs(urlsplit(place).query)["code"][0]
            grant = {
                "grant_type": "authorization_code", "code": code, "redirect_uri": callback, "client_id": "app",
                "code_verifier": verifier, "resource": "urn:greenroom",
            }  # fmt: skip
            async with http.post(f"{self.url}/token", data=grant) as reply:
                assert reply.status == 200, await reply.text()
                return str((await reply.json())["access_token"])


async def answer_of(process: asyncio.subprocess.Process) -> Any:
    """The next line of JSON; the provider's warnings are passed over."""
    assert process.stdout is not None
    while True:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line, "the identity provider has ended"
        if line.startswith(b"{"):
            return json.loads(line)


@asynccontextmanager
async def provider(*, life: int = 3600, alg: str = "ES256") -> AsyncIterator[Provider]:
    """A running identity provider. life: of its access tokens, seconds."""
    process = await asyncio.create_subprocess_exec(
        str(await node_program()), "test/tools/identity-provider.mjs", str(life), alg,
        cwd=BROWSER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield Provider(process, (await answer_of(process))["url"])
    finally:
        if process.returncode is None:
            process.stdin.write(b"stop\n")
            process.stdin.close()
            await process.wait()


async def add(api: Api, issuer: Provider, **changed: Any) -> Any:
    body = {
        "issuer": issuer.url, "audience": "greenroom", "algorithms": ["ES256"], "jwksUrl": f"{issuer.url}/jwks",
        "nameClaim": "name", "externalIdPrefix": "idp:", **changed,
    }  # fmt: skip
    return await api.good("POST", "/v1/issuers", body)


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA"])
async def test_whoever_signs_in_at_the_provider_opens_a_session(alg: str) -> None:
    async with provider(alg=alg) as issuer, api_service(**LOOPBACK) as (running, tenant, api):
        made = await add(api, issuer, algorithms=[alg])
        assert (made["keySet"]["keys"], made["keySet"]["why"]) == (1, "")
        token = await issuer.sign_in("anna")
        async with running.connect() as client:
            participant = (await client.open(token)).participant
        assert participant["id"] == tenant.participant_id("idp:anna")
        assert (participant["externalId"], participant["name"]) == ("idp:anna", "anna's name")
        tested = await api.good("POST", "/v1/issuers/test", {"token": token})
        assert (tested["accepted"], [one for one in tested["findings"] if one["error"]]) == (True, [])


@pytest.mark.slow
async def test_a_key_that_the_provider_made_meanwhile_is_fetched_and_the_old_one_stays_good() -> None:
    async with provider() as issuer, api_service(**LOOPBACK) as (running, tenant, api):
        made = await add(api, issuer)
        old = await issuer.sign_in("anna")
        assert await issuer.say("rotate") == {"kid": "key-2"}
        new = await issuer.sign_in("ben")
        one = running.service.tenants.issuers.key_sets._sets[tenant.key, made["id"]]
        one.began_at = -100.0  # as though half a minute had passed since it was fetched
        # The first attempt is asked to come back in a second: the SDK does.
        async with Greenroom(running.url) as greenroom:
            greenroom.initialize_token(new)
            participant = await greenroom.session.open()
            assert participant.info.external_id == "idp:ben"
        assert len(one.keys) == 2
        async with running.connect() as client:
            assert (await client.open(old)).participant["externalId"] == "idp:anna"


@pytest.mark.slow
async def test_a_session_lives_as_long_as_tokens_of_the_provider_are_brought() -> None:
    async with provider(life=4) as issuer, api_service(token_grace=1.0, **LOOPBACK) as (running, _tenant, api):
        await add(api, issuer)
        async with running.connect() as client:
            first = await issuer.sign_in("anna")
            await client.open(first)
            await client.notified("session.tokenExpiring")
            second = await issuer.sign_in("anna")
            reply = await client.call("session.refreshToken", token=second)
            assert reply["expiresAt"] == jwt.decode(second, options={"verify_signature": False})["exp"] * 1000
            with pytest.raises(RefusedError):
                await client.call("session.refreshToken", token=await issuer.sign_in("ben"))
            assert await client.closed() == 4006


# -- signers -----------------------------------------------------------------------------------------------------------


def private_key(alg: str) -> Any:
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else rsa.generate_private_key(65_537, 2048)


def pem_of(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_jwk(key: Any, alg: str) -> dict[str, Any]:
    made = JsonWebKey.import_key(pem_of(key), {"kty": {"EdDSA": "OKP", "ES256": "EC"}.get(alg, "RSA")})
    return {**made.as_dict(is_private=False), "kid": "key-1", "alg": alg}


async def by_pyjwt(key: Any, alg: str, claims: dict[str, Any]) -> str:
    return jwt.encode(claims, SECRET if key is None else key, algorithm=alg, headers={"kid": "key-1"})


async def by_authlib(key: Any, alg: str, claims: dict[str, Any]) -> str:
    header = {"alg": alg, "kid": "key-1", "typ": "at+jwt"}
    return bytes(authlib_jwt.encode(header, claims, SECRET if key is None else pem_of(key))).decode()


async def by_jose(key: Any, alg: str, claims: dict[str, Any]) -> str:
    received = {"pem": None if key is None else pem_of(key).decode(), "secret": SECRET, "alg": alg, "claims": claims}
    program = BROWSER / "test" / "tools" / "sign.mjs"
    return (await output_of(await node_program(), program, json.dumps(received))).strip()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [by_pyjwt, by_authlib, by_jose])
async def test_what_others_sign_opens_a_session(sign: Callable[[Any, str, dict[str, Any]], Awaitable[str]]) -> None:
    async with api_service() as (running, tenant, api):
        for alg in ALGORITHMS:
            key = None if alg == "HS256" else private_key(alg)
            keys = {"secret": SECRET} if key is None else {"keys": [public_jwk(key, alg)]}
            issuer = {"issuer": "https://id.example", "audience": alg, "algorithms": [alg], **keys}
            await api.good("POST", "/v1/issuers", issuer)
            token = await sign(key, alg, good_claims(time.time(), aud=alg, sub=f"anna-{alg}"))
            await opens(running, token, tenant.participant_id(f"anna-{alg}"))


async def opens(running: RunningService, token: str, participant_id: str) -> None:
    async with running.connect() as client:
        assert (await client.open(token)).participant["id"] == participant_id
