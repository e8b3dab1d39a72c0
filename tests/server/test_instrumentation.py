"""Where the service is measured: each metric moves when it should, and measuring costs little."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

import pytest
from aiohttp import web

from greenroom.engines.base import Bus, Directory, Outbox, Registry
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.server.instrumentation import Measure, MeasuredEngine
from greenroom.server.telemetry.metrics import Metrics
from tests.server.harness import ForwardClocks, RefusedError, RunningService, running_service
from tests.server.scraping import api_token, scrape, value
from tests.support.patience import PATIENCE, until


async def test_a_life_is_counted() -> None:
    async with running_service(renew_interval=0.2) as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("session.updateParticipantInfo", updateId="1", name="Anna")
            await until(lambda: running.service.node.application_sessions.get(app.key) == 1)
            await until(lambda: not running.service.measure._updates)
            found = await scrape(running)
            assert value(found, "greenroom_sessions", state="open") == 1
            assert value(found, "greenroom_application_sessions", app=app.key) == 1
            assert value(found, "greenroom_connections") == 1
            assert value(found, "greenroom_opens_total", result="ok") == 1
            assert value(found, "greenroom_open_seconds_count") == 1
            assert value(found, "greenroom_messages_received_total") == 2
            assert value(found, "greenroom_update_to_watcher_seconds_count") == 1
            assert 0 < value(found, "greenroom_update_to_watcher_seconds_sum") < 5
            assert value(found, "greenroom_engine_call_seconds_count", contract="registry", call="open") == 1
            await client.drop()
        async with running.connect() as client:
            await client.resume(opened)
            await client.call("session.close")
        async with running.connect() as client:
            with pytest.raises(RefusedError):
                await client.open("no token")
        found = await scrape(running)
        assert value(found, "greenroom_resumes_total", result="ok") == 1
        assert value(found, "greenroom_opens_total", result="Invalid_token") == 1
        assert value(found, "greenroom_sessions_ended_total", reason="closed") == 1
        assert value(found, "greenroom_connections_lost_total", code="4000") >= 1
        assert value(found, "greenroom_sessions", state="open") == 0
        assert value(found, "greenroom_http_requests_total", path="/metrics", status="200") == 1


async def test_deliveries_are_counted_for_each_application() -> None:
    answers = iter((503, 200))

    async def receive(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=next(answers, 200))

    receiver = web.Server(receive)
    listener = await asyncio.get_running_loop().create_server(receiver, "127.0.0.1", 0)
    try:
        async with running_service(webhook_allowed_networks=["127.0.0.0/8"], webhook_http="allowed") as running:
            app = await running.new_application()
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
            headers = {"Authorization": "Bearer " + await api_token(running, app)}
            body = {"url": url, "events": ["session.opened"]}
            async with running.http.post(f"{running.url}/v1/webhooks", json=body, headers=headers) as reply:
                assert reply.status < 300, await reply.text()
            async with running.connect() as client:
                await client.open(app.token("anna"))
                attempts = running.service.metrics.counter("greenroom_webhook_attempts_total")
                await until(lambda: attempts.labels(app.key, "5xx").value == 1)
                found = await scrape(running)
                assert value(found, "greenroom_webhook_waiting", app=app.key) == 1
            async with running.connect() as client:
                await client.open(app.token("ben"))
                await until(lambda: attempts.labels(app.key, "2xx").value >= 1)
            found = await scrape(running)
            assert value(found, "greenroom_webhook_delivery_seconds_count", app=app.key) >= 1
            assert value(found, "greenroom_webhook_endpoints", app=app.key) == 1
    finally:
        listener.close()
        await receiver.shutdown(0.1)
        await listener.wait_closed()


async def test_a_call_of_the_engine_is_measured_by_two_looks_at_the_clock() -> None:
    """What measuring costs, in counted work; `EngineCalls` looks twice more for each open."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return float(looks)

    engine: Any = EmbeddedEngine(":memory:")
    await engine.start()
    try:
        measure = Measure(Metrics(), clock, clock)
        measured = MeasuredEngine(engine, measure.timed)
        assert measured.bus is engine.bus
        await measured.bus.watch("app", ("p",))
        await measured.directory.version()
        assert looks == 2
        measure.joined(3.0, resuming=False)
        assert looks == 2
        assert measure.metrics.histogram("greenroom_open_seconds").labels().total == 3.0
    finally:
        await engine.stop()


def test_every_call_of_an_engine_is_timed() -> None:
    """A method that is added to a contract must be added to what stands around it."""

    def timed(_contract: str, call: Any) -> Any:
        return ("timed", call)

    inner: Any = EmbeddedEngine(":memory:")
    inner.name = "other"
    measured = MeasuredEngine(inner, cast(Any, timed))
    for part, contract in (("registry", Registry), ("bus", Bus), ("outbox", Outbox), ("directory", Directory)):
        for name, method in vars(contract).items():
            if name.startswith("_") or not callable(method):
                continue
            own = getattr(getattr(inner, part), name)
            waited_for = asyncio.iscoroutinefunction(method) or method.__annotations__["return"].startswith("Awaitable")
            expected = ("timed", own) if waited_for else own
            assert getattr(getattr(measured, part), name) == expected, (part, name)


async def test_an_update_that_changes_nothing_is_not_measured() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            await client.open(app.token("anna"), participant={"name": "Anna"})
            await client.call("session.updateParticipantInfo", updateId="1", name="Anna")
            assert not running.service.measure._updates
            assert value(await scrape(running), "greenroom_update_to_watcher_seconds_count") == 0


async def test_ends_are_counted_by_reason_where_they_are_made() -> None:
    async with running_service(grace=0.2, grace_going_away=0.1, grace_unconfirmed=0.1, max_waiting=32) as running:
        app = await running.new_application()
        kicked, gone, first = await running.dial(), await running.dial(), await running.dial()
        await kicked.open(app.token("anna"))
        await gone.open(app.token("ben"))
        await first.open(app.token("chloe"), device={"id": "phone"})
        headers = {"Authorization": "Bearer " + await api_token(running, app)}
        person = app.participant_id("anna")
        async with running.http.post(f"{running.url}/v1/participants/{person}/kick", json={}, headers=headers) as reply:
            assert reply.status == 200
        await gone.drop()
        second = await running.dial()
        await second.open(app.token("chloe"), device={"id": "phone"})

        async def counted() -> bool:
            found = await scrape(running)
            ends = {
                reason: value(found, "greenroom_sessions_ended_total", reason=reason)
                for reason in ("kicked", "timeout", "replaced", "closed")
            }
            return ends == {"kicked": 1, "timeout": 1, "replaced": 1, "closed": 0}

        await until(counted)


async def test_silence_is_measured_when_a_connection_is_dropped_for_it() -> None:
    clocks = ForwardClocks()
    async with running_service(clocks, ping_interval=20.0, pong_timeout=15.0) as running:
        app = await running.new_application()
        # One that answers no ping.
        async with running.http.ws_connect(
            running.url + "/v1/session", protocols=("greenroom.v1",), autoping=False
        ) as socket:
            await socket.send_str(
                json.dumps(
                    {
                        "jsonrpc": "2.0",
                        "id": 1,
                        "method": "session.open",
                        "params": {"token": app.token("anna"), "openId": "o" * 32, "resumeSecret": "s" * 43},
                    }
                )
            )
            await until(lambda: running.service.hub.sessions)
            (connection,) = running.service.hub.connections
            heartbeat = connection.machine._heartbeat
            due = heartbeat.due
            clocks.ahead += 20.0
            await until(lambda: heartbeat.due > due)  # it was pinged
            clocks.ahead += 15.0
            await until(lambda: not running.service.hub.connections and value_of_silence(running) == 1)
        found = await scrape(running)
        assert 35.0 <= value(found, "greenroom_silence_seconds_sum") < 35.0 + PATIENCE


def value_of_silence(running: RunningService) -> int:
    return running.service.metrics.histogram("greenroom_silence_seconds").labels().count


async def test_a_fenced_node_and_an_engine_that_fails_are_seen() -> None:
    async with running_service() as running:
        node = running.service.node
        node._lease.ended()
        node.check_fence()
        found = await scrape(running)
        assert value(found, "greenroom_node_state", state="fenced") == 1
        assert value(found, "greenroom_node_state", state="acting") == 0
        assert value(found, "greenroom_node_ready") == 0
        assert value(found, "greenroom_lease_age_seconds") > running.service.config.fence_after
        async with running.http.get(running.url + "/v1/session") as reply:
            assert reply.status in (426, 400)
        found = await scrape(running)
        assert value(found, "greenroom_requests_refused_total", status=str(reply.status)) == 1


async def test_an_engine_that_cannot_be_reached_is_an_error_and_a_refusal_is_not() -> None:
    from greenroom.errors import ServiceUnavailableError

    class Away:
        async def participants(self, _query: Any) -> Any:
            raise ServiceUnavailableError("away")

    measure = Measure(Metrics(), time.monotonic, time.time)
    with pytest.raises(ServiceUnavailableError):
        await measure.timed("registry", Away().participants)(None)
    failed = measure.metrics.counter("greenroom_engine_errors_total").labels("registry", "participants")
    assert failed.value == 1
    async with running_service() as running:
        service = running.service
        async with running.connect() as client:
            app = await running.new_application()
            with pytest.raises(RefusedError):
                await client.resume(await dead_session(running, app))
        assert service.metrics.counter("greenroom_engine_errors_total").labels("registry", "attach").value == 0


async def dead_session(running: RunningService, app: Any) -> Any:
    async with running.connect() as client:
        opened = await client.open(app.token("anna"))
        await client.call("session.close")
        return opened


async def test_the_loops_lag_is_probed() -> None:
    async with running_service() as running:
        spread = running.service.metrics.histogram("greenroom_loop_lag_seconds").labels()
        await until(lambda: spread.count > 0)
        assert spread.total < 60
        await asyncio.sleep(0)
