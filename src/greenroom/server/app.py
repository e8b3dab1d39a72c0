"""Composition: the one place where the service's parts are put together, started and stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import structlog

from greenroom.engines.base import Command, EndRequest, Engine, Restricted, RestrictRequest
from greenroom.errors import IllegalArgumentError, ServiceUnavailableError
from greenroom.model import EndReason, SessionRecord
from greenroom.server import logs
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.cluster import ClusterDesk
from greenroom.server.config import ServerConfig
from greenroom.server.connection import SessionConnection
from greenroom.server.counting import Counter
from greenroom.server.desk import Desk
from greenroom.server.drain import Drain
from greenroom.server.egress import parse_networks
from greenroom.server.event_news import EventNews
from greenroom.server.front_door import FrontDoor, make_front_door
from greenroom.server.house import NodeHouse
from greenroom.server.http import make_http
from greenroom.server.hub import Hub
from greenroom.server.link import Handler, Refusal, UpgradeRequest
from greenroom.server.measuring import Measure, MeasuredEngine, look_at
from greenroom.server.metrics import Metrics
from greenroom.server.node import Node
from greenroom.server.reaper import Reaper
from greenroom.server.secret_file import load_admin_token, load_master_key
from greenroom.server.tenants import Tenants
from greenroom.server.tracing import make_tracing
from greenroom.server.version import version
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.webhooks.sending import Sender

log = structlog.stdlib.get_logger("greenroom.server")

GC_THRESHOLD = (50_000, 20, 100)
"""Sessions are many and live long: the default of 700 looks at all of them far too often."""
BACKLOG = 4_096
SHARED_ISSUER = "greenroom"
"""The `iss` of tokens where nodes share an engine and were given neither issuer nor public URL."""
_END_REASON = {"kick": EndReason.KICKED, "block": EndReason.BLOCKED, "erase": EndReason.KICKED}


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
        self._chance = random.Random(int.from_bytes(random_bytes(8))) if chance is None else chance
        self.tracing = make_tracing(config.tracing)
        self.metrics = Metrics()
        self.measure = Measure(self.metrics, clocks.monotonic, clocks.wall, self.tracing)
        self.engine: Engine = MeasuredEngine(make_engine(config) if engine is None else engine, self.measure)
        self.limits = config.make_limits()
        self.tenants: Tenants
        self.hub: Hub
        self.desk: Desk
        self.node: Node
        self.reaper: Reaper
        self.news: EventNews
        self.counter: Counter
        self.cluster: ClusterDesk
        self.webhooks: WebhookDispatcher
        self.door: FrontDoor
        self.url = ""
        """How clients reach it; known once it listens."""
        self.issuer = ""
        self.admin_token = ""
        self.durability: tuple[str, ...] = ()
        self._random_bytes = random_bytes
        self._tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._started_at = 0.0
        self._enforced: dict[str, tuple[bool, int]] = {}
        """Of each application what its open sessions were last measured by: disabled, revoked_before."""
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
        self._started_at = self.clocks.monotonic()
        if self.tracing is not None:
            # It waits for its last spans: beside the loop.
            self._cleanups.append(partial(asyncio.to_thread, self.tracing.close))
        self._tls = self._load_tls()
        await self.engine.start()
        self._cleanups.append(self.engine.stop)
        listener = self._listen()
        self._cleanups.append(_later(listener.close))
        self._find_urls(listener)
        self._load_secrets()
        self._compose()
        self._cleanups.append(self._stop_hub)
        self.engine.bus.listen(self.hub)
        await self.node.beat()
        # An engine that is empty, as at the very first start, is written to before anything is asked of it.
        await self.node.restored()
        if self.node.current_lease() is None:
            raise ServiceUnavailableError("The engine gave this node no lease.", hint="See the log for why.")
        await self._load_directory()
        await self._open_door(listener)
        look_at(self, self.metrics)
        self._begin(
            self.node.run(), self.node.watch_fence(), self.reaper.run(), self.webhooks.run(), self.measure.probe()
        )
        self.durability = await self.engine.durability()
        for line in self.durability:
            log.info("durability", what=line)
        self._warn_of_plain_text()
        log.info("ready", url=self.url, node=self.node.name, engine=self.engine.name, version=version())

    def _compose(self) -> None:
        config = self.config
        name = config.node or self._random_bytes(8).hex()
        house = NodeHouse(
            self.tenants,
            issuer=self.issuer,
            session_limits=config.session_limits,
            limits=self.limits,
            opens_per_second=config.opens_per_second,
            failed_sign_ins=config.failed_sign_ins,
            cut_offs=config.cut_offs,
            now=self.clocks.monotonic(),
            random_bytes=self._random_bytes,
        )
        self.desk = Desk(self.engine, node=name, lease=self._lease, grace=config.grace)
        self.hub = Hub(house, self.measure.performer(self.desk.perform), self.clocks)
        self.measure.attend(self.hub)
        self.desk.attend(self.hub)
        self.node = Node(
            self.engine, self.hub, self.desk, config, name=name, random_hex=lambda: self._random_bytes(16).hex(),
            url=self.url, clocks=self.clocks,
        )  # fmt: skip
        self.node.directory_copy = lambda: self.tenants.copy
        self.hub.on_command = self._command
        self.cluster = ClusterDesk(self, name, lambda: self._random_bytes(16).hex())
        self.reaper = Reaper(
            self.engine.registry,
            interval=config.reap_interval,
            may_act=lambda: self._lease() is not None,
            tell=self.desk.tell_ended,
        )

        self._compose_events(name)

    def _compose_events(self, name: str) -> None:
        config = self.config
        self.news = EventNews(self.engine.outbox)
        self.counter = Counter(self.engine)
        self.webhooks = WebhookDispatcher(
            self.engine,
            self.tenants,
            Sender(
                allowed=parse_networks(config.webhook_allowed_networks), allow_http=config.webhook_http == "allowed"
            ),
            node=name,
            announce=self.announce_directory,
            concurrency=config.webhook_concurrency,
        )
        self.webhooks.on_attempt = self.measure.attempted
        self.webhooks.tracing = self.tracing

    def _lease(self) -> str | None:
        return self.node.current_lease()

    async def _open_door(self, listener: socket.socket) -> None:
        http = make_http(self, count=self.measure.answered)
        self._cleanups.append(_shut(http))
        # Before that: long polls are answered, so that nothing is waited for or left behind.
        self._cleanups.append(_later(self.news.close))
        self.door = make_front_door(
            http=http, sessions=self._session, limits=self.limits, options=self.config.websocket_options
        )
        loop = asyncio.get_running_loop()
        # Without these a client has 60 s for its TLS handshake, before the front door sees it, and 30 s to say goodbye.
        self._server = await loop.create_server(
            self.door,
            sock=listener,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.config.head_timeout if self._tls else None,
            ssl_shutdown_timeout=self.config.close_timeout if self._tls else None,
        )

    def _begin(self, *work: Any) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one) for one in work]

    async def stop(self) -> None:
        """Drains, then closes everything; what was accepted is written first. Harmless when repeated."""
        if self._server is not None:
            await Drain(self.hub, self.node, self.config, self.clocks.monotonic, rate=self.cluster.drain_rate).run()
            self._server.close()
            self._server = None
            await self.hub.settle_tasks(self.config.close_timeout)
            if self.desk.kept:
                await self.desk.write_kept()
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
            self.hub.mute()
            self.door.abort_all()
        await self._clean_up()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_hub(self) -> None:
        await self._end_tasks()
        self.hub.mute()
        await self.hub.cancel_tasks()
        self.hub.stop()

    async def _clean_up(self) -> None:
        while self._cleanups:
            await self._cleanups.pop()()

    # -- parts of start -----------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        host, port = self.config.host, self.config.port
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                0
            ]
            listener = socket.socket(family, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self.config.port_sharing == "on":
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind(address)
                listener.setblocking(False)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            raise IllegalArgumentError(
                f"Port {port} of {host} cannot be listened on: {error.strerror or error}.",
                hint="Choose another with --port or GREENROOM_PORT.",
            ) from None
        return listener

    def _find_urls(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        host = self.config.host
        shown = (
            "127.0.0.1"
            if host in ("", "0.0.0.0")
            else "[::1]"
            if host == "::"
            else f"[{host}]"
            if ":" in host
            else host
        )
        own = f"{'https' if self._tls else 'http'}://{shown}:{port}"
        self.url = (self.config.public_url or own).rstrip("/")
        # Nodes that share an engine take each other's tokens, whatever address each of them listens on.
        shared = self.config.engine != "embedded" and not self.config.public_url
        self.issuer = self.config.issuer or (SHARED_ISSUER if shared else self.url)

    def _load_secrets(self) -> None:
        config = self.config
        data = Path(config.data_dir) if config.engine == "embedded" else None
        master_key = load_master_key(config.master_key, data, self._random_bytes)
        self.admin_token = load_admin_token(config.admin_token, data, self._random_bytes)
        self.tenants = Tenants(
            self.engine.directory,
            master_key=master_key,
            clock=self.clocks.wall,
            random_bytes=self._random_bytes,
            config=config,
        )

    async def _load_directory(self) -> None:
        await self.tenants.load()
        self._enforced = self._standing()
        # From now on a higher version is news.
        self.node.on_directory = self._directory_at

    def _load_tls(self) -> ssl.SSLContext | None:
        if self.config.tls_cert is None or self.config.tls_key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load_chain(context)
        return context

    def _load_chain(self, context: ssl.SSLContext) -> None:
        assert self.config.tls_cert is not None
        try:
            context.load_cert_chain(self.config.tls_cert, self.config.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise IllegalArgumentError(
                f"tls_cert and tls_key cannot be loaded: {error}.", hint="Both are PEM files and belong together."
            ) from None

    def reload_tls(self) -> None:
        """SIGHUP: new connections get the new certificate. A bad one is logged, and the old one kept."""
        if self._tls is None:
            return
        try:
            # Into a context of its own first: a half-loaded pair must not reach the one in use.
            self._load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load_chain(self._tls)
        except IllegalArgumentError as error:
            log.error("the certificate was not reloaded", error=error.message)
        else:
            log.info("the certificate was reloaded")

    def _warn_of_plain_text(self) -> None:
        if self._tls is None and not self.config.trusted_proxies and not _is_loopback(self.config.host):
            log.warning(
                "listening beyond this machine without TLS: tokens can be read on the way",
                hint="Set tls_cert and tls_key, or trusted_proxies where a proxy does TLS.",
            )

    # -- what the front door and HTTP ask -----------------------------------------------------------------------------

    def _session(self, request: UpgradeRequest) -> Handler | Refusal:
        node = self.node
        if node.draining:
            return _unavailable("draining", "The node is being shut down. Connect again.", 1)
        if node.current_lease() is None:
            return _unavailable("fenced", "The node has lost touch with the engine.", self._fenced_for())
        return SessionConnection(self.hub, request)

    def _fenced_for(self) -> int:
        """Seconds: 15 to 30 with the default grace (S9). A client with a live old connection has no reason to hurry,
        and one without must be back before its grace is over, however short it is set."""
        grace = self.config.grace
        return self._chance.randint(max(1, round(grace * 3 / 8)), max(1, round(grace * 3 / 4)))

    async def restrict(self, request: RestrictRequest) -> Restricted:
        """`Registry.restrict`, and what follows from it: the nodes that hold what it ended are told."""
        restricted = await self.engine.registry.restrict(request)
        reason = _END_REASON.get(request.kind, EndReason.TOKEN_REVOKED)
        self.desk.tell_ended(restricted.ended, reason, request.reason)
        await self.announce_directory()
        # Before it is answered: whoever kicks and asks for a new token next gets one above the cut-off (S18).
        await self._read_directory(None)
        return restricted

    async def end_session(self, request: EndRequest) -> SessionRecord | None:
        """`Registry.close` by an operator; the node that holds the session is told. None: there was none to end."""
        ended = await self.engine.registry.close(request)
        if ended is not None:
            self.desk.tell_ended((ended,), request.reason, request.text)
        return ended

    async def announce_directory(self) -> None:
        """The directory has changed: every node is told to read it again."""
        await self.desk.tell_all(Command(kind="directory"))

    def not_ready(self) -> str | None:
        """Why the node should get no traffic, or None where it should."""
        return self.node.not_ready()

    @property
    def uptime(self) -> float:
        """Seconds since start."""
        return self.clocks.monotonic() - self._started_at

    def status(self) -> Mapping[str, Any]:
        """What an operator wants to know of this node."""
        return {
            "node": self.node.name,
            "boot": self.node.boot,
            "version": version(),
            "state": self.node.state.value,
            "notReady": self.not_ready(),
            "url": self.url,
            "engine": self.engine.name,
            "durability": list(self.durability),
            "uptime": round(self.uptime, 1),
            "sessions": len(self.hub.sessions),
            "connections": len(self.hub.connections),
            "keptWrites": len(self.desk.kept),
            "clockDifference": round(self.node.clock_difference, 3),
            "reaperLag": self.reaper.lag,
            "reaperFailing": self.reaper.failing,
            "otherNodes": [one.node for one in self.node.others],
        }

    # -- the directory ------------------------------------------------------------------------------------------------

    def _command(self, command: Command) -> None:
        if command.kind == "directory":
            self.hub.spawn(self._read_directory(None))
        else:
            self.cluster.hears(command)

    def _directory_at(self, number: int) -> None:
        if number != self.tenants.version:
            self.hub.spawn(self._read_directory(number))

    async def _read_directory(self, number: int | None) -> None:
        try:
            if number is None:
                await self.tenants.reload()
            else:
                await self.tenants.reload_if(number)
        except ServiceUnavailableError as error:
            log.warning("the directory was not read", error=error.message)
            return
        before, self._enforced = self._enforced, self._standing()
        changed = {key for key, value in self._enforced.items() if before.get(key) != value}
        if changed:
            for connection in tuple(self.hub.sessions.values()):
                if connection.machine.app in changed:
                    connection.directory_changed()

    def _standing(self) -> dict[str, tuple[bool, int]]:
        return {app.key: (app.disabled, app.revoked_before) for app in self.tenants.applications}

    # -- as a process -------------------------------------------------------------------------------------------------

    async def serve(self, ready: Callable[[Service], Awaitable[None]] | None = None) -> None:
        """Runs until SIGTERM or SIGINT. SIGHUP reads the certificate again. ready: awaited when the service is."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload_tls)
        await self.start()
        self.cluster.on_drain = stopping.set
        try:
            if ready is not None:
                await ready(self)
            tune_collector()
            await stopping.wait()
            log.info("stopping")
        finally:
            await self.stop()


def run(config: ServerConfig, ready: Callable[[Service], Awaitable[None]] | None = None) -> None:
    """The service as a process, on uvloop; returns when it has stopped."""
    import uvloop

    logs.configure(config.log_level, config.log_format)
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Service(config).serve(ready))


def raise_file_limit() -> None:
    """As many open files as this process may have: each connection is one, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            log.warning("the limit of open files was not raised", soft=soft, hard=hard, error=str(error))


def make_engine(config: ServerConfig) -> Engine:
    """The engine that the settings name. Raises IllegalArgumentError."""
    if config.engine == "embedded":
        from greenroom.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(config.data_dir, lease=config.lease)
    if config.engine.startswith("redis"):
        from greenroom.engines.redis import RedisEngine

        # A Protocol's attributes are invariant, and this engine names its parts by their own classes.
        return cast(Engine, RedisEngine(config.engine, lease=config.lease))
    raise IllegalArgumentError(
        f"There is no engine for {config.engine.partition(':')[0]!r}.", hint="Use embedded, or the URL of a Redis."
    )


def tune_collector() -> None:
    """What was made at start is never garbage; what comes later is looked at less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _unavailable(word: str, text: str, seconds: int) -> Refusal:
    return Refusal.error(
        503, error="temporarily_unavailable", reason=word, description=text, headers={"Retry-After": str(seconds)}
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _later(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run_it() -> None:
        work()

    return run_it


def _shut(http: Any) -> Callable[[], Awaitable[None]]:
    async def shut() -> None:
        await http.shutdown(1.0)

    return shut


__all__ = ["Service", "make_engine", "raise_file_limit", "run", "tune_collector"]
