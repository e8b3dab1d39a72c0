"""Runs a worker for each enabled endpoint. Every node has a dispatcher; a claim in the engine makes sure that one node
at a time delivers to an endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from greenroom.engines.base import Engine
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.events.names import with_names
from greenroom.server.events.views import view_of_event
from greenroom.server.telemetry.tracing import Tracing
from greenroom.server.tenants.applications import Tenants
from greenroom.server.webhooks import signing
from greenroom.server.webhooks.sending import DeliveryOutcome, Sender
from greenroom.server.webhooks.worker import EndpointWorker, Tools

log = structlog.stdlib.get_logger("greenroom.webhooks")

LOOK_EVERY = 1.0
"""Seconds after which endpoints that were added, changed or removed are noticed."""
USER_AGENT = "greenroom-webhooks/1"


class WebhookDispatcher:
    """announce: notifies all nodes that the directory changed. node: this node's name. on_attempt: called after each
    attempt. tracing: None is none. clock: seconds that do not go back. The wall clock is the tenants' own. concurrency:
    attempts at a time to one endpoint."""

    def __init__(
        self,
        engine: Engine,
        tenants: Tenants,
        sender: Sender,
        *,
        node: str,
        announce: Callable[[], Awaitable[None]],
        on_attempt: Callable[[Application, Event, DeliveryOutcome], None] = lambda _app, _event, _outcome: None,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        concurrency: int = 8,
        capacity: int = 1000,
    ) -> None:
        self.sender = sender
        self.node = node
        self._on_attempt = on_attempt
        self._tracing = tracing
        self._registry = engine.registry
        self._tenants = tenants
        self._announce = announce
        self._sleep = sleep
        self._workers: dict[tuple[str, str], tuple[EndpointWorker, asyncio.Task[None]]] = {}
        self._tools = Tools(
            outbox=engine.outbox,
            post=self.post,
            disable=self._disable,
            redacted=tenants.revocations.redacted,
            node=node,
            clock=clock,
            wall=tenants.now,
            sleep=sleep,
            concurrency=concurrency,
            capacity=capacity,
        )
        engine.outbox.subscribe(self._news)

    # -- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self.look()
                await self._sleep(LOOK_EVERY)
        finally:
            await self._stop()

    def look(self) -> None:
        """Starts the workers of endpoints that have none. Those of endpoints that are gone end by themselves."""
        for app in self._tenants.applications:
            for endpoint in app.webhooks:
                key = (app.key, endpoint.id)
                running = self._workers.get(key)
                if endpoint.disabled_reason is None and (running is None or running[1].done()):
                    worker = EndpointWorker(*key, partial(self._endpoint, *key), self._tools)
                    self._workers[key] = worker, asyncio.create_task(self._guard(worker))
        for key in [key for key, (_, task) in self._workers.items() if task.done() and self._endpoint(*key) is None]:
            del self._workers[key]

    async def _guard(self, worker: EndpointWorker) -> None:
        try:
            await worker.run()
        except Exception:
            # The next look starts another, from the last acknowledged cursor.
            log.exception("webhook worker failed", app=worker.app_key, endpoint=worker.endpoint_id)

    async def _stop(self) -> None:
        tasks = [task for _, task in self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()
        await self.sender.close()

    # -- for the API and metrics -----------------------------------------------------------------------------------

    def worker(self, app_key: str, endpoint_id: str) -> EndpointWorker | None:
        """This node's worker of the endpoint."""
        found = self._workers.get((app_key, endpoint_id))
        return None if found is None else found[0]

    def workers(self) -> Iterator[EndpointWorker]:
        """All of this node, for metrics."""
        return (worker for worker, _ in self._workers.values())

    def poke_replays(self, app_key: str, endpoint_id: str) -> None:
        """Something waits to be sent again."""
        worker = self.worker(app_key, endpoint_id)
        if worker is not None:
            worker.poke(replays=True)

    async def post(self, app: Application, endpoint: WebhookEndpoint, event: Event) -> DeliveryOutcome:
        """Signs and sends one event, once."""
        with suppress(ServiceUnavailableError):  # the event matters more than the name
            (event,) = await with_names(self._registry, app.key, (event,))
        body = msgspec.json.encode(view_of_event(self._tenants.revocations.redacted(event)))
        now = self._tenants.now()
        secrets = signing.open_secrets(self._tenants.secrets, app.key, endpoint, now)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **signing.headers(secrets, event.id, int(now), body),
        }
        work = self.sender.send(endpoint.url, body, headers, app=app.key)
        outcome = await (work if self._tracing is None else self._tracing.webhook(app, event, work))
        self._on_attempt(app, event, outcome)
        return outcome

    # -- inside ----------------------------------------------------------------------------------------------------

    def _news(self, app_key: str) -> None:
        for (key, _), (worker, _task) in self._workers.items():
            if key == app_key:
                worker.poke()

    def _endpoint(self, app_key: str, endpoint_id: str) -> tuple[Application, WebhookEndpoint] | None:
        app = self._tenants.get(app_key)
        for endpoint in () if app is None else app.webhooks:
            if endpoint.id == endpoint_id and endpoint.disabled_reason is None and app is not None:
                return app, endpoint
        return None

    async def _disable(self, app_key: str, endpoint_id: str, why: str) -> None:
        def changed(app: Application) -> Application:
            webhooks = tuple(
                msgspec.structs.replace(each, disabled_reason=why) if each.id == endpoint_id else each
                for each in app.webhooks
            )
            return msgspec.structs.replace(app, webhooks=webhooks)

        await self._tenants.change(app_key, changed)
        try:
            await self._announce()
        except GreenroomError:
            log.info("other nodes will read the directory at their next renewal")
