"""A worker on a real engine in memory, with time that is moved by hand: an hour of outage takes a second."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from greenroom.core.requests import OpenRequest, TokenFacts, UpdateRequest
from greenroom.engines.base import EVENT_LIMITS, Engine, EventLimits, NodeBeat
from greenroom.engines.embedded import EmbeddedEngine, session_steps
from greenroom.model import (
    NAMING_FIELDS,
    Application,
    Event,
    WebhookEndpoint,
    make_session_id,
    partition_of,
    without_names,
)
from greenroom.server.webhooks.sending import DeliveryOutcome
from greenroom.server.webhooks.worker import EndpointWorker, Tools, reader_of, replay_reader_of
from tests.support.sim.loop import ProcessClock, Timeline

APP = "app"
GOOD = DeliveryOutcome(200, "")
BAD = DeliveryOutcome(None, "refused")


class VirtualTime(ProcessClock):
    """The clocks of the test's own process."""

    async def go(self, seconds: float) -> None:
        """Lets so much time pass, and everything happen that is due in it."""
        await asyncio.sleep(seconds)


def virtual(test: Callable[[VirtualTime], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a test in a loop of its own, whose time continues when nothing is left to do at the present instant."""

    @functools.wraps(test)
    def run() -> None:
        timeline = Timeline()
        try:
            timeline.call(timeline.make_loop("test"), test(VirtualTime(timeline)), within=1e6)
        finally:
            timeline.close()

    # pytest must see the wrapper's own signature, without arguments and not a coroutine function.
    del run.__dict__["__wrapped__"]
    return run


@dataclass
class World:
    """An engine, a receiver that is a function, and a worker."""

    clock: VirtualTime
    engine: Engine
    endpoint: WebhookEndpoint | None = field(default_factory=lambda: WebhookEndpoint(id="wh", url="https://x.example"))
    outcome: DeliveryOutcome = GOOD
    refused: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    attempts: int = 0
    delivered: list[Event] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    numbers: int = 0

    def worker(self, node: str = "n1", **more: int) -> EndpointWorker:
        tools = Tools(
            outbox=self.engine.outbox,
            post=self._post,
            disable=self._disable,
            redacted=lambda event: without_names(event) if event.participant_id in self.erased else event,
            node=node,
            clock=self.clock.monotonic,
            wall=lambda: self.clock.now_ms() / 1000,
            random=random.Random(7).random,
            **more,  # type: ignore[arg-type]
        )
        return EndpointWorker(APP, "wh", self._look, tools)

    def _look(self) -> tuple[Application, WebhookEndpoint] | None:
        if self.endpoint is None:
            return None
        return Application(key=APP, name="a", namespace="0" * 32), self.endpoint

    async def _post(self, app: Application, endpoint: WebhookEndpoint, event: Event) -> DeliveryOutcome:
        self.attempts += 1
        await asyncio.sleep(0)
        outcome = BAD if event.participant_id in self.refused else self.outcome
        if outcome.delivered:
            self.delivered.append(event)
        return outcome

    async def _disable(self, _app: str, _endpoint: str, why: str) -> None:
        self.disabled.append(why)
        self.endpoint = None

    async def open(self, name: str) -> None:
        """A participant, without whom there are no events."""
        session = make_session_id(partition_of(APP, name), name.encode().ljust(16))
        await self.engine.registry.open(
            OpenRequest(
                app=APP,
                participant_id=name,
                external_id=name,
                open_id=name,
                secret_hash=b"x" * 32,
                session_id=session,
                node="n1",
                lease="l1",
                token=TokenFacts(jti=name, issued_at=1_700_000_000, expires_at=1_800_000_000),
            )
        )

    async def update(self, name: str) -> None:
        """An event about the participant."""
        self.numbers += 1
        await self.engine.registry.update_participant(
            UpdateRequest(app=APP, participant_id=name, name=f"{name} {self.numbers}")
        )

    async def all_events(self) -> list[Event]:
        found: list[Event] = []
        cursor: str | None = None
        while True:
            page = await self.engine.outbox.read(APP, cursor, 1000)
            if not page.items:
                return found
            found += page.items
            cursor = page.cursor

    def check_order(self) -> None:
        """Of first deliveries, for each participant."""
        received: dict[str, list[int]] = defaultdict(list)
        for event in self.delivered:
            if event.type == "participant.updated":
                received[event.participant_id].append(event.data["version"])
        for versions in received.values():
            assert versions == sorted(versions)


@pytest.fixture(autouse=True)
def _every_change_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of a profile are what these tests make events with."""
    monkeypatch.setattr(session_steps, "UPDATE_EVENT_PERIOD_MS", 0)


@asynccontextmanager
async def world(clock: VirtualTime, limits: EventLimits = EVENT_LIMITS) -> AsyncIterator[World]:
    engine = EmbeddedEngine(":memory:", clock=clock, threaded=False, event_limits=limits)
    await engine.start()
    await engine.registry.beat(NodeBeat(node="n1", boot="b", lease="l1"))
    made = World(clock, engine)
    yield made
    await engine.stop()


@asynccontextmanager
async def working(here: World, node: str = "n1", **more: int) -> AsyncIterator[EndpointWorker]:
    worker = here.worker(node, **more)
    here.engine.outbox.subscribe(lambda _app: worker.poke())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_events_are_delivered_and_acknowledged(clock: VirtualTime) -> None:
    async with world(clock) as here, working(here):
        await here.open("anna")
        await here.update("anna")
        await here.clock.go(1)
        assert [event.id for event in here.delivered] == [event.id for event in await here.all_events()]
        cursor = await here.engine.outbox.acknowledged(APP, reader_of("wh"))
        assert cursor == await here.engine.outbox.newest(APP)


@virtual
async def test_a_filter_lets_through_what_was_asked_for(clock: VirtualTime) -> None:
    async with world(clock) as here:
        here.endpoint = WebhookEndpoint(id="wh", url="https://x.example", events=("session.*",))
        async with working(here):
            await here.open("anna")
            await here.update("anna")
            await here.clock.go(1)
            assert [event.type for event in here.delivered] == ["session.opened"]
            cursor = await here.engine.outbox.acknowledged(APP, reader_of("wh"))
            assert cursor == await here.engine.outbox.newest(APP)


@pytest.mark.slow
@virtual
async def test_an_hour_of_outage_at_10_events_a_second_loses_nothing(clock: VirtualTime) -> None:
    await _an_hour_of_outage(clock, 10)


@pytest.mark.soak
@virtual
async def test_an_hour_of_outage_at_50_events_a_second_loses_nothing(clock: VirtualTime) -> None:
    """For as long as S17 keeps them (100,000 of an application, which is 33 minutes). What comes beyond that is dropped
    by the engine, and reported as a gap: see the test below."""
    await _an_hour_of_outage(clock, 50)


async def _an_hour_of_outage(clock: VirtualTime, rate: int) -> None:
    """So many events a second for 1,900 s, then quiet for the rest of the hour."""
    people = [f"p{number}" for number in range(40)]
    async with world(clock) as here, working(here) as worker:
        for name in people:
            await here.open(name)
        await here.clock.go(1)
        here.outcome = BAD
        before = here.attempts
        most_held = 0
        for second in range(1900):
            for number in range(rate):
                await here.update(people[(second + number) % len(people)])
            await here.engine.registry.reap()
            await here.clock.go(1)
            most_held = max(most_held, worker.held)
        await here.clock.go(1700)
        during = here.attempts - before
        assert during < 150, f"{during} attempts at a receiver that is down"
        assert most_held <= 1000
        assert here.disabled == []
        everything = await here.all_events()
        here.outcome = GOOD
        before = here.attempts
        await here.clock.go(120)
        assert len(here.delivered) == len(everything)
        assert {event.id for event in here.delivered} == {event.id for event in everything}
        here.check_order()
        assert here.attempts - before <= len(everything), "draining costs one attempt an event, and little more"
        cursor = await here.engine.outbox.acknowledged(APP, reader_of("wh"))
        assert cursor == await here.engine.outbox.newest(APP)


@virtual
async def test_what_the_engine_dropped_is_sent_as_one_gap(clock: VirtualTime) -> None:
    async with world(clock, EventLimits(count=100)) as here, working(here, capacity=20):
        await here.open("anna")
        await here.clock.go(1)
        here.outcome = BAD
        for _ in range(300):
            await here.update("anna")
        await here.clock.go(1)
        await here.engine.registry.reap()
        here.outcome = GOOD
        before = len(here.delivered)
        await here.clock.go(400)
        received = here.delivered[before:]
        (gap,) = [event for event in received if event.type == "gap"]
        assert gap.data["dropped"] + len(received) - 1 == 300
        opened, online, *kept = [event.id for event in await here.all_events()]
        assert [event.id for event in received[-98:]] == kept, f"updates went before {opened} and {online}"


@virtual
async def test_a_crash_at_any_moment_loses_nothing(clock: VirtualTime) -> None:
    dice = random.Random(11)
    people = [f"p{number}" for number in range(5)]
    async with world(clock) as here:
        for name in people:
            await here.open(name)
        for round_number in range(40):
            worker = here.worker()
            task = asyncio.create_task(worker.run())
            for _ in range(dice.randrange(1, 20)):
                await here.update(dice.choice(people))
                worker.poke()
                for _ in range(dice.randrange(40)):
                    await asyncio.sleep(0)
            here.outcome = BAD if round_number % 3 == 1 else GOOD
            # As SIGKILL would: not even the end of `run` is carried out.
            worker._finish = _nothing  # type: ignore[method-assign]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await worker._cancel()
        here.outcome = GOOD
        async with working(here):
            await here.clock.go(600)
        everything = await here.all_events()
        assert {event.id for event in here.delivered} == {event.id for event in everything}
        first: dict[str, Event] = {}
        for event in here.delivered:
            first.setdefault(event.id, event)
        here.delivered = list(first.values())
        here.check_order()


async def _nothing() -> None:
    pass


@virtual
async def test_dead_letters_are_kept_and_replayed(clock: VirtualTime) -> None:
    async with world(clock) as here, working(here, capacity=6) as worker:
        await here.open("anna")
        await here.open("bob")
        await here.clock.go(1)
        here.refused = {"anna"}
        await here.update("anna")
        await here.clock.go(1)
        await here.update("bob")
        await here.clock.go(1)
        # No room any more but for what fails: it is set aside before its time, so that bob need not wait.
        for _ in range(6):
            await here.update("anna")
        await here.update("bob")
        await here.clock.go(5)
        assert here.delivered[-1].participant_id == "bob"
        kept = await here.engine.outbox.aside(APP, reader_of("wh"), 10)
        assert {event.participant_id for event, _ in kept} == {"anna"}
        assert worker.counts.set_aside == len(kept) >= 6
        here.refused = set()
        dead = [event for event, _ in kept]
        await here.engine.outbox.set_aside(APP, replay_reader_of("wh"), dead, "again")
        here.delivered.clear()
        worker.poke(replays=True)
        await here.clock.go(20)
        assert [event.id for event in here.delivered if event in dead] == [event.id for event in dead]
        assert await here.engine.outbox.aside(APP, replay_reader_of("wh"), 10) == ()


@virtual
async def test_dead_letters_about_someone_who_was_erased_since_do_not_name_them(clock: VirtualTime) -> None:
    async with world(clock) as here, working(here, capacity=6) as worker:
        await here.open("anna")
        await here.open("bob")
        here.refused = {"anna"}
        await here.update("anna")
        await here.clock.go(1)
        here.erased = {"anna"}  # what was read, and failed once, names her
        for _ in range(6):
            await here.update("anna")
        await here.update("bob")
        await here.clock.go(5)
        kept = await here.engine.outbox.aside(APP, reader_of("wh"), 10)
        assert len(kept) == worker.counts.set_aside >= 6
        assert not [event.data for event, _ in kept if set(event.data) & set(NAMING_FIELDS)]


@virtual
async def test_gone_disables_the_endpoint_and_ends_the_worker(clock: VirtualTime) -> None:
    async with world(clock) as here, working(here):
        here.outcome = DeliveryOutcome(410, "status 410")
        await here.open("anna")
        await here.clock.go(1)
        assert here.disabled == ["The receiver answered 410: it accepts no more events."]
        attempts = here.attempts
        here.outcome = GOOD
        await here.update("anna")
        await here.clock.go(600)
        assert here.attempts == attempts
        cursor = await here.engine.outbox.acknowledged(APP, reader_of("wh"))
        assert cursor is None


@virtual
async def test_one_node_at_a_time_delivers_and_the_next_goes_on_from_the_cursor(clock: VirtualTime) -> None:
    async with world(clock) as here:
        await here.open("anna")
        async with working(here, "n1") as one, working(here, "n2") as two:
            await here.clock.go(20)
            assert [one.is_delivering, two.is_delivering] == [True, False]
            await here.update("anna")
            await here.clock.go(1)
            count = len(here.delivered)
            assert count == len(await here.all_events())
        async with working(here, "n2") as two:
            await here.clock.go(45)
            assert two.is_delivering
            await here.update("anna")
            await here.clock.go(3)
            assert len(here.delivered) == count + 1


@virtual
async def test_a_node_that_stops_hands_over_what_it_delivers(clock: VirtualTime) -> None:
    async with world(clock) as here:
        await here.open("anna")
        one = here.worker("n1")
        delivers = asyncio.create_task(one.run())
        await here.clock.go(1)
        async with working(here, "n2") as two:
            await here.clock.go(1)
            assert [one.is_delivering, two.is_delivering] == [True, False]
            delivers.cancel()
            await asyncio.gather(delivers, return_exceptions=True)
            count = len(here.delivered)
            await here.update("anna")
            await here.clock.go(1)
            assert two.is_delivering, "it waits for a claim of a node that is gone"
            assert len(here.delivered) == count + 1


@virtual
async def test_a_slow_receiver_holds_a_bounded_number_of_events(clock: VirtualTime) -> None:
    async with world(clock) as here, working(here, capacity=50, concurrency=4) as worker:
        held = asyncio.Event()
        under_way = 0
        most = 0

        async def slow(app: Application, endpoint: WebhookEndpoint, event: Event) -> DeliveryOutcome:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await held.wait()
            under_way -= 1
            here.delivered.append(event)
            return GOOD

        object.__setattr__(worker._tools, "post", slow)
        for number in range(100):
            await here.open(f"p{number}")
        await here.clock.go(5)
        assert most == 4
        assert worker.held <= 50
        held.set()
        await here.clock.go(5)
        assert len(here.delivered) == len(await here.all_events())


@virtual
async def test_an_engine_that_is_away_for_a_while_is_waited_for(clock: VirtualTime) -> None:
    from greenroom.errors import ServiceUnavailableError

    async with world(clock) as here, working(here):
        await here.open("anna")
        await here.clock.go(1)
        outbox = here.engine.outbox
        whole = outbox.acknowledge
        failures = 5

        async def failing(app: str, reader: str, cursor: str) -> None:
            nonlocal failures
            failures -= 1
            if failures > 0:
                raise ServiceUnavailableError
            await whole(app, reader, cursor)

        outbox.acknowledge = failing  # type: ignore[method-assign]
        await here.update("anna")
        await here.clock.go(20)
        assert failures <= 0
        assert await outbox.acknowledged(APP, reader_of("wh")) == await outbox.newest(APP)
        assert len(here.delivered) == len(await here.all_events())
