"""A worker for each endpoint that is enabled, as long as it is; and what a message holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from standardwebhooks import Webhook

from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import ServiceUnavailableError
from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.tenants.applications import Tenants
from greenroom.server.webhooks import signing
from greenroom.server.webhooks.dispatcher import USER_AGENT, WebhookDispatcher
from greenroom.server.webhooks.sending import DeliveryOutcome
from tests.server.http_service import MASTER_KEY, Clock, Dice
from tests.support.patience import until

GOOD = DeliveryOutcome(200, "")


class Receiver:
    """A `Sender` that sends nothing: what it was given, and how it answers."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, dict[str, str]]] = []
        self.outcome = GOOD
        self.is_closed = False

    async def send(self, url: str, body: bytes, headers: dict[str, str], *, app: str) -> DeliveryOutcome:
        self.messages.append((url, body, headers))
        return self.outcome

    async def close(self) -> None:
        self.is_closed = True


class World:
    def __init__(self, engine: EmbeddedEngine, tenants: Tenants, app: Application) -> None:
        self.engine = engine
        self.tenants = tenants
        self.app = app
        self.receiver = Receiver()
        self.announced = 0
        self.attempts: list[DeliveryOutcome] = []
        self.dispatcher = WebhookDispatcher(
            cast(Any, engine), tenants, cast(Any, self.receiver), node="n1", announce=self.announce,
            on_attempt=lambda _app, _event, outcome: self.attempts.append(outcome),
        )  # fmt: skip

    async def announce(self) -> None:
        self.announced += 1

    async def change(self, how: Callable[[tuple[WebhookEndpoint, ...]], tuple[WebhookEndpoint, ...]]) -> None:
        """The endpoints of the application are others now."""
        self.app = await self.tenants.change(
            self.app.key, lambda app: msgspec.structs.replace(app, webhooks=how(app.webhooks))
        )

    def running(self) -> list[str]:
        return sorted(worker.endpoint_id for worker in self.dispatcher.workers())

    async def event(self, number: int, **more: Any) -> Event:
        """Something happens."""
        event = Event(id=f"e{number}", type="session.opened", at=number, app=self.app.key, **more)
        await self.engine.writer.submit(lambda tx: tx.emit(event))
        return event


SECRET = signing.new_secret(bytes, asymmetric=False)


def endpoint(w: World, name: str, **more: Any) -> WebhookEndpoint:
    sealed = signing.seal_secret(w.tenants.secrets, w.app.key, name, SECRET)
    return WebhookEndpoint(id=name, url=f"https://{name}.example", sealed_secrets=(sealed,), **more)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    engine = EmbeddedEngine(":memory:", lock_timeout=0.0)
    await engine.start()
    tenants = Tenants(cast(Any, engine.directory), master_key=MASTER_KEY, clock=Clock(time.time()), random_bytes=Dice())
    await tenants.load()
    app, _ = await tenants.create_application("Test")
    here = World(engine, tenants, app)
    task = asyncio.create_task(here.dispatcher.run())
    await asyncio.sleep(0)  # it has begun: one that has not has nothing to end
    try:
        yield here
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.stop()


async def test_endpoints_get_a_worker_when_they_come_and_lose_it_when_they_go() -> None:
    async with world() as w:
        one, two = endpoint(w, "one"), endpoint(w, "two")
        await w.change(lambda _: (one, two, endpoint(w, "off", disabled_reason="410")))
        w.dispatcher.look()
        w.dispatcher.look()
        assert w.running() == ["one", "two"]
        assert w.dispatcher.worker(w.app.key, "off") is None
        worker = w.dispatcher.worker(w.app.key, "two")
        await w.change(lambda _: (two,))
        await w.event(1)
        await until(lambda: w.receiver.messages)

        def only_two() -> bool:
            w.dispatcher.look()
            return w.running() == ["two"]

        await until(only_two)
        assert w.dispatcher.worker(w.app.key, "two") is worker, "one that stays goes on"


async def test_a_worker_that_fails_is_followed_by_another(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        await w.change(lambda _: (endpoint(w, "one"),))
        failures = iter((ZeroDivisionError(),))
        acknowledged = w.engine.outbox.acknowledged

        async def failing(app: str, reader: str) -> str | None:
            for failure in failures:
                raise failure
            return await acknowledged(app, reader)

        w.engine.outbox.acknowledged = failing  # type: ignore[method-assign]
        w.dispatcher.look()
        broken = w.dispatcher.worker(w.app.key, "one")

        def another() -> bool:
            w.dispatcher.look()
            return w.dispatcher.worker(w.app.key, "one") is not broken

        await until(another)
        await w.event(1)
        await until(lambda: w.receiver.messages)
        caplog.clear()


async def test_a_message_is_signed_for_its_endpoint_and_says_what_happened() -> None:
    async with world() as w:
        one = endpoint(w, "one")
        event = await w.event(7, participant_id="anna")
        assert await w.dispatcher.post(w.app, one, event) == GOOD
        ((url, body, headers),) = w.receiver.messages
        assert (url, headers["User-Agent"], headers["webhook-id"]) == (one.url, USER_AGENT, "e7")
        read = Webhook(SECRET.shown()).verify(body, headers)
        assert (read["id"], read["type"], read["participantId"]) == ("e7", "session.opened", "anna")
        assert w.attempts == [GOOD]


@pytest.mark.interpreted
async def test_an_engine_that_is_away_costs_the_name_and_not_the_message() -> None:
    async with world() as w:

        async def away(_query: object) -> Any:
            raise ServiceUnavailableError("away")

        registry: Any = w.engine.registry
        registry.participants = away
        event = Event(id="e1", type="room.joined", at=1, app=w.app.key, participant_id="anna", data={"room": "r"})
        assert await w.dispatcher.post(w.app, endpoint(w, "one"), event) == GOOD
        assert len(w.receiver.messages) == 1


async def test_a_receiver_that_is_gone_disables_its_endpoint_for_all_nodes() -> None:
    async with world() as w:
        await w.change(lambda _: (endpoint(w, "one"), endpoint(w, "two")))
        w.receiver.outcome = DeliveryOutcome(410, "")
        await w.change(lambda found: (found[0], msgspec.structs.replace(found[1], disabled_reason="by hand")))
        w.dispatcher.look()
        await w.event(1)
        await until(lambda: w.announced)
        present = w.tenants.get(w.app.key)
        assert present is not None
        assert [one.disabled_reason is not None for one in present.webhooks] == [True, True]
        assert present.webhooks[1].disabled_reason == "by hand", "the other one is left as it was"


async def test_its_end_is_that_of_its_workers_and_of_its_connections() -> None:
    async with world() as w:
        await w.change(lambda _: (endpoint(w, "one"),))
        w.dispatcher.look()
    assert w.running() == []
    assert w.receiver.is_closed
