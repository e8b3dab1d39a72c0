"""Where the service is measured: calls to the engine, opens and resumes, updates, and what gauges look at.

Everything here stands around the parts of the service; none of them knows that it is measured.
"""

from __future__ import annotations

import asyncio
import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from greenroom.codes import CloseCode
from greenroom.core.requests import Attached, EndRequest
from greenroom.core.server.calls import EngineCall, OpenSession, ResumeSession, UpdateProfile
from greenroom.core.states import ServerState
from greenroom.engines.base import Bus, Directory, Engine, Outbox, Reaped, Registry, Restricted
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.model import Application, EndReason, Event, ParticipantRecord, SessionRecord
from greenroom.server.cluster.node import NodeState
from greenroom.server.http.routes import Route
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub, Performer
from greenroom.server.telemetry.metrics import Cell, Metrics, Spread
from greenroom.server.telemetry.tracing import Tracing
from greenroom.server.version import version
from greenroom.server.webhooks.sending import Outcome

if TYPE_CHECKING:
    from greenroom.server.service import Service

PROBE_EVERY = 1.0
"""Seconds from one look at the event loop's lag to the next."""
FORGET_UPDATES = 10.0
"""Seconds after which an update that nobody was told of is not measured any more."""

Clock = Callable[[], float]
_KNOWN_CODES = frozenset(int(code) for code in CloseCode)
_HELD = (ServerState.OPEN, ServerState.FENCED, ServerState.EXPIRED, ServerState.ENDING)
_CONTRACTS: dict[str, type] = {"registry": Registry, "bus": Bus, "outbox": Outbox, "directory": Directory}


def _methods(contract: type) -> list[str]:
    return [name for name, found in vars(contract).items() if asyncio.iscoroutinefunction(found)]


# -- the engine -------------------------------------------------------------------------------------------------------


class _Measured:
    """A contract of an engine whose calls are timed. What is not a call is the contract's own."""

    def __init__(self, inner: Any, name: str, measure: Measure) -> None:
        self._inner = inner
        for call in _methods(_CONTRACTS[name]):
            setattr(self, call, measure.wrap(inner, name, call))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MeasuredEngine:
    """The engine given, measured. What is no part of the contract is the engine's own."""

    def __init__(self, inner: Engine, measure: Measure) -> None:
        self.inner = inner
        self.name = inner.name
        self.registry = cast(Registry, _Measured(inner.registry, "registry", measure))
        # The embedded engine's bus is a dict: to measure it would take longer than it does.
        self.bus = inner.bus if inner.name == "embedded" else cast(Bus, _Measured(inner.bus, "bus", measure))
        self.outbox = cast(Outbox, _Measured(inner.outbox, "outbox", measure))
        self.directory = cast(Directory, _Measured(inner.directory, "directory", measure))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self) -> None:
        await self.inner.stop()

    async def healthy(self) -> None:
        await self.inner.healthy()

    async def durability(self) -> tuple[str, ...]:
        return await self.inner.durability()


class _Update:
    """A profile update under way. version: that it made, None until the engine has answered. told: versions that
    watchers were written to meanwhile, and when."""

    __slots__ = ("began", "told", "version")

    def __init__(self, began: float) -> None:
        self.began = began
        self.version: int | None = None
        self.told: list[tuple[int, float]] = []


class Measure:
    """Of one service. clock: seconds that do not go back. tracing: None is none."""

    def __init__(self, metrics: Metrics, clock: Clock, wall: Clock, tracing: Tracing | None = None) -> None:
        self.metrics = metrics
        self._clock = clock
        self._wall = wall
        self._tracing = tracing
        self._ended = {reason: self._end_cell(reason) for reason in EndReason}
        self._requests = metrics.counter("greenroom_http_requests_total")
        self._orphaned = metrics.counter("greenroom_sessions_orphaned_total").cell()
        self._attempts = metrics.counter("greenroom_webhook_attempts_total")
        self._delivery = metrics.spread("greenroom_webhook_delivery_seconds")
        self._updates: dict[tuple[str, str], _Update] = {}
        self._told = metrics.spread("greenroom_update_to_watcher_seconds").cell()
        self._after: dict[str, Callable[[Any, tuple[Any, ...]], None]] = {
            "registry.open": self._opened,
            "registry.close": self._closed,
            "registry.restrict": self._restricted,
            "registry.reap": self._reaped,
            "outbox.set_aside": self._set_aside,
        }

    def _end_cell(self, reason: EndReason) -> Cell:
        return self.metrics.counter("greenroom_sessions_ended_total").cell(reason.value)

    # -- calls to the engine ---------------------------------------------------------------------------------------

    def wrap(self, inner: Any, contract: str, call: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The call, timed. Looked up in `inner` each time: a test may put another there."""
        spread = self.metrics.spread("greenroom_engine_call_seconds").cell(contract, call)
        counts, bounds = spread.counts, spread.bounds
        failed = self.metrics.counter("greenroom_engine_errors_total").cell(contract, call)
        after = self._after.get(f"{contract}.{call}")
        clock = self._clock

        async def timed(*arguments: Any, **named: Any) -> Any:
            began = clock()
            try:
                result = await getattr(inner, call)(*arguments, **named)
            except ServiceUnavailableError:
                failed.value += 1
                raise
            except GreenroomError:
                raise
            except Exception:
                failed.value += 1
                raise
            finally:
                # `Spread.observe`, without the call: this is on the way of every open.
                took = clock() - began
                counts[bisect_left(bounds, took)] += 1
                spread.total += took
            if after is not None:
                after(result, arguments)
            return result

        return timed if self._tracing is None else self._tracing.engine_call(f"{contract}.{call}", timed)

    def _opened(self, attached: Attached, _arguments: tuple[Any, ...]) -> None:
        if attached.replaced:
            self._ended[EndReason.REPLACED].value += len(attached.replaced)

    def _closed(self, ended: SessionRecord | None, arguments: tuple[Any, ...]) -> None:
        if ended is not None:
            request: EndRequest = arguments[0]
            self._ended[request.reason].value += 1

    def _restricted(self, restricted: Restricted, _arguments: tuple[Any, ...]) -> None:
        self._count_ends(restricted.ended)

    def _reaped(self, reaped: Reaped, _arguments: tuple[Any, ...]) -> None:
        self._count_ends(reaped.ended)
        self._orphaned.value += reaped.detached

    def _count_ends(self, ended: Iterable[SessionRecord]) -> None:
        for session in ended:
            self._ended[session.end_reason or EndReason.TIMEOUT].value += 1

    def _set_aside(self, _result: None, arguments: tuple[Any, ...]) -> None:
        app, _reader, events = arguments[:3]
        self.metrics.counter("greenroom_webhook_set_aside_total").cell(app).value += len(events)

    # -- what sessions ask for -------------------------------------------------------------------------------------

    def performer(self, perform: Performer) -> Performer:
        """`Desk.perform`, with opens, resumes and updates measured."""
        clock, counter, spread = self._clock, self.metrics.counter, self.metrics.spread
        timers: dict[type, tuple[Spread, Cell]] = {
            OpenSession: (spread("greenroom_open_seconds").cell(), counter("greenroom_opens_total").cell("ok")),
            ResumeSession: (spread("greenroom_resume_seconds").cell(), counter("greenroom_resumes_total").cell("ok")),
        }

        async def joining(work: Coroutine[Any, Any, Any], took: Spread, good: Cell) -> Any:
            began = clock()
            result = await work
            took.observe(clock() - began)
            good.value += 1
            return result

        def measured(connection: SessionConnection, call: EngineCall) -> Coroutine[Any, Any, Any]:
            kind = type(call)
            timer = timers.get(kind)
            if timer is not None:
                work = perform(connection, call)
                if self._tracing is not None:
                    work = self._tracing.joining(connection, call, work)
                return joining(work, *timer)
            if kind is UpdateProfile:
                return self._updating(perform(connection, call), connection, call)  # type: ignore[arg-type]
            return perform(connection, call)

        return measured

    async def _updating(
        self, work: Coroutine[Any, Any, ParticipantRecord], connection: SessionConnection, call: UpdateProfile
    ) -> ParticipantRecord:
        key = (call.app, call.participant_id)
        held = connection.machine.held
        before = 0 if held is None else held.participant.version
        update = self._updates.setdefault(key, _Update(self._clock()))
        try:
            record = await work
        except BaseException:
            self._updates.pop(key, None)
            raise
        update.version = record.version
        if record.version <= before:
            # What was there already: nobody is told anything.
            self._updates.pop(key, None)
        for told, at in update.told:
            self._note_told(key, update, told, at)
        return record

    def told(self, records: Sequence[ParticipantRecord]) -> None:
        """The hub's: watchers of these were written to."""
        if not self._updates:
            return
        now = self._clock()
        for record in records:
            key = (record.app, record.id)
            update = self._updates.get(key)
            if update is not None and update.version is None:
                # The change is heard before the engine has answered; or this was an older one.
                update.told.append((record.version, now))
            elif update is not None:
                self._note_told(key, update, record.version, now)
        for key in [key for key, update in self._updates.items() if now - update.began >= FORGET_UPDATES]:
            del self._updates[key]

    def _note_told(self, key: tuple[str, str], update: _Update, version: int, at: float) -> None:
        if update.version is not None and version >= update.version and self._updates.pop(key, None) is not None:
            self._told.observe(at - update.began)

    def attend(self, hub: Hub) -> None:
        """The hub whose connections are counted."""
        refused = {
            False: self.metrics.counter("greenroom_opens_total"),
            True: self.metrics.counter("greenroom_resumes_total"),
        }
        lost = self.metrics.counter("greenroom_connections_lost_total")

        def on_refused(reason: str, resuming: bool) -> None:
            refused[resuming].cell(reason).value += 1

        def on_left(code: int) -> None:
            lost.cell(str(code) if code in _KNOWN_CODES else "other").value += 1

        hub.on_refused = on_refused
        hub.on_left = on_left
        hub.on_silent = self.metrics.spread("greenroom_silence_seconds").cell().observe
        hub.on_told = self.told

    def answered(self, route: Route | None, status: int) -> None:
        """The dispatcher's: a request was answered. A method that has no row is not a label: clients choose it."""
        path, method = ("none", "none") if route is None else (route.path, route.method)
        self._requests.cell(path, method, str(status)).value += 1

    # -- webhooks --------------------------------------------------------------------------------------------------

    def attempted(self, app: Application, event: Event, outcome: Outcome) -> None:
        """The dispatcher's: an attempt is over."""
        answer = "none" if outcome.status is None else f"{outcome.status // 100}xx"
        self._attempts.cell(app.key, answer).value += 1
        if outcome.delivered:
            self._delivery.cell(app.key).observe(max(0.0, self._wall() - event.at / 1000))

    # -- the loop --------------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Until cancelled: how late is the event loop?"""
        observe = self.metrics.spread("greenroom_loop_lag_seconds").cell().observe
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PROBE_EVERY
            await asyncio.sleep(PROBE_EVERY)
            observe(max(0.0, loop.time() - due))


# -- gauges -----------------------------------------------------------------------------------------------------------


def look_at(service: Service, metrics: Metrics) -> None:
    """What is read off the service's parts at each scrape."""
    hub, node, desk, reaper = service.hub, service.node, service.desk, service.reaper

    def single(name: str, value: Callable[[], float]) -> None:
        metrics.gauge(name, lambda: (((), value()),))

    single("greenroom_connections", lambda: len(hub.connections))
    single("greenroom_http_connections", lambda: len(service.door.visitors))
    single("greenroom_watched_participants", lambda: len({one for _, one in hub.watchers}))
    single("greenroom_node_ready", lambda: node.not_ready() is None)
    single("greenroom_nodes", lambda: 1 + sum(one.lease_left > 0 for one in node.others))
    single("greenroom_lease_age_seconds", lambda: node.lease_age)
    single("greenroom_kept_writes", lambda: len(desk.kept))
    single("greenroom_clock_difference_seconds", lambda: node.clock_difference)
    single("greenroom_reaper_lag_seconds", lambda: reaper.lag)
    single("greenroom_reaper_failing", lambda: bool(reaper.failing))
    started = service.clocks.wall()
    single("greenroom_start_time_seconds", lambda: started)
    metrics.count("greenroom_messages_received_total", lambda: (((), hub.messages_received),))
    metrics.count("greenroom_messages_sent_total", lambda: (((), hub.messages_sent),))
    metrics.count(
        "greenroom_requests_refused_total",
        lambda: [((str(status),), count) for status, count in service.door.refused.items()],
    )
    metrics.gauge("greenroom_sessions", lambda: _by_state(hub))
    metrics.gauge(
        "greenroom_application_sessions", lambda: [((app,), n) for app, n in node.application_sessions.items()]
    )
    metrics.gauge("greenroom_node_state", lambda: [((one.value,), node.state is one) for one in NodeState])
    build = (version(), platform.python_version(), service.engine.name)
    metrics.gauge("greenroom_build_info", lambda: ((build, 1),))
    metrics.gauge("greenroom_engine_durability_info", lambda: [((line,), 1) for line in service.durability])
    _look_at_webhooks(service, metrics)


def _by_state(hub: Hub) -> list[tuple[tuple[str, ...], float]]:
    found = Counter(connection.machine.state for connection in hub.sessions.values())
    return [((state.value,), found[state]) for state in _HELD]


def _look_at_webhooks(service: Service, metrics: Metrics) -> None:
    def waiting() -> list[tuple[tuple[str, ...], float]]:
        found: Counter[str] = Counter()
        for worker in service.webhooks.workers():
            found[worker.app_key] += worker.held
        return [((app,), count) for app, count in found.items()]

    def endpoints() -> list[tuple[tuple[str, ...], float]]:
        found = Counter(
            (worker.app_key, worker.receiver.value) for worker in service.webhooks.workers() if worker.is_delivering
        )
        return list(found.items())

    metrics.gauge("greenroom_webhook_waiting", waiting)
    metrics.gauge("greenroom_webhook_endpoints", endpoints)


__all__ = ["Measure", "MeasuredEngine", "look_at"]
