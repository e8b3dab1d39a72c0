"""No secret, token or resume secret in any log, metric, trace, event, error, page or file: a whole life with canaries.

Each secret goes through every path it can take, good and bad; then everything that came out is searched for it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.server.api_service import Api, api_service
from tests.server.harness import ClosedError, RefusedError, RunningService, Tenant, new_secret
from tests.server.http_service import basic
from tests.server.telemetry.test_tracing import traced
from tests.server.webhooks.receiver import Receiver, answer, receiver
from tests.support.patience import PATIENCE
from tests.support.redis_server import single

SETTINGS: dict[str, Any] = {
    "webhook_allowed_networks": ("127.0.0.0/8",),
    "webhook_http": "allowed",
    "admin_token": "canary-admin-token-0123456789abcdef",
    "master_key": "ca11a12e" * 8,
}


class Aviary:
    """The canaries by name, and everything that came out."""

    def __init__(self) -> None:
        self.canaries: dict[str, str] = {}
        self.output: list[tuple[str, bytes]] = []

    def add(self, name: str, secret: str) -> str:
        self.canaries[name] = secret
        return secret

    def add_output(self, where: str, what: object) -> None:
        self.output.append((where, what if isinstance(what, bytes) else str(what).encode("utf-8", "replace")))

    def check(self) -> None:
        """Searches for each one: as it is, the part of a token that signs it, and in base64 as Basic has it."""
        for name, secret in self.canaries.items():
            assert len(secret) >= 24, name
            forms = {secret, secret[len(secret) // 2 :]}
            forms |= {base64.b64encode(secret.encode()).decode().rstrip("=")}
            for where, text in self.output:
                for form in forms:
                    assert form.encode() not in text, f"{name} is in {where}"


async def _fetch(aviary: Aviary, running: RunningService, method: str, path: str, **options: Any) -> tuple[int, bytes]:
    async with running.http.request(method, running.url + path, **options) as reply:
        body = await reply.read()
        aviary.add_output(f"{method} {path.partition('?')[0]} {reply.status}", body + str(dict(reply.headers)).encode())
        return reply.status, body


async def _raw(aviary: Aviary, running: RunningService, data: bytes) -> None:
    """Bytes that are no good request."""
    port = int(running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    try:
        aviary.add_output("answer to a malformed request", await asyncio.wait_for(reader.read(), PATIENCE))
    except ConnectionError:
        pass
    writer.close()


async def _bad_calls(aviary: Aviary, running: RunningService, tenant: Tenant, secrets: list[str]) -> None:
    """Every secret in every wrong place."""
    for secret in secrets:
        bearer = {"Authorization": f"Bearer {secret}"}
        for path in ("/v1/participants", "/admin/v1/status", "/metrics", f"/v1/participants/{secret}", f"/{secret}"):
            await _fetch(aviary, running, "GET", path, headers=bearer)
        await _fetch(aviary, running, "GET", "/v1/events", params={"token": secret, "after": secret}, headers=bearer)
        await _fetch(aviary, running, "POST", "/v1/auth/token", data={"grant_type": secret, "scope": secret})
        own = {"Authorization": basic(tenant.key, tenant.secret)}
        await _fetch(aviary, running, "POST", "/v1/auth/token", data={"grant_type": secret}, headers=own)
        await _fetch(aviary, running, "POST", "/v1/oauth2/invalidate", data={"access_token": secret + "x"}, headers=own)
        wrong = {"Authorization": basic(tenant.key, secret)}
        await _fetch(aviary, running, "POST", "/v1/auth/token", data={"grant_type": "x"}, headers=wrong)
        await _fetch(
            aviary, running, "POST", "/v2/client-access-token", json={"externalId": {secret: 1}}, headers=bearer
        )
        await _fetch(aviary, running, "POST", "/v1/tokens/revoke", data=f'{{"{secret}', headers=bearer)
        await _raw(aviary, running, f"GET /{secret} HTTP/1.1\r\nHost x\r\nAuthorization {secret}\r\n\r\n".encode())
        await _raw(aviary, running, f"{secret}\r\n\r\n".encode())


async def _bad_sessions(aviary: Aviary, running: RunningService, token: str, secret: str, session_id: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("session.open", {"token": token + "x", "openId": "o" * 32, "resumeSecret": secret}),
        ("session.open", {"token": {token: secret}, "openId": 1}),
        ("session.open", {"token": token, "openId": "o" * 32, "resumeSecret": secret[:5]}),
        ("session.resume", {"sessionId": session_id, "resumeSecret": new_secret(), "nextSecret": secret, "attempt": 9}),
        ("session.resume", {"sessionId": secret, "resumeSecret": secret, "nextSecret": secret, "attempt": 1}),
        ("session.close", {"sessionId": session_id, "resumeSecret": new_secret()}),
        (secret, {"token": token}),
    ]
    for method, params in calls:
        async with running.connect() as client:
            try:
                aviary.add_output(method[:16], await client.call(method, **params))
            except (RefusedError, ClosedError) as error:
                aviary.add_output("error of a session", f"{error} {vars(error)}")


async def _life(aviary: Aviary, running: RunningService, tenant: Tenant, api: Api, there: Receiver) -> None:
    token = aviary.add("client access token", tenant.token("anna"))
    fresh = aviary.add("second client access token", tenant.token("anna"))
    made = await api.good("POST", "/v1/webhooks", {"url": there.url})
    hook = made["endpoint"]["id"]
    aviary.add("webhook secret", made["secret"].removeprefix("whsec_"))
    rotated = await api.good("POST", f"/v1/webhooks/{hook}/rotate-secret", {"overlap": 60})
    aviary.add("second webhook secret", rotated["secret"].removeprefix("whsec_"))
    there.answer = answer(500, b"no")
    client = await running.dial()
    opened = await client.open(token, participant={"name": "Anna"}, device={"id": "d1"})
    aviary.add("resume secret", opened.secret)
    aviary.add_output("open", opened.result)
    aviary.add_output("refresh", await client.call("session.refreshToken", token=fresh))
    await client.call("session.updateParticipantInfo", updateId="u1", name="Anne")
    client.abort()
    client = await running.dial()
    old = opened.secret
    await client.resume(opened)
    aviary.add("second resume secret", opened.secret)
    aviary.add_output("resume", opened.result)
    secrets = list(aviary.canaries.values())
    await _bad_calls(aviary, running, tenant, secrets)
    await _bad_sessions(aviary, running, token, old, opened.id)
    there.answer = answer(200)
    await api.good("POST", f"/v1/webhooks/{hook}/test")
    headers = {"Authorization": f"Bearer {api.token}"}
    for path in (
        "/v1/participants",
        "/v1/sessions",
        f"/v1/sessions/{opened.id}/timeline",
        "/v1/events?limit=1000",
        "/v1/webhooks",
        f"/v1/webhooks/{hook}/attempts",
        f"/v1/webhooks/{hook}/dead-letters",
        "/v1/settings",
        "/v1/counts",
        "/openapi.json",
        "/asyncapi.json",
        "/.well-known/jwks.json",
        "/readyz",
    ):
        status, _ = await _fetch(aviary, running, "GET", path, headers=headers)
        assert status == 200, path
    admin = {"Authorization": f"Bearer {running.service.admin_token}"}
    for path in ("/admin/v1/status", "/admin/v1/applications", "/admin/v1/keys", "/metrics"):
        await _fetch(aviary, running, "GET", path, headers=admin)
    await api.good("POST", "/v1/participants/ext:anna/kick", {"reason": "bye"})
    aviary.add_output("end", await client.notified("session.ended"))
    await client.closed()
    await there.wait_for(3)
    for got in there.got:
        aviary.add_output("webhook", got.raw + str(got.headers).encode())


def _add_files(aviary: Aviary, folder: str) -> None:
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file():
            aviary.add_output(f"file {file.name}", file.read_bytes())


@contextmanager
def _redis() -> Iterator[tuple[dict[str, Any], Path | None]]:
    """The setting for the engine, and where Redis keeps its files."""
    with single("--appendonly", "yes") as redis:
        yield {"engine": redis.url}, redis.directory


@contextmanager
def _embedded() -> Iterator[tuple[dict[str, Any], Path | None]]:
    yield {}, None


@pytest.mark.slow
@pytest.mark.parametrize("engine", [_embedded, _redis])
async def test_no_secret_comes_out_anywhere(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    aviary, spans = Aviary(), traced(monkeypatch)
    with engine() as (settings, files):
        async with receiver() as there, api_service(**SETTINGS, **settings) as (running, tenant, api):
            aviary.add("app secret", tenant.secret)
            aviary.add("API token", api.token)
            aviary.add("admin token", SETTINGS["admin_token"])
            aviary.add("master key", SETTINGS["master_key"])
            await _life(aviary, running, tenant, api, there)
            await running.service.stop()
            _add_files(aviary, running.data_dir)
        if files is not None:
            _add_files(aviary, str(files))
            assert any(tenant.key.encode() in text for where, text in aviary.output if where.startswith("file append"))
    assert any(where.startswith("file ") for where, _ in aviary.output)
    for span in spans.get_finished_spans():
        aviary.add_output(f"span {span.name}", span.to_json())
    assert {"span session.open", "span session.resume", "span webhook"} <= {where for where, _ in aviary.output}
    out, err = capfd.readouterr()
    aviary.add_output("stdout", out)
    aviary.add_output("stderr", err)
    aviary.add_output("log", caplog.text)
    assert "session" in out + err + caplog.text, "nothing was logged: this test would see nothing"
    aviary.check()


def test_the_aviary_notices_what_comes_out() -> None:
    aviary = Aviary()
    secret = aviary.add("secret", new_secret())
    aviary.add_output("page", f"harmless {base64.b64encode(secret.encode()).decode()}")
    with pytest.raises(AssertionError, match="secret is in page"):
        aviary.check()


async def test_connection_errors_of_the_sdk_hold_no_token() -> None:
    """What an app logs of a failed open."""
    from greenroom import Greenroom
    from greenroom.errors import GreenroomError

    async with api_service() as (running, tenant, _api):
        token = tenant.token("anna") + "x"
        async with Greenroom(running.url) as sdk:
            try:
                sdk.initialize_token(token)
                await sdk.session.open(timeout=3)
            except (GreenroomError, aiohttp.ClientError) as error:
                text = f"{error} {error!r} {vars(error)}"
                assert token not in text
                assert token[-40:] not in text
            else:
                pytest.fail("a bad token opened a session")
