"""A notification counts only if it is newer; a reply replaces the record."""

from __future__ import annotations

from greenroom.core.client.watches import WatchedParticipants, split_ids, split_known
from greenroom.messages import MAX_MESSAGE_BYTES, WireParticipant, encode_request
from greenroom.model import Presence


def _wire(name: str, version: int) -> WireParticipant:
    return WireParticipant(
        id=name, revision=0, version=version, presence=Presence.ONLINE, sessions=1, last_seen=None, external_id=name
    )


def test_versions() -> None:
    watches = WatchedParticipants()
    assert watches.snapshot([_wire("ada", 5)]) == []
    assert watches.update([_wire("ada", 5), _wire("bob", 9)]) == []
    assert [one.version for one in watches.update([_wire("ada", 6)])] == [6]
    assert [one.version for one in watches.snapshot([_wire("ada", 2)])] == [2]
    assert watches.known() == [("ada", 2)]
    watches.drop([], ["ada"])
    assert watches.update([_wire("ada", 7)]) == []
    assert watches.get("ada") is None


def test_messages_are_not_longer_than_the_service_takes() -> None:
    ids = ["é" * 500 + str(number) for number in range(200)]
    pieces = list(split_ids(ids, [], 256))
    assert [one for piece in pieces for one in piece.ids] == ids
    assert all(len(encode_request(1, "participants.get", piece)) <= MAX_MESSAGE_BYTES for piece in pieces)
    assert [len(piece.ids) for piece in split_ids([str(number) for number in range(300)], [], 256)] == [256, 44]
    assert [len(piece.known) for piece in split_known([("a", 1)] * 5, 2)] == [2, 2, 1]
