"""What a watcher must be told: the latest state, never an older one after a newer one (S11, S12). Pure.

`Watches` knows for one connection what it was last told of whom. `Gatherer` collects changes for a tenth of a second.
`pieces` cuts what is too long for one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from greenroom.messages import MAX_PIECE_BYTES, WireParticipant
from greenroom.model import ParticipantRecord

BATCH_SECONDS = 0.1
"""For which changes are gathered before they are told, so that a crash with 5,000 sessions is not 5,000 messages."""

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
    )


class Told(msgspec.Struct, frozen=True):
    """One participant's state, encoded once for everybody who is told."""

    id: str
    version: int
    data: bytes


def tell(record: ParticipantRecord) -> Told:
    """The record, encoded."""
    return Told(record.id, record.version, _encode(to_wire(record)))


def frame(items: Sequence[Told]) -> bytes:
    """One `participants.changed` with these."""
    return _HEAD + b",".join([item.data for item in items]) + _TAIL


def cut(items: Sequence[Told], limit: int = MAX_PIECE_BYTES) -> int:
    """How many of the first fit into one piece; at least one."""
    size = _FRAME_BYTES
    for count, item in enumerate(items):
        size += len(item.data) + 1
        if size > limit and count:
            return count
    return len(items)


def pieces(items: Sequence[Told], limit: int = MAX_PIECE_BYTES) -> list[bytes]:
    """All of them, in messages of at most ``limit`` bytes. One participant is never cut in two."""
    result = []
    start = 0
    while start < len(items):
        count = cut(items[start:], limit)
        result.append(frame(items[start : start + count]))
        start += count
    return result


class Watches:
    """What one connection watches, the version it was last told of each, and what waits until its buffer is empty.

    An id that is being subscribed to is *held*: what changes meanwhile waits for the reply, which comes first (S12).
    """

    __slots__ = ("_held", "_told", "_waiting")

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._held: dict[str, Told | None] = {}
        self._waiting: dict[str, Told] = {}

    def __len__(self) -> int:
        """How many are watched or about to be."""
        return len(self._told.keys() | self._held.keys()) if self._held else len(self._told)

    def __contains__(self, participant_id: str) -> bool:
        return participant_id in self._told or participant_id in self._held

    @property
    def ids(self) -> tuple[str, ...]:
        """Everybody watched or about to be."""
        return tuple(dict.fromkeys((*self._told, *self._held)))

    @property
    def waiting(self) -> int:
        """How many changes wait for the buffer to empty."""
        return len(self._waiting)

    def hold(self, ids: Iterable[str]) -> None:
        """These are being subscribed to; nothing is told of them before `answer`."""
        for participant_id in ids:
            self._held.setdefault(participant_id, None)

    def answer(self, records: Mapping[str, int]) -> None:
        """The reply with these versions is written: it replaces what the client held. What changed since follows."""
        for participant_id, version in records.items():
            held = self._held.pop(participant_id, None)
            waiting = self._waiting.pop(participant_id, None)
            self._told[participant_id] = version
            for item in (waiting, held):
                if item is not None:
                    self.take(item)

    def replied(self, versions: Mapping[str, int]) -> None:
        """Another reply told these: what is not newer need not be told again (S12)."""
        for participant_id, version in versions.items():
            if self._told.get(participant_id, version) < version:
                self._told[participant_id] = version
                self._waiting.pop(participant_id, None)

    def release(self, ids: Iterable[str]) -> tuple[str, ...]:
        """The subscription failed. Those that are not watched now."""
        gone = []
        for participant_id in ids:
            held = self._held.pop(participant_id, None)
            if participant_id not in self._told:
                gone.append(participant_id)
            elif held is not None:
                self.take(held)
        return tuple(gone)

    def drop(self, ids: Iterable[str]) -> tuple[str, ...]:
        """No longer watched. Those that were."""
        gone = tuple(participant_id for participant_id in ids if participant_id in self)
        for participant_id in gone:
            self._told.pop(participant_id, None)
            self._held.pop(participant_id, None)
            self._waiting.pop(participant_id, None)
        return gone

    def told(self, participant_id: str) -> int:
        """The version that was told of somebody; 0 where none was."""
        return self._told.get(participant_id, 0)

    def is_news(self, item: Told) -> bool:
        """Whether it may be sent at once. Then it counts as told; what is held or not newer is taken care of."""
        participant_id = item.id
        if participant_id in self._held:
            held = self._held[participant_id]
            if held is None or held.version < item.version:
                self._held[participant_id] = item
            return False
        told = self._told.get(participant_id)
        if told is None or told >= item.version:
            return False
        self._told[participant_id] = item.version
        return True

    def take(self, item: Told) -> None:
        """Let it wait for the buffer, in place of an older one of the same participant, if it is news."""
        if self.is_news(item):
            self._waiting[item.id] = item

    def next_piece(self) -> bytes | None:
        """What to send now that the buffer is empty, or None."""
        if not self._waiting:
            return None
        items = list(self._waiting.values())
        count = cut(items)
        for item in items[:count]:
            del self._waiting[item.id]
        return frame(items[:count])


class Gatherer:
    """Changes of the last tenth of a second, the newest of each participant."""

    __slots__ = ("_changed", "_due")

    def __init__(self) -> None:
        self._changed: dict[tuple[str, str], ParticipantRecord] = {}
        self._due: float | None = None

    @property
    def due(self) -> float | None:
        """When to `take`; None while there is nothing."""
        return self._due

    def changed(self, record: ParticipantRecord, now: float) -> None:
        """A participant changed; an older version than the one gathered is dropped."""
        key = (record.app, record.id)
        known = self._changed.get(key)
        if known is None or known.version < record.version:
            self._changed[key] = record
        if self._due is None:
            self._due = now + BATCH_SECONDS

    def take(self) -> list[ParticipantRecord]:
        """All of them; gathering starts anew."""
        records = list(self._changed.values())
        self._changed.clear()
        self._due = None
        return records
