"""Who is watched, and the latest that is known of each (S11, S12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greenroom.messages import MAX_MESSAGE_BYTES, ParticipantsParams, WireParticipant
from greenroom.model import Participant

_MAX_PIECE_BYTES = MAX_MESSAGE_BYTES * 3 // 4
"""Of ids in one message, as JSON in the worst case; the rest is room for the frame around them."""
_WORST_ESCAPE = 6  # one byte as \u00xx


class Watches:
    """Versions only grow, but for a snapshot (a reply), which replaces what is held."""

    def __init__(self) -> None:
        self._held: dict[str, Participant] = {}

    def __len__(self) -> int:
        return len(self._held)

    def snapshot(self, participants: Iterable[WireParticipant], *, only_held: bool = False) -> list[Participant]:
        """A reply to watch or resume. only_held: ids that are not watched any more are left out.

        Returns those that were watched before and are different now.
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

    def notify(self, participants: Iterable[WireParticipant]) -> list[Participant]:
        """A notification counts only where it is newer."""
        changed = []
        for wire in participants:
            held = self._held.get(wire.id)
            if held is not None and wire.version > held.version:
                participant = wire.to_participant()
                self._held[wire.id] = participant
                changed.append(participant)
        return changed

    def drop(self, ids: Iterable[str], external_ids: Iterable[str]) -> None:
        """Unwatched: nothing more is told of these."""
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


def pieces_of_known(known: list[tuple[str, int]], count: int) -> Iterator[ParticipantsParams]:
    """`participants.watch` for what did not fit into resume."""
    for start in range(0, len(known), count):
        yield ParticipantsParams(known=known[start : start + count])


def pieces(ids: Iterable[str], external_ids: Iterable[str], count: int) -> Iterator[ParticipantsParams]:
    """Ids cut into messages that the service takes: at most `count` of them, and by their size."""
    inside: list[str] = []
    outside: list[str] = []
    size = 0
    for target, one in [*((inside, one) for one in ids), *((outside, one) for one in external_ids)]:
        cost = len(one.encode("utf-8", "surrogatepass")) * (1 if one.isalnum() else _WORST_ESCAPE) + 3
        if (inside or outside) and (len(inside) + len(outside) >= count or size + cost > _MAX_PIECE_BYTES):
            yield ParticipantsParams(ids=list(inside), external_ids=list(outside))
            inside.clear()
            outside.clear()
            size = 0
        target.append(one)
        size += cost
    if inside or outside:
        yield ParticipantsParams(ids=inside, external_ids=outside)
