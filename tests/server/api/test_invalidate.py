"""`POST /v1/oauth2/invalidate` against the whole service: the token opens nothing any more, and what it opened ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import SessionQuery
from greenroom.model import EndReason
from tests.server.harness import ClosedError, RefusedError, RunningService, Tenant, running_service
from tests.server.http_service import basic
from tests.support.patience import PATIENCE


async def post(running: RunningService, app: Tenant, path: str, **fields: str) -> tuple[int, Any]:
    """A form with the application's key and secret."""
    headers = {"Authorization": basic(app.key, app.secret)}
    async with running.http.post(running.url + path, data=fields, headers=headers) as reply:
        return reply.status, await reply.json()


async def check_revoked(running: RunningService, token: str, **participant: str) -> None:
    """The token opens nothing."""
    async with running.connect() as client:
        with pytest.raises(RefusedError) as caught:
            await client.open(token, participant=participant)
        assert caught.value.code == ErrorCode.TOKEN_REVOKED


async def test_a_v2_token_and_its_session() -> None:
    async with running_service() as running:
        app = await running.new_application()
        token, other = app.token("anna"), app.token("anna")
        async with running.connect() as client, running.connect() as spared:
            opened = await client.open(token)
            await spared.open(other)
            assert await post(running, app, "/v1/oauth2/invalidate", access_token=token) == (200, {})
            assert (await client.notified("session.ended"))["reason"] == "token_revoked"
            assert (await running.session(opened.id)).end_reason is EndReason.TOKEN_REVOKED
            assert await spared.call("ping") == {}
        await check_revoked(running, token)


async def test_a_v1_token_that_several_participants_use() -> None:
    async with running_service() as running:
        app = await running.new_application()
        _, reply = await post(running, app, "/v1/oauth2/token", grant_type="client_credentials")
        token = reply["access_token"]
        async with running.connect() as anna, running.connect() as bob, running.connect() as nobody:
            await anna.open(token, participant={"externalId": "anna"})
            await bob.open(token, participant={"externalId": "bob"})
            await nobody.open(token)
            assert await post(running, app, "/v1/oauth2/invalidate", access_token=token) == (200, {})
            for client in (anna, bob, nobody):
                assert (await client.notified("session.ended"))["reason"] == "token_revoked"
        await check_revoked(running, token, externalId="anna")
        await check_revoked(running, token, externalId="carol")
        await check_revoked(running, token)


async def test_it_stays_revoked_when_the_service_is_restarted() -> None:
    async with running_service() as running:
        app = await running.new_application()
        _, reply = await post(running, app, "/v1/oauth2/token", grant_type="client_credentials")
        await post(running, app, "/v1/oauth2/invalidate", access_token=reply["access_token"])
        # Killed, and on the same port: the issuer stays.
        await running.restart(kill=True)
        await check_revoked(running, reply["access_token"], externalId="anna")


async def test_sessions_that_are_being_opened_while_the_token_is_revoked_end_too() -> None:
    """A token that names no participant: eight rounds, in most of which such sessions once survived."""
    async with running_service() as running:
        app = await running.new_application()
        for _ in range(8):
            _, reply = await post(running, app, "/v1/oauth2/token", grant_type="client_credentials")
            token = reply["access_token"]

            async def open_one(token: str, name: str) -> None:
                async with running.connect() as client:
                    with contextlib.suppress(RefusedError, ClosedError):
                        await client.open(token, participant={"externalId": name})
                        await client.notified("session.ended")

            openings = [asyncio.create_task(open_one(token, f"user {number}")) for number in range(10)]
            await asyncio.sleep(0.002)
            assert await post(running, app, "/v1/oauth2/invalidate", access_token=token) == (200, {})
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*openings)
        page = await running.service.engine.registry.sessions(SessionQuery(app=app.key))
        assert not page.items
