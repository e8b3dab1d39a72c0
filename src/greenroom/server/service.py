"""Composition: the one place where the service's parts are put together, started and stopped."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from greenroom.engines.base import Engine
from greenroom.errors import ServiceUnavailableError
from greenroom.server.api.routes import all_routes
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.cluster.admin import ClusterAdmin
from greenroom.server.cluster.counts import ApplicationCounter
from greenroom.server.cluster.directory_sync import DirectorySync
from greenroom.server.cluster.drain import Drain
from greenroom.server.cluster.node import Node
from greenroom.server.cluster.node_listener import NodeListener
from greenroom.server.cluster.reaper import Reaper
from greenroom.server.cluster.sampling import Sampler
from greenroom.server.cluster.upgrades import SessionUpgrades
from greenroom.server.config import ServerConfig
from greenroom.server.engine_factory import make_engine
from greenroom.server.events.long_polling import EventNews
from greenroom.server.http.context import HttpContext
from greenroom.server.http.dispatcher import Dispatcher
from greenroom.server.instrumentation import Measure, MeasuredEngine, register_gauges
from greenroom.server.listener import Certificate, listen, url_of, warn_of_plain_text
from greenroom.server.outbound.documents import DocumentFetcher
from greenroom.server.sessions.admission import Admission
from greenroom.server.sessions.control import SessionControl
from greenroom.server.sessions.engine_calls import EngineCalls, Lease
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.node_commands import NodeCommands
from greenroom.server.sessions.room_control import RoomControl
from greenroom.server.sessions.session_writes import SessionWrites
from greenroom.server.telemetry.metrics import Metrics
from greenroom.server.telemetry.tracing import make_tracing
from greenroom.server.tenants.applications import Tenants
from greenroom.server.tenants.key_sets import KeySets
from greenroom.server.tenants.secrets import load_secrets, read_or_make
from greenroom.server.version import version
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.webhooks.sending import Sender
from greenroom.server.wire.addresses import parse_networks
from greenroom.server.wire.front_door import FrontDoor
from greenroom.server.wire.interface import Listener

log = structlog.stdlib.get_logger("greenroom.server")

BACKLOG = 4_096
SHARED_ISSUER = "greenroom"
"""The `iss` of tokens where nodes share an engine and were given neither issuer nor public URL."""
ISSUER_FILE = "issuer"
"""In the data directory: the `iss` of tokens where the settings name none."""


class Service:
    """One node of the service.

    config: checked settings. engine: None makes the one that the settings name. random_bytes: for keys and ids.
    clocks, chance: the time, and what delays are drawn from.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        engine: Engine | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clocks: Clocks = SYSTEM_CLOCKS,
        chance: random.Random | None = None,
    ) -> None:
        self.config = config
        self.clocks = clocks
        self.stop_requested = asyncio.Event()
        """The process is asked to end: a signal, or an operator who drains this node."""
        self.metrics = Metrics()
        self.limits = config.make_limits()
        self._random_bytes = random_bytes
        self._chance = random.Random(int.from_bytes(random_bytes(8))) if chance is None else chance
        self._tracing = make_tracing(config.tracing)
        self.measure = Measure(self.metrics, clocks.monotonic, clocks.wall, self._tracing)
        self._documents = DocumentFetcher(
            allowed=parse_networks(config.webhook_allowed_networks), allow_http=config.webhook_http == "allowed"
        )
        self._key_sets = KeySets(self._documents, monotonic=clocks.monotonic, fetched=self.measure.key_set_fetched)
        self.engine = MeasuredEngine(make_engine(config) if engine is None else engine, self.measure.timed)
        # Made by `start`, once the engine runs and the address is known:
        self.tenants: Tenants
        self.directory: DirectorySync
        self.hub: Hub
        self.calls: EngineCalls
        self.writes: SessionWrites
        self.node: Node
        self.control: SessionControl
        self.rooms: RoomControl
        self.cluster: ClusterAdmin
        self.news: EventNews
        self.counter: ApplicationCounter
        self.webhooks: WebhookDispatcher
        self.upgrades: SessionUpgrades
        self.door: FrontDoor
        self._reaper: Reaper
        self._sampler: Sampler
        self.url = ""
        """How clients reach it; known once it listens."""
        self.issuer = ""
        self.admin_token = ""
        self.durability: tuple[str, ...] = ()
        self._certificate: Certificate | None = None
        self._server: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._cleanups: list[Callable[[], Awaitable[None]]] = []

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when the service is ready. Raises GreenroomError that says what to change; nothing is left then."""
        try:
            await self._start()
        except BaseException:
            await self._clean_up()
            raise

    async def _start(self) -> None:
        if self._tracing is not None:
            # It waits for its last spans: beside the loop.
            self._cleanups.append(partial(asyncio.to_thread, self._tracing.close))
        self._certificate = Certificate(self.config)
        await self.engine.start()
        self._cleanups.append(self.engine.stop)
        self.durability = await self.engine.durability()
        listener = self._listen()
        self._cleanups.append(_later(listener.close))
        self._find_urls(listener)
        self._load_secrets()
        self._compose()
        self._cleanups += [self._documents.close, self._key_sets.close, self._stop_hub]
        self.engine.bus.listen(
            NodeListener(
                self.hub,
                lost=self.node.recovery.changes_lost,
                directory=self.directory.changed,
                cluster=self.cluster.command,
            )
        )
        await self.node.beat()
        if self.node.current_lease() is None:  # as after a standstill of machine or engine
            await self.node.beat()
        # An engine that is empty, as at the very first start, is written to before anything is asked of it.
        await self.node.restored()
        if self.node.current_lease() is None:
            raise ServiceUnavailableError("The engine gave this node no lease.", hint="See the log for why.")
        await self.directory.load()
        await self._open_door(listener)
        self._register_gauges()
        self._begin(
            self.node.run(), self.node.watch_fence(), self._reaper.run(), self._sampler.run(), self.webhooks.run(),
            self.measure.probe(), self._key_sets.run(),
        )  # fmt: skip
        for line in self.durability:
            log.info("durability", what=line)
        warn_of_plain_text(self.config, self._certificate)
        log.info("ready", url=self.url, node=self.node.name, engine=self.engine.name, version=version())

    def _compose(self) -> None:
        config = self.config
        name = config.node or self._random_bytes(8).hex()
        services = Admission(
            self.tenants,
            issuer=self.issuer,
            session_limits=config.session_limits,
            limits=self.limits,
            opens_per_second=config.opens_per_second,
            opens_per_participant=config.opens_per_participant_per_minute,
            failed_resumes=config.failed_resumes_per_minute,
            failed_auth=config.failed_auth_per_minute,
            protocol_violations=config.protocol_violations_per_minute,
            now=self.clocks.monotonic(),
            random_bytes=self._random_bytes,
        )
        self.hub = Hub(services, self.engine.bus, self.engine.rooms, metrics=self.measure, clocks=self.clocks)
        lease = Lease(self._random_hex(), self.clocks.boottime)
        self.writes = SessionWrites(self.engine.registry, self.hub, name, lease)
        commands = NodeCommands(self.engine.bus, self.hub, name)
        self.calls = EngineCalls(
            self.engine, self.hub, self.writes, commands, node=name, lease=lease, metrics=self.measure,
            tracing=self._tracing, clocks=self.clocks,
        )  # fmt: skip
        self.directory = DirectorySync(self.tenants, self.hub)
        self.node = Node(
            self.engine, self.hub, self.writes, self.directory, config,
            name=name, lease=lease, random_hex=self._random_hex, url=self.url, clocks=self.clocks,
        )  # fmt: skip
        self.control = SessionControl(self.engine.registry, commands, self.directory, self.clocks.wall)
        self.rooms = self.calls.room_control
        self.upgrades = SessionUpgrades(self.hub, self.calls, self.node, grace=config.grace, chance=self._chance)
        self._reaper = Reaper(
            self.engine.registry,
            self.engine.rooms,
            interval=config.reap_interval,
            may_act=lambda: self.node.current_lease() is not None,
            notify=commands.notify_ended,
            notify_lost=self.rooms.notify_lost,
        )
        self.cluster = ClusterAdmin(
            self.engine, self.hub, self.writes, self.node, self._reaper, config, key_sets=self._key_sets,
            same_everywhere={"issuer": self.issuer, "master_key": self.tenants.secrets.fingerprint},
            durability=self.durability, clocks=self.clocks, random_hex=self._random_hex, stop=self.stop_requested.set,
        )  # fmt: skip
        self.news = EventNews(self.engine.outbox)
        self.counter = ApplicationCounter(self.engine.statistics, self.clocks.monotonic)
        self._sampler = Sampler(
            self.engine,
            node=name,
            applications=lambda: self.node.application_sessions,
            may_act=lambda: self.node.current_lease() is not None,
            wall=self.clocks.wall,
            monotonic=self.clocks.monotonic,
        )
        self.webhooks = WebhookDispatcher(
            self.engine,
            self.tenants,
            Sender(
                allowed=parse_networks(config.webhook_allowed_networks), allow_http=config.webhook_http == "allowed"
            ),
            node=name,
            announce=self.control.announce_directory,
            on_attempt=self.measure.attempted,
            tracing=self._tracing,
            concurrency=config.webhook_concurrency,
        )

    def _register_gauges(self) -> None:
        register_gauges(
            self.metrics, hub=self.hub, node=self.node, writes=self.writes, reaper=self._reaper,
            webhooks=self.webhooks, key_sets=self._key_sets, door=self.door,
            engine_name=self.engine.name, durability=self.durability, started_at=self.clocks.wall(),
        )  # fmt: skip

    def _random_hex(self) -> str:
        return self._random_bytes(16).hex()

    # -- the front door -----------------------------------------------------------------------------------------------

    async def _open_door(self, listener: socket.socket) -> None:
        context = HttpContext(
            config=self.config, tenants=self.tenants, engine=self.engine, limits=self.limits, news=self.news,
            counter=self.counter, cluster=self.cluster, webhooks=self.webhooks, control=self.control, rooms=self.rooms,
            metrics=self.metrics, issuer=self.issuer, admin_token=self.admin_token,
        )  # fmt: skip
        self.door = FrontDoor(
            http=Dispatcher(context, all_routes(demo_page=self.config.demo_page == "on"), self.measure.answered),
            sessions=self.upgrades,
            limits=self.limits,
            wheel=self.hub.wheel,
            queued=lambda: self.calls.under_way + self.hub.deferred,
            options=self.config.websocket_options,
            tls=None if self._certificate is None else self._certificate.context,
        )
        self._cleanups.append(partial(self.door.finish_requests, 1.0))
        # Before that: long polls are answered, so that nothing is waited for or left behind.
        self._cleanups.append(_later(self.news.close))
        self._server = await self.door.listen(listener, backlog=BACKLOG)

    def _begin(self, *work: Any) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one) for one in work]

    async def stop(self) -> None:
        """Drains, then closes everything; what was accepted is written first. Harmless when repeated."""
        if self._server is not None:
            await Drain(self.hub, self.node, self.config, self.clocks.monotonic, rate=self.cluster.drain_rate).run()
            self._server.close()
            self._server = None
            await self.calls.settle(self.config.close_timeout)
            if self.writes.deferred:
                await self.writes.write_deferred()
            await self._end_tasks()
            await self.node.leave()
            self.door.abort_all()
        await self._clean_up()

    async def kill(self) -> None:
        """Stop without a word, as SIGKILL would as far as clients and the cluster can see: for tests."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await self._end_tasks()
            self.calls.mute()
            self.door.abort_all()
        await self._clean_up()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_hub(self) -> None:
        await self._end_tasks()
        self.calls.mute()
        await self.hub.cancel_tasks()
        self.hub.stop()

    async def _clean_up(self) -> None:
        while self._cleanups:
            await self._cleanups.pop()()

    # -- parts of start -----------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        return listen(self.config)

    def _find_urls(self, listener: socket.socket) -> None:
        self.url = url_of(self.config, listener)
        self.issuer = self.config.issuer or self._default_issuer()

    def _default_issuer(self) -> str:
        """The URL of the first start, so that tokens stay good when the service moves to another port or name. Nodes
        that share an engine take each other's tokens, whatever address each of them listens on."""
        if self.config.engine == "embedded":
            return read_or_make(Path(self.config.data_dir) / ISSUER_FILE, lambda: self.url)
        return self.config.public_url.rstrip("/") if self.config.public_url else SHARED_ISSUER

    def _load_secrets(self) -> None:
        config = self.config
        data = Path(config.data_dir) if config.engine == "embedded" else None
        secrets = load_secrets(config.master_key, config.admin_token, data, self._random_bytes)
        self.admin_token = secrets.admin_token
        self.tenants = Tenants(
            self.engine.directory,
            master_key=secrets.master_key,
            clock=self.clocks.wall,
            random_bytes=self._random_bytes,
            config=config,
            key_sets=self._key_sets,
        )

    def reload_tls(self) -> None:
        """SIGHUP; see `Certificate.reload`."""
        if self._certificate is not None:
            self._certificate.reload()


def _later(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run_it() -> None:
        work()

    return run_it
