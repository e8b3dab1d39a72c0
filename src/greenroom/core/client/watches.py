"""Watched participants, and the latest record of each (S11, S12)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from greenroom.messages import MAX_MESSAGE_BYTES, ParticipantsParams, WireParticipant
from greenroom.model import Participant

_MAX_IDS_BYTES = MAX_MESSAGE_BYTES * 3 // 4
"""Of ids in one message, as JSON; the rest is room for the message around them."""


class WatchedParticipants:
    """A notification counts only if its version is higher. A reply is a snapshot and replaces the record."""

    def __init__(self) -> None:
        self._held: dict[str, Participant] = {}

    def get(self, participant_id: str) -> Participant | None:
        return self._held.get(participant_id)

    def snapshot(self, participants: Iterable[WireParticipant], *, only_held: bool = False) -> list[Participant]:
        """Take the reply to a watch or resume. only_held: ignore ids that are no longer watched.

        Returns the participants that were watched before and have changed.
        """
        changed = []
        for wire in participants:
            held = self._held.get(wire.id)
            if held is None and only_held:
                continue
            participant = wire.to_participant()
            if held is not None and held.version != participant.version:
                changed.append(participant)
            self._held[wire.id] = participant
        return changed

    def update(self, participants: Iterable[WireParticipant]) -> list[Participant]:
        """Take a notification. Returns the participants that have changed."""
        changed = []
        for wire in participants:
            held = self._held.get(wire.id)
            if held is not None and wire.version > held.version:
                participant = wire.to_participant()
                self._held[wire.id] = participant
                changed.append(participant)
        return changed

    def drop(self, ids: Iterable[str], external_ids: Iterable[str]) -> None:
        """Stop watching these."""
        for one in ids:
            self._held.pop(one, None)
        outside = set(external_ids)
        if outside:
            gone = [one for one, held in self._held.items() if held.info.external_id in outside]
            self.drop(gone, ())

    def clear(self) -> None:
        self._held.clear()

    def known(self) -> list[tuple[str, int]]:
        """All pairs of id and version, in the order in which they were first watched."""
        return [(one, held.version) for one, held in self._held.items()]


def split_known(known: list[tuple[str, int]], count: int) -> Iterator[ParticipantsParams]:
    """Messages of `participants.watch` for the pairs that did not fit into `session.resume`."""
    for start in range(0, len(known), count):
        yield ParticipantsParams(known=known[start : start + count])


def split_ids(ids: Iterable[str], external_ids: Iterable[str], count: int) -> Iterator[ParticipantsParams]:
    """Split ids into messages that the service takes: at most `count` ids, and not too long."""
    inside: list[str] = []
    outside: list[str] = []
    size = 0
    for target, one in [*((inside, one) for one in ids), *((outside, one) for one in external_ids)]:
        cost = len(json.dumps(one, ensure_ascii=False).encode("utf-8", "surrogatepass")) + 1
        if (inside or outside) and (len(inside) + len(outside) >= count or size + cost > _MAX_IDS_BYTES):
            yield ParticipantsParams(ids=list(inside), external_ids=list(outside))
            inside.clear()
            outside.clear()
            size = 0
        target.append(one)
        size += cost
    if inside or outside:
        yield ParticipantsParams(ids=inside, external_ids=outside)
