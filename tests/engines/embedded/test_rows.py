"""Rows as stored and as records: what an older version wrote is read, and lists of things stay bounded."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.core.profile import MAX_ATTRIBUTES
from greenroom.engines.base import TIMELINE_ENTRIES
from greenroom.engines.embedded.rows import (
    DETACHED,
    ParticipantRow,
    SessionData,
    SessionHead,
    SessionRow,
    decode_data,
    decode_timeline,
    encode_data,
    hash_key,
)
from greenroom.errors import IllegalArgumentError
from greenroom.model import EndReason, Presence, RegistryState, RoomGrant

DATA = SessionData(
    id="p1-x", participant_id="anna", external_id="ext", open_id="o", first_secret=b"1", secret=b"2",
    previous_secret=b"", attempt=3, generation=4, node="n1", order=7, opened_at=1000, detached_at=2000, device_id="d",
    device_name=None, sdk="py", address="::1", jti="j", issued_at=1, expires_at=2, scopes=("a", "b"), grace_ms=40_000,
    end_reason="kicked", status="busy", room_grants=(RoomGrant(name="r*", can=("join",)),), rooms=("r1",),
)  # fmt: skip
ROOM_FIELDS = 3
"""Fields at the end of the data that a version without rooms did not have."""


def row(data: SessionData = DATA, state: int = DETACHED) -> SessionRow:
    return SessionRow(1, 2, 3, state, 5000, "app", "lease", encode_data(data), b"", 9)


def test_a_row_s_number_follows_from_the_files_key_and_the_text_and_fits_sqlite() -> None:
    keys = (b"a" * 16, b"b" * 16)
    numbers = {hash_key(key, text) for key in keys for text in ("x", "y", "x\x00", "\ud800")}
    assert len(numbers) == 8
    assert all(-(2**63) <= number < 2**63 for number in numbers)
    assert any(number < 0 for number in numbers)
    assert hash_key(bytes(keys[0]), "x") == hash_key(keys[0], "x")


def test_a_session_is_read_as_it_was_written() -> None:
    stored = row()
    assert stored.data == DATA
    record = stored.record()
    assert (record.id, record.app, record.lease, record.generation) == ("p1-x", "app", "lease", 4)
    assert record.state is RegistryState.DETACHED
    assert record.end_reason is EndReason.KICKED
    assert (record.status, record.rooms, record.room_grants) == ("busy", ("r1",), DATA.room_grants)
    assert msgspec.msgpack.decode(stored.raw, type=SessionHead).node == "n1"


def test_only_a_detached_session_says_since_when() -> None:
    assert row().detached_at == 2000
    assert row(state=0).detached_at is None


def test_what_a_version_before_rooms_wrote_is_read_with_defaults() -> None:
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(encode_data(DATA))[:-ROOM_FIELDS])
    data = decode_data(old)
    assert data == msgspec.structs.replace(DATA, room_grants=(), rooms=(), lost_rooms=())


def test_a_row_that_is_none_is_an_error() -> None:
    for raw in (b"", b"\xc1", msgspec.msgpack.encode(["p1-x"])):
        with pytest.raises(msgspec.DecodeError):
            decode_data(raw)


def test_the_timeline_keeps_the_latest() -> None:
    stored = row()
    for number in range(TIMELINE_ENTRIES * 3):
        stored.note(number, "attached", "node", "x" * number)
    kept = decode_timeline(stored.timeline)
    assert [entry.at for entry in kept] == list(range(TIMELINE_ENTRIES * 2, TIMELINE_ENTRIES * 3))
    assert kept[-1].detail == "x" * kept[-1].at
    assert stored.record(with_timeline=True).timeline == kept
    assert stored.record().timeline == ()


def test_a_participant_is_shown_by_the_numbers_of_its_row() -> None:
    anna = ParticipantRow(1, "app", "anna", "ext", presence=2, shown=1, sessions=1)
    assert (anna.record().presence, anna.record().shown) == (Presence.ONLINE, Presence.UNREACHABLE)
    assert anna.record().attributes is None


def test_attributes_are_merged_and_none_are_no_row() -> None:
    anna = ParticipantRow(1, "app", "anna", None)
    assert anna.change_attributes(None) is None
    anna.attributes = anna.change_attributes({"team": "red", "seat": "1"})
    anna.attributes = anna.change_attributes({"team": None, "seat": "2"})
    assert anna.record().attributes == {"seat": "2"}
    assert anna.change_attributes({"seat": None}) is None
    with pytest.raises(IllegalArgumentError):
        anna.change_attributes({f"name-{number}": "" for number in range(MAX_ATTRIBUTES)})


def test_a_status_is_that_of_the_most_available_session() -> None:
    anna = ParticipantRow(1, "app", "anna", None, sessions=2)
    anna.set_status("s1", "away")
    assert not anna.share_status(), "the other session is available"
    anna.set_status("s2", "in a call")
    assert anna.share_status()
    assert anna.record().status == "in a call"
    anna.set_status("s2", None)
    assert anna.share_status()
    anna.set_status("s1", None)
    assert (anna.status, anna.statuses) == (None, None)
