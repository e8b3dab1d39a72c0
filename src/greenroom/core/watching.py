"""Updates to watchers: the latest state, never an older one after a newer one (S11, S12). Pure.

`Watches` knows for one connection which version of whom it was last sent. `UpdateBatcher` collects changes, for
`PAUSE_SECONDS` or as long as the last fan-out took, and says when they are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from greenroom.messages import MAX_PIECE_BYTES, WireParticipant
from greenroom.model import ParticipantRecord

PAUSE_SECONDS = 0.02
"""From the begin of one fan-out to the next, at least: a crash with 5,000 sessions is not 5,000 messages."""
LONGEST_PAUSE_SECONDS = 0.1
"""At most, however long a fan-out takes."""
AT_ONCE_SECONDS = 0.002
"""For which the first change after a quiet time waits for others of the same instant."""

_encode = msgspec.json.Encoder().encode
_HEAD = b'{"method":"participants.changed","params":{"participants":['
_TAIL = b']},"jsonrpc":"2.0"}'
_FRAME_BYTES = len(_HEAD) + len(_TAIL)


def to_wire(record: ParticipantRecord) -> WireParticipant:
    """The record as clients see it: presence is what has been shown, what is empty is absent."""
    return WireParticipant(
        id=record.id,
        revision=record.revision,
        version=record.version,
        presence=record.shown,
        sessions=record.sessions,
        last_seen=record.last_seen,
        external_id=record.external_id,
        name=record.name or None,
        avatar_url=record.avatar_url or None,
        attributes=record.attributes,
        status=record.status,
    )


class EncodedUpdate:
    """One participant's state, encoded once for all watchers. Plain, so that compiled code reads its fields at once."""

    __slots__ = ("data", "id", "version")

    def __init__(self, participant_id: str, version: int, data: bytes) -> None:
        self.id = participant_id
        self.version = version
        self.data = data


def encode_update(record: ParticipantRecord) -> EncodedUpdate:
    """The record, encoded."""
    return EncodedUpdate(record.id, record.version, _encode(to_wire(record)))


def frame(items: Sequence[EncodedUpdate]) -> bytes:
    """One `participants.changed` with these."""
    return _HEAD + b",".join([item.data for item in items]) + _TAIL


def cut(items: Sequence[EncodedUpdate], limit: int = MAX_PIECE_BYTES) -> int:
    """How many of the first fit into one piece; at least one."""
    size = _FRAME_BYTES
    for count, item in enumerate(items):
        size += len(item.data) + 1
        if size > limit and count:
            return count
    return len(items)


class Watches:
    """What one connection watches, the version it was last sent of each, and what waits until its buffer is empty.

    An id that is being subscribed to is *held*: what changes meanwhile waits for the reply, which comes first (S12).
    """

    __slots__ = ("_held", "_sent", "waiting")

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}
        self._held: dict[str, EncodedUpdate | None] = {}
        self.waiting: dict[str, EncodedUpdate] = {}

    def __len__(self) -> int:
        """How many are watched or about to be."""
        return len(self._sent.keys() | self._held.keys()) if self._held else len(self._sent)

    def __contains__(self, participant_id: str) -> bool:
        return participant_id in self._sent or participant_id in self._held

    @property
    def ids(self) -> tuple[str, ...]:
        """Everybody watched or about to be."""
        return tuple(dict.fromkeys((*self._sent, *self._held)))

    def hold(self, ids: Iterable[str]) -> None:
        """These are being subscribed to; nothing is sent of them before `answer`."""
        for participant_id in ids:
            self._held.setdefault(participant_id, None)

    def answer(self, records: Mapping[str, int]) -> None:
        """The reply with these versions is written: it replaces what the client held. What changed since follows."""
        for participant_id, version in records.items():
            held = self._held.pop(participant_id, None)
            waiting = self.waiting.pop(participant_id, None)
            self._sent[participant_id] = version
            for item in (waiting, held):
                if item is not None:
                    self.enqueue(item)

    def replied(self, versions: Mapping[str, int]) -> None:
        """Another reply contained these versions: what is not newer need not be sent again (S12)."""
        for participant_id, version in versions.items():
            if self._sent.get(participant_id, version) < version:
                self._sent[participant_id] = version
                self.waiting.pop(participant_id, None)

    def release(self, ids: Iterable[str]) -> tuple[str, ...]:
        """The subscription failed. Those that are not watched now."""
        gone = []
        for participant_id in ids:
            held = self._held.pop(participant_id, None)
            if participant_id not in self._sent:
                gone.append(participant_id)
            elif held is not None:
                self.enqueue(held)
        return tuple(gone)

    def drop(self, ids: Iterable[str]) -> tuple[str, ...]:
        """No longer watched. Those that were."""
        gone = tuple(participant_id for participant_id in ids if participant_id in self)
        for participant_id in gone:
            self._sent.pop(participant_id, None)
            self._held.pop(participant_id, None)
            self.waiting.pop(participant_id, None)
        return gone

    def sent(self, participant_id: str) -> int:
        """The version that was sent of a participant; 0 where none was."""
        return self._sent.get(participant_id, 0)

    def is_news(self, item: EncodedUpdate) -> bool:
        """Whether it may be sent at once. Then it counts as sent. What is held waits for the reply."""
        participant_id = item.id
        if participant_id in self._held:
            held = self._held[participant_id]
            if held is None or held.version < item.version:
                self._held[participant_id] = item
            return False
        sent = self._sent.get(participant_id)
        if sent is None or sent >= item.version:
            return False
        self._sent[participant_id] = item.version
        return True

    def enqueue(self, item: EncodedUpdate) -> None:
        """Let it wait for the buffer, in place of an older one of the same participant, if it is news."""
        if self.is_news(item):
            self.waiting[item.id] = item

    def next_piece(self) -> bytes | None:
        """What to send now that the buffer is empty, or None."""
        if not self.waiting:
            return None
        items = list(self.waiting.values())
        count = cut(items)
        for item in items[:count]:
            del self.waiting[item.id]
        return frame(items[:count])


class UpdateBatcher:
    """Changes that have not been sent yet, the newest of each participant; and when they may be.

    The pause after a fan-out follows its length: many watchers, or a busy service, make longer batches instead of a
    longer queue.
    """

    __slots__ = ("_changed", "_next", "_took")

    def __init__(self) -> None:
        self._changed: dict[tuple[str, str], ParticipantRecord] = {}
        self._next = 0.0
        self._took = 0.0

    def changed(self, record: ParticipantRecord) -> None:
        """A participant changed; an older version than the one collected is dropped."""
        key = (record.app, record.id)
        known = self._changed.get(key)
        if known is None or known.version < record.version:
            self._changed[key] = record

    def wait(self, now: float) -> float:
        """Seconds until what was collected is due."""
        return max(AT_ONCE_SECONDS, self._next - now)

    def drain(self, now: float) -> list[ParticipantRecord]:
        """All of them, for the fan-out that begins now; nothing is left."""
        records = list(self._changed.values())
        self._changed.clear()
        self._took = 0.0
        self._next = now + PAUSE_SECONDS
        return records

    def took(self, seconds: float, now: float) -> None:
        """A part of the fan-out took so long, and ended now: the next begins that much later than the whole has ended,
        within the bounds."""
        self._took += seconds
        self._next = max(self._next, now + min(self._took, LONGEST_PAUSE_SECONDS))
