"""Where the service is measured: calls to the engine, opens and resumes, updates, and what gauges look at.

Everything here wraps the parts of the service; none of them knows that it is measured.
"""

from __future__ import annotations

import asyncio
import platform
from asyncio import CancelledError
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, ParamSpec, Protocol

from greenroom.codes import CloseCode
from greenroom.core.requests import EndRequest
from greenroom.core.states import ServerState
from greenroom.engines.base import Bus, Directory, Engine, Outbox, Reaped, Registry, Restricted, Statistics
from greenroom.engines.completion import Completion
from greenroom.engines.rooms import Rooms
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.model import Application, EndReason, Event, ParticipantRecord, SessionRecord
from greenroom.server.cluster.node import Node, NodeState
from greenroom.server.cluster.reaper import Reaper
from greenroom.server.http.routes import Route
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.session_writes import SessionWrites
from greenroom.server.telemetry.metrics import Count, Metrics
from greenroom.server.telemetry.tracing import Tracing
from greenroom.server.tenants.key_sets import KeySets
from greenroom.server.version import version
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.webhooks.sending import DeliveryOutcome
from greenroom.server.wire.front_door import FrontDoor

PROBE_EVERY = 1.0
"""Seconds from one look at the event loop's lag to the next."""
FORGET_UPDATES = 10.0
"""Seconds after which an update that no watcher was sent is no longer measured."""

Clock = Callable[[], float]
_KNOWN_CODES = frozenset(int(code) for code in CloseCode)
_HELD = (ServerState.OPEN, ServerState.FENCED, ServerState.EXPIRED, ServerState.ENDING)
P = ParamSpec("P")


class Timed(Protocol):
    """`Measure.timed`."""

    def __call__(self, contract: str, call: Callable[P, Awaitable[Any]]) -> Callable[P, Any]: ...


# -- the engine -------------------------------------------------------------------------------------------------------


class _MeasuredRegistry:
    """Implements `Registry`: the engine's own calls, timed."""

    def __init__(self, inner: Registry, timed: Timed) -> None:
        self.open = timed("registry", inner.open)
        self.attach = timed("registry", inner.attach)
        self.refresh = timed("registry", inner.refresh)
        self.detach = timed("registry", inner.detach)
        self.close = timed("registry", inner.close)
        self.update_participant = timed("registry", inner.update_participant)
        self.participants = timed("registry", inner.participants)
        self.sessions = timed("registry", inner.sessions)
        self.restrict = timed("registry", inner.restrict)
        self.beat = timed("registry", inner.beat)
        self.reap = timed("registry", inner.reap)
        self.restore = timed("registry", inner.restore)


class _MeasuredBus:
    """Implements `Bus`."""

    def __init__(self, inner: Bus, timed: Timed) -> None:
        self.listen = inner.listen
        self.watch = timed("bus", inner.watch)
        self.unwatch = timed("bus", inner.unwatch)
        self.watch_rooms = timed("bus", inner.watch_rooms)
        self.unwatch_rooms = timed("bus", inner.unwatch_rooms)
        self.send = timed("bus", inner.send)


class _MeasuredOutbox:
    """Implements `Outbox`."""

    def __init__(self, inner: Outbox, timed: Timed) -> None:
        self.subscribe = inner.subscribe
        self.read = timed("outbox", inner.read)
        self.acknowledge = timed("outbox", inner.acknowledge)
        self.acknowledged = timed("outbox", inner.acknowledged)
        self.newest = timed("outbox", inner.newest)
        self.latest = timed("outbox", inner.latest)
        self.replay = timed("outbox", inner.replay)
        self.set_aside = timed("outbox", inner.set_aside)
        self.aside = timed("outbox", inner.aside)
        self.drop_aside = timed("outbox", inner.drop_aside)
        self.claim = timed("outbox", inner.claim)


class _MeasuredDirectory:
    """Implements `Directory`."""

    def __init__(self, inner: Directory, timed: Timed) -> None:
        self.applications = timed("directory", inner.applications)
        self.application = timed("directory", inner.application)
        self.save_application = timed("directory", inner.save_application)
        self.keys = timed("directory", inner.keys)
        self.save_key = timed("directory", inner.save_key)
        self.restrictions = timed("directory", inner.restrictions)
        self.put_back = timed("directory", inner.put_back)
        self.version = timed("directory", inner.version)


class _MeasuredStatistics:
    """Implements `Statistics`."""

    def __init__(self, inner: Statistics, timed: Timed) -> None:
        self.count = timed("statistics", inner.count)
        self.keep = timed("statistics", inner.keep)
        self.history = timed("statistics", inner.history)


class _MeasuredRooms:
    """Implements `Rooms`."""

    def __init__(self, inner: Rooms, timed: Timed) -> None:
        self.create = timed("rooms", inner.create)
        self.join = timed("rooms", inner.join)
        self.leave = timed("rooms", inner.leave)
        self.roster = timed("rooms", inner.roster)
        self.rooms = timed("rooms", inner.rooms)
        self.send = timed("rooms", inner.send)
        self.moderate = timed("rooms", inner.moderate)
        self.invite = timed("rooms", inner.invite)
        self.answer = timed("rooms", inner.answer)
        self.settle = timed("rooms", inner.settle)


class MeasuredEngine:
    """Implements `Engine`: the engine given, its calls timed."""

    def __init__(self, inner: Engine, timed: Timed) -> None:
        self.name = inner.name
        self.registry: Registry = _MeasuredRegistry(inner.registry, timed)
        # The embedded engine's bus is a dict: to measure it would take longer than it does.
        self.bus: Bus = inner.bus if inner.name == "embedded" else _MeasuredBus(inner.bus, timed)
        self.outbox: Outbox = _MeasuredOutbox(inner.outbox, timed)
        self.directory: Directory = _MeasuredDirectory(inner.directory, timed)
        self.statistics: Statistics = _MeasuredStatistics(inner.statistics, timed)
        self.rooms: Rooms = _MeasuredRooms(inner.rooms, timed)
        self.start = inner.start
        self.stop = inner.stop
        self.healthy = inner.healthy
        self.durability = inner.durability


class _Update:
    """A profile update under way. version: that it made, None until the engine has answered. written: versions that
    watchers were sent meanwhile, and when."""

    __slots__ = ("began", "version", "written")

    def __init__(self, began: float) -> None:
        self.began = began
        self.version: int | None = None
        self.written: list[tuple[int, float]] = []


class Measure:
    """Of one service. clock: seconds that do not go back. tracing: None is none."""

    def __init__(self, metrics: Metrics, clock: Clock, wall: Clock, tracing: Tracing | None = None) -> None:
        self.metrics = metrics
        self._clock = clock
        self._wall = wall
        self._tracing = tracing
        self._ended = {reason: self._end_count(reason) for reason in EndReason}
        self._requests = metrics.counter("greenroom_http_requests_total")
        self._orphaned = metrics.counter("greenroom_sessions_orphaned_total").labels()
        self._attempts = metrics.counter("greenroom_webhook_attempts_total")
        self._delivery = metrics.histogram("greenroom_webhook_delivery_seconds")
        self._updates: dict[tuple[str, str], _Update] = {}
        self._update_to_watcher = metrics.histogram("greenroom_update_to_watcher_seconds").labels()
        opens, resumes = metrics.counter("greenroom_opens_total"), metrics.counter("greenroom_resumes_total")
        self._join_counters = {False: opens, True: resumes}
        self._joins = {
            False: (metrics.histogram("greenroom_open_seconds").labels(), opens.labels("ok")),
            True: (metrics.histogram("greenroom_resume_seconds").labels(), resumes.labels("ok")),
        }
        self._lost = metrics.counter("greenroom_connections_lost_total")
        self._silence = metrics.histogram("greenroom_silence_seconds").labels()
        self._after: dict[str, Callable[[Any, tuple[Any, ...]], None]] = {
            "registry.close": self._closed,
            "registry.restrict": self._restricted,
            "registry.reap": self._reaped,
            "outbox.set_aside": self._set_aside,
        }

    def _end_count(self, reason: EndReason) -> Count:
        return self.metrics.counter("greenroom_sessions_ended_total").labels(reason.value)

    # -- calls to the engine ---------------------------------------------------------------------------------------

    def timed(self, contract: str, call: Callable[P, Awaitable[Any]]) -> Callable[P, Any]:
        """The call, timed. contract: whose method it is. Of a `Completion` nothing is waited for."""
        method = call.__name__.rpartition(".")[2]  # compiled coroutines have their class in it
        times = self.metrics.histogram("greenroom_engine_call_seconds").labels(contract, method)
        failed = self.metrics.counter("greenroom_engine_errors_total").labels(contract, method)
        after = self._after.get(f"{contract}.{method}")
        clock = self._clock

        def note(began: float, arguments: tuple[Any, ...], result: Any) -> None:
            times.observe(clock() - began)
            if not isinstance(result, BaseException):
                if after is not None:
                    after(result, arguments)
            elif isinstance(result, ServiceUnavailableError) or not isinstance(result, GreenroomError | CancelledError):
                failed.add()

        async def waited_for(began: float, arguments: tuple[Any, ...], work: Awaitable[Any]) -> Any:
            try:
                result = await work
            except BaseException as error:
                note(began, arguments, error)
                raise
            note(began, arguments, result)
            return result

        def timed(*arguments: P.args, **named: P.kwargs) -> Any:
            began = clock()
            work = call(*arguments, **named)
            if not isinstance(work, Completion):
                return waited_for(began, arguments, work)
            work.afterwards(partial(note, began, arguments))
            return work

        return timed if self._tracing is None else self._tracing.engine_call(f"{contract}.{method}", timed)

    def _closed(self, ended: SessionRecord | None, arguments: tuple[Any, ...]) -> None:
        if ended is not None:
            request: EndRequest = arguments[0]
            self._ended[request.reason].add()

    def _restricted(self, restricted: Restricted, _arguments: tuple[Any, ...]) -> None:
        self._count_ends(restricted.ended)

    def _reaped(self, reaped: Reaped, _arguments: tuple[Any, ...]) -> None:
        self._count_ends(reaped.ended)
        self._orphaned.add(reaped.detached)

    def _count_ends(self, ended: Iterable[SessionRecord]) -> None:
        for session in ended:
            self._ended[session.end_reason or EndReason.TIMEOUT].add()

    def _set_aside(self, _result: None, arguments: tuple[Any, ...]) -> None:
        app, _reader, events = arguments[:3]
        self.metrics.counter("greenroom_webhook_set_aside_total").labels(app).add(len(events))

    # -- SessionMetrics --------------------------------------------------------------------------------------------

    def joined(self, seconds: float, *, resuming: bool) -> None:
        """An open or a resume succeeded."""
        histogram, good = self._joins[resuming]
        histogram.observe(seconds)
        good.add()

    def replaced(self, count: int) -> None:
        """Sessions were ended by an open."""
        self._ended[EndReason.REPLACED].add(count)

    def refused(self, reason: str, *, resuming: bool) -> None:
        """An open or a resume was refused."""
        self._join_counters[resuming].labels(reason).add()

    def connection_lost(self, code: int) -> None:
        """A WebSocket is gone."""
        self._lost.labels(str(code) if code in _KNOWN_CODES else "other").add()

    def silent(self, seconds: float) -> None:
        """A connection is dropped whose client answered no ping for so long."""
        self._silence.observe(seconds)

    def update_begins(self, app: str, participant_id: str) -> None:
        """A profile update is sent to the engine."""
        self._updates.setdefault((app, participant_id), _Update(self._clock()))

    def update_ends(self, app: str, participant_id: str, *, before: int, version: int | None) -> None:
        """The engine answered."""
        key = (app, participant_id)
        update = self._updates.get(key)
        if update is None:
            return
        if version is None or version <= before:
            # Refused, or what was there already: no watcher is sent anything.
            del self._updates[key]
            return
        update.version = version
        for sent, at in update.written:
            self._observe_update(key, update, sent, at)

    def updates_sent(self, records: Sequence[ParticipantRecord]) -> None:
        """The watchers of these were written to."""
        if not self._updates:
            return
        now = self._clock()
        for record in records:
            key = (record.app, record.id)
            update = self._updates.get(key)
            if update is not None and update.version is None:
                # The change comes before the engine has answered; or this was an older one.
                update.written.append((record.version, now))
            elif update is not None:
                self._observe_update(key, update, record.version, now)
        for key in [key for key, update in self._updates.items() if now - update.began >= FORGET_UPDATES]:
            del self._updates[key]

    def _observe_update(self, key: tuple[str, str], update: _Update, version: int, at: float) -> None:
        if update.version is not None and version >= update.version and self._updates.pop(key, None) is not None:
            self._update_to_watcher.observe(at - update.began)

    def answered(self, route: Route | None, status: int) -> None:
        """The dispatcher's: a request was answered. A method that has no row is not a label: clients choose it."""
        path, method = ("none", "none") if route is None else (route.path, route.method)
        self._requests.labels(path, method, str(status)).add()

    # -- webhooks --------------------------------------------------------------------------------------------------

    def attempted(self, app: Application, event: Event, outcome: DeliveryOutcome) -> None:
        """The dispatcher's: an attempt is over."""
        answer = "none" if outcome.status is None else f"{outcome.status // 100}xx"
        self._attempts.labels(app.key, answer).add()
        if outcome.delivered:
            self._delivery.labels(app.key).observe(max(0.0, self._wall() - event.at / 1000))

    # -- key sets --------------------------------------------------------------------------------------------------

    def key_set_fetched(self, app: str, good: bool) -> None:
        """A request for a key set is over."""
        outcome = "good" if good else "failed"
        self.metrics.counter("greenroom_key_set_fetches_total").labels(app, outcome).add()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Until cancelled: how late is the event loop?"""
        observe = self.metrics.histogram("greenroom_loop_lag_seconds").labels().observe
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PROBE_EVERY
            await asyncio.sleep(PROBE_EVERY)
            observe(max(0.0, loop.time() - due))


# -- gauges -----------------------------------------------------------------------------------------------------------


def register_gauges(
    metrics: Metrics,
    *,
    hub: Hub,
    node: Node,
    writes: SessionWrites,
    reaper: Reaper,
    webhooks: WebhookDispatcher,
    key_sets: KeySets,
    door: FrontDoor,
    engine_name: str,
    durability: Sequence[str],
    started_at: float,
) -> None:
    """What is read off the service's parts at each scrape. durability: what the engine promises. started_at: Unix
    seconds."""

    def single(name: str, value: Callable[[], float]) -> None:
        metrics.gauge(name, lambda: (((), value()),))

    single("greenroom_connections", lambda: len(hub.connections))
    single("greenroom_http_connections", lambda: len(door.visitors))
    single("greenroom_watched_participants", lambda: len({one for _, one in hub.watchers}))
    single("greenroom_node_ready", lambda: node.not_ready() is None)
    single("greenroom_nodes", lambda: 1 + sum(one.lease_left > 0 for one in node.others))
    single("greenroom_lease_age_seconds", lambda: node.lease_age)
    single("greenroom_kept_writes", lambda: len(writes.deferred))
    single("greenroom_clock_difference_seconds", lambda: node.clock_difference)
    single("greenroom_reaper_lag_seconds", lambda: reaper.lag)
    single("greenroom_reaper_failing", lambda: bool(reaper.failing))
    single("greenroom_rooms_here", lambda: len(hub.rooms))
    single("greenroom_room_memberships", lambda: hub.rooms.memberships)
    metrics.count("greenroom_room_changes_sent_total", lambda: (((), hub.rooms.fan_out.changes_sent),))
    metrics.count("greenroom_room_messages_sent_total", lambda: (((), hub.rooms.fan_out.messages_sent),))
    metrics.count(
        "greenroom_room_messages_missed_total",
        lambda: [((reason,), count) for reason, count in hub.rooms.fan_out.messages_missed.items()],
    )
    single("greenroom_rooms_lag_seconds", lambda: reaper.rooms_lag)
    single("greenroom_rooms_failing", lambda: bool(reaper.rooms_failing))
    metrics.count("greenroom_room_marks_settled_total", lambda: (((), reaper.marks_settled),))
    metrics.count("greenroom_room_repairs_total", lambda: (((), reaper.rooms_repaired),))
    metrics.count("greenroom_rooms_ended_total", lambda: (((), reaper.rooms_ended),))
    single("greenroom_start_time_seconds", lambda: started_at)
    metrics.count("greenroom_messages_received_total", lambda: (((), hub.received),))
    metrics.count("greenroom_messages_sent_total", lambda: (((), hub.sent),))
    metrics.count(
        "greenroom_requests_refused_total", lambda: [((str(status),), count) for status, count in door.refused.items()]
    )
    metrics.gauge("greenroom_sessions", lambda: _by_state(hub))
    metrics.gauge(
        "greenroom_application_sessions", lambda: [((app,), n) for app, n in node.application_sessions.items()]
    )
    metrics.gauge("greenroom_node_state", lambda: [((one.value,), node.state is one) for one in NodeState])
    build = (version(), platform.python_version(), engine_name)
    metrics.gauge("greenroom_build_info", lambda: ((build, 1),))
    metrics.gauge("greenroom_engine_durability_info", lambda: [((line,), 1) for line in durability])
    metrics.gauge("greenroom_webhook_waiting", lambda: _webhooks_waiting(webhooks))
    metrics.gauge("greenroom_webhook_endpoints", lambda: _webhook_endpoints(webhooks))
    metrics.gauge("greenroom_key_set_age_seconds", lambda: _key_set_ages(key_sets))
    metrics.gauge("greenroom_key_sets_failing", lambda: _key_sets_failing(key_sets))


def _key_set_ages(key_sets: KeySets) -> list[tuple[tuple[str, ...], float]]:
    found: dict[str, float] = {}
    for (app, _), state in key_sets.states.items():
        if state.age is not None:
            found[app] = max(state.age, found.get(app, 0.0))
    return [((app,), age) for app, age in found.items()]


def _key_sets_failing(key_sets: KeySets) -> list[tuple[tuple[str, ...], float]]:
    found: Counter[str] = Counter()
    for (app, _), state in key_sets.states.items():
        found[app] += state.failures > 0
    return [((app,), count) for app, count in found.items()]


def _by_state(hub: Hub) -> list[tuple[tuple[str, ...], float]]:
    found = Counter(connection.context.state for connection in hub.sessions.values())
    return [((state.value,), found[state]) for state in _HELD]


def _webhooks_waiting(webhooks: WebhookDispatcher) -> list[tuple[tuple[str, ...], float]]:
    found: Counter[str] = Counter()
    for worker in webhooks.workers():
        found[worker.app_key] += worker.held
    return [((app,), count) for app, count in found.items()]


def _webhook_endpoints(webhooks: WebhookDispatcher) -> list[tuple[tuple[str, ...], float]]:
    found = Counter((worker.app_key, worker.receiver.value) for worker in webhooks.workers() if worker.is_delivering)
    return list(found.items())
