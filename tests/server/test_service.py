"""The service as a whole: start, stop, what it refuses to start with, what it says of itself."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
import tempfile
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog

from greenroom.engines.base import NodeBeat, NodeRecord
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import ServiceUnavailableError
from greenroom.server.cluster.drain import jitter_for
from greenroom.server.config import ServerConfig
from greenroom.server.service import Service
from greenroom.server.telemetry import logs
from tests.server.harness import new_service, running_service, short_config


async def test_a_second_service_on_the_same_data_is_refused() -> None:
    async with running_service() as running:
        config = short_config(running.data_dir)
        second = Service(config, engine=EmbeddedEngine(config.data_dir, lock_timeout=0.1))
        with pytest.raises(ServiceUnavailableError):
            await second.start()


async def test_stop_is_harmless_when_repeated_and_before_start() -> None:
    with tempfile.TemporaryDirectory() as data:
        service = new_service(short_config(data))
        await service.stop()
        await service.start()
        await service.stop()
        await service.stop()


@pytest.mark.interpreted
async def test_a_start_whose_first_renewal_has_no_answer_tries_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as data:
        for answers in ([False, True], [False, False]):
            service = new_service(short_config(data))
            real, left = service.engine.registry.beat, list(answers)

            async def beat(what: NodeBeat, real: Any = real, left: list[bool] = left) -> Any:
                if left and not left.pop(0):
                    raise ServiceUnavailableError("The engine did not answer.")
                return await real(what)

            monkeypatch.setattr(service.engine.registry, "beat", beat)
            if any(answers):
                await service.start()
                await service.stop()
            else:
                with pytest.raises(ServiceUnavailableError, match="no lease"):
                    await service.start()


async def test_secrets_are_files_of_the_owner_alone_and_stay() -> None:
    async with running_service() as running:
        token = running.service.admin_token
        for name in ("admin-token", "master-key"):
            assert os.stat(f"{running.data_dir}/{name}").st_mode & 0o777 == 0o600
        await running.restart()
        assert running.service.admin_token == token


async def test_one_port_serves_http_too_and_says_how_it_is() -> None:
    async with running_service() as running:
        async with running.http.get(running.url + "/healthz") as response:
            assert response.status == 200
        async with running.http.get(running.url + "/readyz") as response:
            assert response.status == 200
        running.service.node.draining = True
        async with running.http.get(running.url + "/readyz") as response:
            assert response.status == 503
        running.service.node.draining = False
        status = running.service.cluster.status()
        assert (status.state, status.sessions, status.not_ready) == ("acting", 0, None)
        assert msgspec.json.encode(status)


async def test_tokens_outlive_a_move_to_another_port() -> None:
    """The issuer is the URL of the first start, and kept."""
    async with running_service() as running:
        app = await running.new_application()
        token, issuer, url = app.token("anna"), running.service.issuer, running.url
        await running.service.stop()
        with socket.socket() as taken:  # so that the next one cannot have the same
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", int(url.rpartition(":")[2])))
            running.service = new_service(running.service.config)
            await running.service.start()
        assert (running.service.issuer, running.url != url) == (issuer, True)
        async with running.connect() as client:
            await client.open(token)


async def test_a_token_of_the_http_side_opens_a_session() -> None:
    """From an app's secret to an open session, over the one port."""
    async with running_service() as running:
        app = await running.new_application()
        basic = {"Authorization": aiohttp.encode_basic_auth(app.key, app.secret)}
        form = {"grant_type": "client_credentials"}
        async with running.http.post(running.url + "/v1/oauth2/token", data=form, headers=basic) as response:
            token = (await response.json())["access_token"]
        async with running.connect() as client:
            opened = await client.open(token, participant={"externalId": "anna", "name": "Anna"})
            assert opened.participant["externalId"] == "anna"
            revoke = {"access_token": token}
            async with running.http.post(running.url + "/v1/oauth2/invalidate", data=revoke, headers=basic) as response:
                assert response.status == 200
            assert (await client.notified("session.ended"))["reason"] == "token_revoked"
            assert await client.closed() == 4501


async def test_draining_with_other_nodes_asks_clients_to_move_and_serves_them_until_then() -> None:
    async with running_service(drain_limit=0.6) as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("ping")
            node = running.service.node
            other = NodeRecord(node="n2", boot="b", lease="l", ready=True, lease_left=9.0)

            async def beat() -> None:
                node.others = (other,)

            node.beat = beat  # type: ignore[method-assign]
            stopping = asyncio.create_task(running.service.stop())
            move = await client.notified("session.moveOn")
            assert (move["after"], move["reason"]) == (0.0, "draining")
            assert (await client.call("session.getParticipant"))["participant"]["id"] == opened.participant["id"]
            assert await client.closed() == 4001  # it did not go
            await stopping


def test_the_jitter_follows_from_the_number_of_clients() -> None:
    assert jitter_for(0, 1, 18) == 1.0
    assert jitter_for(4000, 1, 18) == 10.0
    assert jitter_for(4000, 2, 18) == 5.0
    assert jitter_for(4000, 0, 18) == 10.0
    assert jitter_for(10**6, 2, 18) == 18.0


def _logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_logs_are_one_line_of_json_without_secrets() -> None:
    stream = io.StringIO()
    root = logging.getLogger("greenroom")
    before = (root.handlers[:], root.level, root.propagate, structlog.get_config())
    try:
        logs.configure("info", "json", stream)
        token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJl"
        structlog.stdlib.get_logger("greenroom.session").info("opened", session="p1-2", token=token, note=f"x {token}")
        logging.getLogger("greenroom.server").info("refused: %s", token)
        structlog.stdlib.get_logger("greenroom.session").debug("not this one")
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("greenroom.server").exception("it failed")
    finally:
        root.handlers[:], root.level, root.propagate = before[0], before[1], before[2]
        structlog.configure(**before[3])
    lines = _logged(stream)
    assert [one["event"] for one in lines] == ["opened", "refused: ***", "it failed"]
    assert lines[0]["session"] == "p1-2"
    assert lines[0]["logger"] == "greenroom.session"
    assert "ValueError" in lines[2]["exception"]
    assert token not in stream.getvalue()


def test_the_service_knows_nothing_before_it_listens() -> None:
    with tempfile.TemporaryDirectory() as data:
        service = Service(ServerConfig(data_dir=data))
        assert (service.url, service.issuer, service.admin_token) == ("", "", "")
