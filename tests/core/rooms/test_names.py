"""How large what belongs to a room may get (R12): at the bound, and one beyond it."""

from __future__ import annotations

import pytest

from greenroom.core.rooms.names import (
    MAX_INVITATION_TEXT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_ROOM_NAME_BYTES,
    check_invitation_text,
    check_message,
    check_room_name,
)
from greenroom.errors import IllegalArgumentError


def test_a_message_may_have_16_kib() -> None:
    message = b"1" * MAX_MESSAGE_BYTES
    assert check_message(message) == message
    with pytest.raises(IllegalArgumentError, match="16,385 bytes"):
        check_message(message + b"1")


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600"])
def test_the_text_of_an_invitation_is_measured_in_bytes(character: str) -> None:
    most = MAX_INVITATION_TEXT_BYTES // len(character.encode())
    assert check_invitation_text(character * most) == character * most
    with pytest.raises(IllegalArgumentError, match="too long"):
        check_invitation_text(character * (most + 1))


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(IllegalArgumentError, match="lone surrogate"):
        check_invitation_text("hello \ud800")


def test_a_name_is_measured_in_bytes() -> None:
    assert check_room_name("r" * MAX_ROOM_NAME_BYTES) == "r" * MAX_ROOM_NAME_BYTES
    for bad in ("", "r" * (MAX_ROOM_NAME_BYTES + 1), "é" * MAX_ROOM_NAME_BYTES):
        with pytest.raises(IllegalArgumentError):
            check_room_name(bad)
