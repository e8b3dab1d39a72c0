"""Delivery of events to one receiver: in order for each participant, side by side across participants, with retries.

The rules alone: events go in with the cursor of the page they were read in, attempts that are due come out, results go
in, and `effects` says what to write down. Time is an argument (seconds of a clock that does not go back), chance is
passed in. Whatever was held in memory only is read again from the last acknowledged cursor: delivery is at least once.

Source: the Standard Webhooks specification (retry schedule, 2xx only, 410, Retry-After).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from greenroom.model import Event

SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds from one failed attempt to the next: ten attempts in some 75 hours, as the specification proposes."""
JITTER = 0.2
"""Each delay is longer by a random part of this share, so that what failed together does not come back together."""
MAX_RETRY_AFTER = 86400.0
"""Seconds; a receiver that asks for more is asked again after these."""
FAILURES_TO_DOWN = 5
"""Failures in a row, over all participants, after which the receiver counts as down."""
PROBE_DELAYS = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds between the single attempts made at a receiver that is down; the last one repeats."""


class Receiver(Enum):
    """How the receiver is doing."""

    UP = "up"
    DOWN = "down"
    """One attempt at a time, at most one in `PROBE_DELAYS`; a success makes everything that waits due at once."""
    GONE = "gone"
    """It answered 410: nothing is sent until it is enabled again."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One event to send now. number: to be given back with the result. tries: attempts that failed before."""

    number: int
    event: Event
    tries: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Everything up to this cursor was delivered or set aside."""

    cursor: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """These become dead letters. To be written before anything that follows it is acknowledged."""

    events: tuple[Event, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replayed event needs no more attempts: delivered, or a dead letter."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Disable:
    """The receiver accepts no more events."""

    why: str


Effect = Acknowledge | SetAside | Replayed | Disable


@dataclass(slots=True)
class _Page:
    cursor: str
    left: int


@dataclass(slots=True)
class _Item:
    event: Event
    page: _Page | None
    """None: a replayed event, which no cursor waits for."""


@dataclass(slots=True)
class _Lane:
    """The events of one participant. Only the first is ever sent."""

    name: str
    order: int
    items: deque[_Item] = field(default_factory=deque)
    tries: int = 0
    failed_at: float | None = None
    """When the participant's events began to fail: the first failure since the last success."""
    due: float = 0.0
    stamp: int = 0
    """Which entry of the heap is the valid one; entries of other numbers are dropped as they come up."""
    sending: int | None = None


def _lane_of(event: Event) -> str:
    return event.participant_id or event.id


class Delivery:
    """What one receiver is still to be sent.

    random: numbers in [0, 1). concurrency: attempts at a time. capacity: events held at most.
    """

    def __init__(self, random: Callable[[], float], *, concurrency: int = 8, capacity: int = 1000) -> None:
        self._random = random
        self._concurrency = concurrency
        self._capacity = capacity
        self._lanes: dict[str, _Lane] = {}
        self._heap: list[tuple[float, int, int, str]] = []
        self._pages: deque[_Page] = deque()
        self._sending: dict[int, tuple[_Lane, bool]] = {}
        self._effects: list[Effect] = []
        self._replaying: set[str] = set()
        self._refused: dict[str, float] = {}
        self._held = 0
        self._numbers = 0
        self._failures = 0
        self._probes = 0
        self._probe_at = 0.0
        self._not_before = 0.0
        self._succeeded_at = float("-inf")
        self.receiver = Receiver.UP

    # -- in --------------------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Events that were taken and are not done."""
        return self._held

    @property
    def room(self) -> int:
        """How many more events may be taken."""
        return 0 if self.receiver is Receiver.GONE else max(0, self._capacity - self._held)

    def take(self, events: Sequence[Event], cursor: str, now: float) -> None:
        """The events of one page that the receiver wants, maybe none, and the cursor after the page."""
        page = _Page(cursor, len(events))
        self._pages.append(page)
        for event in events:
            self._add(_Item(event, page), now)
        self._acknowledge()

    def replay(self, event: Event, now: float) -> None:
        """An event to send again. Ignored where that is under way.

        A replay probably means that the receiver works again: the waiting events of the participant are tried at once.
        """
        if event.id in self._replaying:
            return
        self._replaying.add(event.id)
        item = _Item(event, None)
        self._add(item, now)
        lane = self._lanes[_lane_of(event)]
        if lane.sending is None and lane.due > now:
            self._schedule(lane, now)
        self._probe_at = min(self._probe_at, now)

    def _add(self, item: _Item, now: float) -> None:
        name = _lane_of(item.event)
        lane = self._lanes.get(name)
        self._held += 1
        if lane is None:
            lane = self._lanes[name] = _Lane(name, self._next(), failed_at=self._refused.get(name))
            lane.items.append(item)
            self._schedule(lane, now)
        else:
            lane.items.append(item)

    # -- out -------------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[DeliveryAttempt]:
        """The attempts to make now. Each is answered by `succeeded`, `failed` or `gone`."""
        if self.receiver is Receiver.GONE or now < self._not_before:
            return []
        if self.receiver is Receiver.DOWN:
            return self._probe(now)
        found: list[DeliveryAttempt] = []
        while len(self._sending) < self._concurrency:
            lane = self._next_lane()
            if lane is None or lane.due > now:
                break
            found.append(self._send(lane, counts=True))
        if not found and not self._sending and self._held >= self._capacity:
            self._make_room()
        return found

    def deadline(self) -> float | None:
        """When `due` next has something, unless something comes in before; None: nothing is waited for."""
        if self.receiver is Receiver.GONE or not self._lanes:
            return None
        if self.receiver is Receiver.DOWN:
            return None if self._sending else max(self._probe_at, self._not_before)
        if len(self._sending) >= self._concurrency:
            return None
        lane = self._next_lane()
        return None if lane is None else max(lane.due, self._not_before)

    def effects(self) -> list[Effect]:
        """What to write down, in this order. Each is given once."""
        effects, self._effects = self._effects, []
        return effects

    def _probe(self, now: float) -> list[DeliveryAttempt]:
        if self._sending or now < self._probe_at:
            return []
        if self._held >= self._capacity:
            self._make_room()
        waiting = [lane for lane in self._lanes.values() if lane.sending is None]
        if not waiting:
            return []
        # One that was never tried says most about the receiver: perhaps only the others' events are what it refuses.
        lane = min(waiting, key=lambda lane: (lane.tries, lane.due, lane.order))
        return [self._send(lane, counts=lane.due <= now)]

    def _send(self, lane: _Lane, *, counts: bool) -> DeliveryAttempt:
        number = self._next()
        lane.sending = number
        lane.stamp = 0
        self._sending[number] = (lane, counts)
        return DeliveryAttempt(number, lane.items[0].event, lane.tries)

    # -- results ---------------------------------------------------------------------------------------------------

    def succeeded(self, number: int, now: float) -> None:
        """2xx. A number that is not under way is ignored, here and below."""
        lane, _ = self._answered(number)
        if lane is None:
            return
        self._failures = 0
        self._succeeded_at = now
        self._done(lane, now)
        if self.receiver is Receiver.DOWN:
            self.receiver = Receiver.UP
            self._probes = 0
            for waiting in self._lanes.values():
                if waiting.sending is None:
                    self._schedule(waiting, now)

    def failed(self, number: int, now: float, why: str, *, retry_after: float | None = None) -> None:
        """Anything but 2xx and 410. why: for the dead letter, in words for people.

        retry_after: seconds that the receiver asked for; nothing at all is sent to it before.
        """
        lane, counts = self._answered(number)
        if lane is None:
            return
        if retry_after is not None and retry_after > 0:
            self._not_before = max(self._not_before, now + min(retry_after, MAX_RETRY_AFTER))
        self._note_failure(now)
        if lane.failed_at is None:
            lane.failed_at = now
        if counts:
            lane.tries += 1
            if lane.tries > len(SCHEDULE):
                self._give_up(lane, (lane.items[0],), f"{lane.tries} attempts failed; the last: {why}")
                self._done(lane, now, delivered=False)
                return
            delay = SCHEDULE[lane.tries - 1] * (1 + JITTER * self._random())
            self._schedule(lane, max(now + delay, self._not_before))
        else:
            self._schedule(lane, lane.due)

    def gone(self, number: int, why: str) -> None:
        """410: nothing more is sent. What is held stays unacknowledged."""
        lane, _ = self._answered(number)
        if lane is not None and self.receiver is not Receiver.GONE:
            self.receiver = Receiver.GONE
            self._effects.append(Disable(why))

    def _answered(self, number: int) -> tuple[_Lane | None, bool]:
        lane, counts = self._sending.pop(number, (None, False))
        if lane is not None:
            lane.sending = None
        return lane, counts

    def _note_failure(self, now: float) -> None:
        self._failures += 1
        if self.receiver is Receiver.UP and self._failures >= FAILURES_TO_DOWN:
            self.receiver = Receiver.DOWN
        if self.receiver is Receiver.DOWN:
            delay = PROBE_DELAYS[min(self._probes, len(PROBE_DELAYS) - 1)]
            self._probes += 1
            self._probe_at = now + delay * (1 + JITTER * self._random())

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _done(self, lane: _Lane, now: float, *, delivered: bool = True) -> None:
        item = lane.items.popleft()
        if delivered and item.page is None:
            self._effects.append(Replayed(item.event.id))
        self._release(item)
        lane.tries = 0
        if delivered:
            lane.failed_at = None
            self._refused.pop(lane.name, None)
        if lane.items:
            self._schedule(lane, now)
        else:
            del self._lanes[lane.name]
        self._acknowledge()

    def _release(self, item: _Item) -> None:
        self._held -= 1
        if item.page is None:
            self._replaying.discard(item.event.id)
        else:
            item.page.left -= 1

    def _give_up(self, lane: _Lane, items: Sequence[_Item], why: str) -> None:
        self._effects.append(SetAside(tuple(item.event for item in items), why))
        self._effects += [Replayed(item.event.id) for item in items if item.page is None]
        if lane.failed_at is not None and len(self._refused) < self._capacity:
            self._refused[lane.name] = lane.failed_at

    def _make_room(self) -> None:
        """Everything held waits for a retry. Participants whose events the receiver refuses while it takes those of
        others must not keep the others waiting: the first such one's events are set aside before their time."""
        stuck = [
            lane
            for lane in self._lanes.values()
            if lane.sending is None and lane.failed_at is not None and lane.failed_at <= self._succeeded_at
        ]
        if not stuck:
            return
        lane = max(stuck, key=lambda lane: (len(lane.items), -lane.order))
        why = "this participant's events kept failing while those of others were taken"
        self._give_up(lane, tuple(lane.items), why)
        for item in lane.items:
            self._release(item)
        del self._lanes[lane.name]
        self._acknowledge()

    def _acknowledge(self) -> None:
        cursor: str | None = None
        while self._pages and self._pages[0].left == 0:
            cursor = self._pages.popleft().cursor
        if cursor is None:
            return
        if self._effects and isinstance(self._effects[-1], Acknowledge):
            self._effects.pop()
        self._effects.append(Acknowledge(cursor))

    def _schedule(self, lane: _Lane, due: float) -> None:
        lane.due = due
        lane.stamp = self._next()
        heapq.heappush(self._heap, (due, lane.order, lane.stamp, lane.name))

    def _next_lane(self) -> _Lane | None:
        """The lane that is due first, without those being sent."""
        while self._heap:
            _, _, stamp, name = self._heap[0]
            lane = self._lanes.get(name)
            if lane is not None and lane.stamp == stamp and lane.sending is None:
                return lane
            heapq.heappop(self._heap)
        return None

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers
