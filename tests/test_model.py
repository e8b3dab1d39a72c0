"""Ids and partitions."""

from __future__ import annotations

import pytest

from greenroom.model import (
    PARTITIONS,
    Participant,
    ParticipantStatus,
    Presence,
    anonymous_participant_id,
    make_session_id,
    participant_id_of,
    partition_of,
    partition_of_session,
)

NAMESPACE = "6f1f7f86-8f0b-4b7e-9f46-2f1c9d1f7b11"


def test_the_same_external_id_is_the_same_participant_and_no_other() -> None:
    assert participant_id_of(NAMESPACE, "anna") == participant_id_of(NAMESPACE, "anna")
    assert participant_id_of(NAMESPACE, "anna") != participant_id_of(NAMESPACE, "Anna")
    # Byte by byte: the composed and the decomposed letter are two participants (S2).
    assert participant_id_of(NAMESPACE, "\u00e9") != participant_id_of(NAMESPACE, "e\u0301")


def test_an_external_id_never_meets_an_open_id() -> None:
    assert participant_id_of(NAMESPACE, "x") != anonymous_participant_id(NAMESPACE, "x")


def test_session_ids_begin_with_their_partition() -> None:
    for partition in range(PARTITIONS):
        session_id = make_session_id(partition, bytes(16))
        assert partition_of_session(session_id) == partition


@pytest.mark.parametrize(
    "text", ["", "p", "p-", "p64-aa", "p99-aa", "p017-aa", "17-aa", "p1", "p1-", "q1-aa", "p-1-aa", "p١-aa", "p1e1-a"]
)
def test_what_is_no_session_id_has_no_partition(text: str) -> None:
    assert partition_of_session(text) is None


def test_participants_spread_over_all_partitions() -> None:
    assert {partition_of("app", str(number)) for number in range(2000)} == set(range(PARTITIONS))


def test_the_status_of_the_platform_follows_the_presence() -> None:
    expected = {
        Presence.ONLINE: ParticipantStatus.CONNECTED,
        Presence.UNREACHABLE: ParticipantStatus.CONNECTING,
        Presence.OFFLINE: ParticipantStatus.LEFT,
    }
    for presence, status in expected.items():
        assert Participant(id="a", presence=presence).status is status
