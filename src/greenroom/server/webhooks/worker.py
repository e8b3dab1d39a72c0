"""One endpoint's deliveries on the node that has the claim: reads events, sends what is due, writes down what is done.

Everything that must survive is in the engine: the cursor up to which all is delivered or set aside, the dead letters,
and the queue of replays. What is held here is read again after a crash.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog

from greenroom.core.delivery import (
    Acknowledge,
    Delivery,
    DeliveryAttempt,
    Disable,
    Effect,
    Receiver,
    Replayed,
    SetAside,
)
from greenroom.engines.base import Outbox
from greenroom.errors import GreenroomError
from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.events.views import notices, wanted
from greenroom.server.webhooks.sending import DeliveryOutcome

log = structlog.stdlib.get_logger("greenroom.webhooks")

CLAIM = 30.0
"""Seconds for which a node reads for an endpoint, unless it renews."""
RENEW = 10.0
POLL = 2.0
"""Seconds after which a worker looks for events by itself: a hint may be lost."""
ACKNOWLEDGE_EVERY = 0.2
"""Seconds between two writes of the cursor at least."""
PAGE = 100
REPLAY_PAGE = 200
RECENT = 200
"""Attempts that `recent` remembers."""
SLOW_RETRY = 1.0


def reader_of(endpoint_id: str) -> str:
    """The endpoint's name as a reader of the outbox."""
    return "webhook:" + endpoint_id


def replay_reader_of(endpoint_id: str) -> str:
    """Where events wait that are to be sent again."""
    return "webhook-replay:" + endpoint_id


class Posting(Protocol):
    """Signs and sends one event to an endpoint."""

    def __call__(self, app: Application, endpoint: WebhookEndpoint, event: Event) -> Awaitable[DeliveryOutcome]: ...


class AttemptView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An attempt as it is shown. status null: no answer came. took: seconds. attempt: 1 is the first."""

    number: int
    at: int
    event_id: str
    event_type: str
    participant_id: str | None
    attempt: int
    delivered: bool
    status: int | None
    why: str
    took: float


@dataclass(slots=True)
class DeliveryCounts:
    """Since the worker began."""

    delivered: int = 0
    failed: int = 0
    set_aside: int = 0
    recent: deque[AttemptView] = field(default_factory=lambda: deque(maxlen=RECENT))

    def put_aside(self, count: int) -> None:
        """So many events were set aside."""
        self.set_aside += count


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker is given. clock: seconds that do not go back; wall: Unix seconds."""

    outbox: Outbox
    post: Posting
    disable: Callable[[str, str, str], Awaitable[None]]
    """(app key, endpoint id, why)"""
    redacted: Callable[[Event], Event]
    """An event as it may be stored again."""
    node: str
    clock: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    concurrency: int = 8
    capacity: int = 1000


class EndpointWorker:
    """look: the application and the endpoint as they are now, None where it is gone or disabled."""

    def __init__(
        self,
        app_key: str,
        endpoint_id: str,
        look: Callable[[], tuple[Application, WebhookEndpoint] | None],
        tools: Tools,
    ) -> None:
        self.app_key = app_key
        self.endpoint_id = endpoint_id
        self.counts = DeliveryCounts()
        self._look = look
        self._tools = tools
        self._reader = reader_of(endpoint_id)
        self._replays = replay_reader_of(endpoint_id)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._log = log.bind(app=app_key, endpoint=endpoint_id)
        self._reset()

    def _reset(self) -> None:
        tools = self._tools
        self._machine = Delivery(tools.random, concurrency=tools.concurrency, capacity=tools.capacity)
        self._cursor: str | None = None
        self._claimed_until = float("-inf")
        self._renew_at = float("-inf")
        self._pending: deque[Effect] = deque()
        self._acknowledged_at = float("-inf")
        self._more = True
        self._looked_at = float("-inf")
        self._look_for_replays = True

    # -- for others ------------------------------------------------------------------------------------------------

    @property
    def is_delivering(self) -> bool:
        """Whether this node has the claim."""
        return self._tools.clock() < self._claimed_until

    @property
    def held(self) -> int:
        """Events read and not done."""
        return self._machine.held

    @property
    def receiver(self) -> Receiver:
        """How the receiver is doing."""
        return self._machine.receiver

    def poke(self, *, replays: bool = False) -> None:
        """There may be something new."""
        self._more = True
        self._look_for_replays = self._look_for_replays or replays
        self._wake.set()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled, or until the endpoint is gone or disabled."""
        try:
            while self._look() is not None:
                self._wake.clear()
                try:
                    pause = await self.turn()
                except GreenroomError as error:
                    self._log.warning("webhook worker waits for the engine", error=error.reason)
                    pause = SLOW_RETRY
                await self._pause(pause)
        finally:
            await self._finish()

    async def turn(self) -> float:
        """One pass. Seconds after which the next is due. Raises GreenroomError of the engine; repeating is safe."""
        if not await self._claim():
            return CLAIM / 3
        await self._write_down()
        await self._fill()
        self._launch()
        await self._write_down()
        return self._next_in()

    async def _claim(self) -> bool:
        now = self._tools.clock()
        if now < self._renew_at:
            return True
        if not await self._tools.outbox.claim(self.app_key, self._reader, self._tools.node, CLAIM):
            if self._claimed_until > float("-inf"):
                # Another node continues from the cursor; what is under way here may arrive twice.
                await self._cancel()
                self._reset()
            return False
        if now >= self._claimed_until:
            await self._cancel()
            self._reset()
            self._cursor = await self._tools.outbox.acknowledged(self.app_key, self._reader)
        self._claimed_until, self._renew_at = now + CLAIM, now + RENEW
        return True

    async def _fill(self) -> None:
        now = self._tools.clock()
        if now >= self._looked_at + POLL:
            self._looked_at = now
            self._more = self._look_for_replays = True
        found = self._look()
        while found is not None and self._more and self._machine.room > 0:
            self._more = False
            limit = min(PAGE, self._machine.room)
            page = await self._tools.outbox.read(self.app_key, self._cursor, limit)
            at = int(self._tools.wall() * 1000)
            events = [*notices(self.app_key, page, self._cursor, at), *page.items]
            self._more = self._more or len(page.items) >= limit
            if events:
                self._cursor = page.cursor
                filters = found[1].events
                self._machine.take([event for event in events if wanted(event.type, filters)], page.cursor, now)
        if self._look_for_replays and self._machine.room >= self._tools.capacity // 2:
            self._look_for_replays = False
            limit = min(REPLAY_PAGE, self._machine.room)
            for event, _why in await self._tools.outbox.aside(self.app_key, self._replays, limit):
                self._machine.replay(event, now)

    def _launch(self) -> None:
        found = self._look()
        now = self._tools.clock()
        if found is None or now >= self._claimed_until:
            return
        for attempt in self._machine.due(now):
            task = asyncio.create_task(self._send(*found, attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, app: Application, endpoint: WebhookEndpoint, attempt: DeliveryAttempt) -> None:
        machine = self._machine
        try:
            outcome = await self._tools.post(app, endpoint, attempt.event)
        except Exception:
            # A bug, or a secret that cannot be opened: to this event a failure like any other.
            self._log.exception("webhook could not be sent")
            outcome = DeliveryOutcome(None, "the service could not send it")
        now = self._tools.clock()
        self._note(attempt, outcome)
        if outcome.delivered:
            machine.succeeded(attempt.number, now)
        elif outcome.gone:
            machine.gone(attempt.number, "The receiver answered 410: it accepts no more events.")
        else:
            machine.failed(attempt.number, now, outcome.why, retry_after=outcome.retry_after)
        self._wake.set()

    def _note(self, attempt: DeliveryAttempt, outcome: DeliveryOutcome) -> None:
        self.counts.delivered += outcome.delivered
        self.counts.failed += not outcome.delivered
        self.counts.recent.append(
            AttemptView(
                number=next(self._numbers),
                at=int(self._tools.wall() * 1000),
                event_id=attempt.event.id,
                event_type=attempt.event.type,
                participant_id=attempt.event.participant_id or None,
                attempt=attempt.tries + 1,
                delivered=outcome.delivered,
                status=outcome.status,
                why=outcome.why,
                took=round(outcome.took, 3),
            )
        )

    def _next_in(self) -> float:
        now = self._tools.clock()
        if self._more and self._machine.room > 0:
            return 0.0
        times = [self._looked_at + POLL, self._renew_at]
        deadline = self._machine.deadline()
        if deadline is not None:
            times.append(deadline)
        if self._pending:
            times.append(self._acknowledged_at + ACKNOWLEDGE_EVERY)
        return max(0.0, min(times) - now)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._wake.is_set():
            await asyncio.sleep(0)
            return
        woken = asyncio.create_task(self._wake.wait())
        slept = asyncio.ensure_future(self._tools.sleep(seconds))
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (woken, slept):
                task.cancel()
            await asyncio.gather(woken, slept, return_exceptions=True)

    # -- what must survive -----------------------------------------------------------------------------------------

    async def _write_down(self, *, final: bool = False) -> None:
        """In order: a dead letter is stored before the cursor passes it. What fails stays for the next time."""
        self._pending.extend(self._machine.effects())
        outbox, app = self._tools.outbox, self.app_key
        while self._pending:
            effect = self._pending[0]
            now = self._tools.clock()
            if isinstance(effect, Acknowledge):
                later = next((each for each in itertools.islice(self._pending, 1, None)), None)
                if not isinstance(later, Acknowledge):
                    if not final and later is None and now < self._acknowledged_at + ACKNOWLEDGE_EVERY:
                        return
                    await outbox.acknowledge(app, self._reader, effect.cursor)
                    self._acknowledged_at = now
            elif isinstance(effect, SetAside):
                self._log.warning("webhook events set aside", events=len(effect.events), why=effect.why)
                events = [self._tools.redacted(event) for event in effect.events]
                await outbox.set_aside(app, self._reader, events, effect.why)
                self.counts.put_aside(len(effect.events))
            elif isinstance(effect, Replayed):
                await outbox.drop_aside(app, self._replays, [effect.event_id])
                self._look_for_replays = True
            elif isinstance(effect, Disable):
                self._log.warning("webhook endpoint disabled", why=effect.why)
                await self._tools.disable(app, self.endpoint_id, effect.why)
            self._pending.popleft()

    async def _cancel(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self) -> None:
        await self._cancel()
        if self.is_delivering:
            try:
                await self._write_down(final=True)
                # Handed over: the next node need not wait until the claim lapses.
                await self._tools.outbox.claim(self.app_key, self._reader, self._tools.node, 0.0)
            except GreenroomError:
                self._log.info("the last deliveries could not be acknowledged and will be repeated")
