"""Changes of participants, to all who watch them on this node.

What can go wrong, and which rule prevents it
---------------------------------------------

*One watched participant has ten thousand watchers.* To encode an update for each of them would hold up everybody else.
An update is encoded once, written to each watcher without waiting for any, and after 512 watchers the loop gets its
turn. What a newer fan-out overtakes is dropped at the watcher, which compares versions (S11).

*A crash ends five thousand sessions in one second.* Five thousand messages to each watcher would be worse than the
crash. Between two batches of changes is a pause of 20 ms, or as long as the last fan-out took; of each participant only
the newest is sent, and the same batch is encoded once for all who watch the same participants. The first change after a
quiet time does not wait.

*A watcher reads slowly.* Nothing is written to a connection whose buffer is full: its updates wait, the newest of each
participant, and go in pieces as the buffer empties. Memory for each connection is bounded by what it watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from greenroom.core.server.context import TAKES_UPDATES
from greenroom.core.watching import EncodedUpdate, UpdateBatcher, encode_update, frame
from greenroom.messages import MAX_PIECE_BYTES
from greenroom.model import ParticipantRecord
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.measuring import SessionMetrics

_PIECE = MAX_PIECE_BYTES - 1_024
"""What fits into one piece with its frame and commas; more goes the way of what waits."""

_SLICE = 512
"""Watchers that are written to before the loop gets its turn: some 5 ms."""
_DONE = object()


def _slices(watchers: Iterable[SessionConnection]) -> Iterator[Sequence[SessionConnection]]:
    """All that are there now, `_SLICE` at a time."""
    everybody = tuple(watchers)
    for start in range(0, len(everybody), _SLICE):
        yield everybody[start : start + _SLICE]


class FanOut:
    """One for each node. watchers: connections by application and participant, as the hub lists them. clock: monotonic
    seconds. messages_sent: counts them."""

    def __init__(
        self,
        watchers: Mapping[tuple[str, str], set[SessionConnection]],
        metrics: SessionMetrics,
        *,
        clock: Callable[[], float],
        messages_sent: Callable[[int], None],
    ) -> None:
        self.passed_on: dict[tuple[str, str], int] = {}
        """The newest version that was sent to watchers, of those who are watched (S11)."""
        self._doubtful: set[tuple[str, str]] = set()
        """Of whom a version below that was received."""
        self._watchers = watchers
        self._metrics = metrics
        self._clock = clock
        self._messages_sent = messages_sent
        self._batcher = UpdateBatcher()
        self._loop = asyncio.get_running_loop()
        self._flush_handle: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """No more timers."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def forget(self, record: ParticipantRecord) -> None:
        """Nothing is stored of the participant any more: watchers are sent that."""
        for connection in tuple(self._watchers.get((record.app, record.id), ())):
            connection.forget(record)

    def take_doubtful(self) -> set[tuple[str, str]]:
        """Of whom something below what was sent was received since the last time: it came late, or a failover lost what
        was sent (S11)."""
        found, self._doubtful = self._doubtful, set()
        return found

    def note(self, record: ParticipantRecord) -> None:
        """A record that was received, or read again, is to be sent to its watchers."""
        key = (record.app, record.id)
        watchers = self._watchers.get(key)
        if watchers is None:
            return
        if record.version < self.passed_on.get(key, 0):
            self._doubtful.add(key)
        if len(watchers) == 1:
            (only,) = watchers
            if only.context.watches.sent(record.id) >= record.version:
                # Nobody watches but who made the change: the reply to its open, or update, said it.
                if only.context.participant_id == record.id:
                    only.context.participant_changed(record)
                self.note_passed_on(record)
                self._metrics.updates_sent((record,))
                return
        self._batcher.changed(record)
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_later(self._batcher.wait(self._clock()), self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        records = self._batcher.drain(self._clock())
        for record in records:
            self.note_passed_on(record)
        if len(records) == 1:
            self._fan_out(self._send_one(records[0]))
        else:
            self._fan_out(self._send_batches(records))
        self._metrics.updates_sent(records)

    def note_passed_on(self, record: ParticipantRecord) -> None:
        """Watchers are sent this version."""
        key = (record.app, record.id)
        if key in self._watchers and self.passed_on.get(key, 0) < record.version:
            self.passed_on[key] = record.version

    def _fan_out(self, work: Iterator[None]) -> None:
        """A slice of a fan-out, and the next one after whatever else the loop has to do. What is newer may overtake
        what waits: versions are compared at each watcher (S11)."""
        begun = self._clock()
        if next(work, _DONE) is not _DONE:
            self._loop.call_soon(self._fan_out, work)
        ended = self._clock()
        self._batcher.took(ended - begun, ended)

    def _send_one(self, record: ParticipantRecord) -> Iterator[None]:
        """The case with the most watchers for the least news: nothing is made for each of them."""
        item = encode_update(record)
        data = frame((item,))
        fits = len(item.data) <= _PIECE
        own = record.id
        for some in _slices(self._watchers.get((record.app, own), ())):
            sent = 0
            for connection in some:
                context, link = connection.context, connection.link
                watches = context.watches
                if context.participant_id == own:
                    context.participant_changed(record)
                # `connection.may_write`, without the call.
                if (
                    fits and link is not None and not link.paused and not watches.waiting
                    and context.state in TAKES_UPDATES
                ):  # fmt: skip
                    if watches.is_news(item):
                        sent += 1
                        link.send(data)
                else:
                    connection.enqueue([item])
            self._messages_sent(sent)
            yield

    def _send_batches(self, records: Sequence[ParticipantRecord]) -> Iterator[None]:
        batches: dict[SessionConnection, list[EncodedUpdate]] = {}
        for record in records:
            watchers = self._watchers.get((record.app, record.id))
            if watchers:
                item = encode_update(record)
                for connection in watchers:
                    batches.setdefault(connection, []).append(item)
                    if connection.context.participant_id == record.id:
                        connection.context.participant_changed(record)
        frames: dict[tuple[int, ...], bytes] = {}
        for some in _slices(batches):
            self._messages_sent(sum([self._deliver(connection, batches[connection], frames) for connection in some]))
            yield

    def _deliver(
        self, connection: SessionConnection, items: list[EncodedUpdate], frames: dict[tuple[int, ...], bytes]
    ) -> int:
        """How many messages were sent."""
        if not connection.may_write or sum([len(item.data) for item in items]) > _PIECE:
            connection.enqueue(items)
            return 0
        is_news = connection.context.watches.is_news
        items = [item for item in items if is_news(item)]
        link = connection.link
        if not items or link is None:
            return 0
        key = tuple([id(item) for item in items])
        data = frames.get(key)
        if data is None:
            data = frames[key] = frame(items)
        link.send(data)
        return 1
