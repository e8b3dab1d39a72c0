"""Frames and checks, byte by byte."""

from __future__ import annotations

import pytest

from greenroom.server.wire.frames import TEXT, Fragments, FrameHeads, cut_reason, encode, is_utf8, is_valid_close_code
from tests.server import raw_client
from tests.server.raw_client import CONTINUATION, PING, frame


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_a_frame_has_the_shortest_length(size: int, head: str) -> None:
    assert encode(TEXT, b"x" * size) == bytes.fromhex(head) + b"x" * size


def test_close_codes_a_client_may_send() -> None:
    valid = {code for code in range(65_536) if is_valid_close_code(code)}
    assert valid == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@pytest.mark.parametrize("reason", ["", "x" * 123, "x" * 124, "ä" * 62, "🎤" * 40, "a" + "🎤" * 40])
def test_a_reason_fits_a_control_frame_and_is_utf8(reason: str) -> None:
    cut = cut_reason(reason)
    assert len(cut) <= 123
    assert reason.encode().startswith(cut)
    assert is_utf8(cut)


def test_fragments_fail_with_the_byte_that_is_wrong() -> None:
    fragments = Fragments(is_text=True)
    assert fragments.add(b"\xf4", False)
    assert not fragments.add(b"\x90", False)


def test_fragments_that_end_inside_a_character_fail_at_the_end() -> None:
    fragments = Fragments(is_text=True)
    assert fragments.add("€".encode()[:2], False)
    assert not fragments.add(b"", True)


def test_heads_are_summed_until_the_message_ends() -> None:
    part, last = frame(CONTINUATION, b"x" * 50, fin=False), frame(CONTINUATION, b"x" * 70)
    heads = FrameHeads(100)
    heads.feed(part + frame(PING) + part[:2])
    assert heads.size == 200
    heads.feed(part[2:] + last + part)
    assert heads.size == 270, "the message is whole"


@pytest.mark.parametrize("wrong", [frame(raw_client.TEXT, b"x"), frame(PING, b"x", masked=False), frame(3)])
def test_heads_end_with_a_frame_that_may_not_be_there(wrong: bytes) -> None:
    heads = FrameHeads(100)
    heads.feed(wrong + frame(CONTINUATION, b"x" * 50))
    assert heads.size == 100


def test_fragments_of_binary_are_not_looked_at() -> None:
    fragments = Fragments(is_text=False)
    assert fragments.add(b"\xff", False)
    assert fragments.add(b"\xfe", True)
    assert (fragments.joined(), fragments.count, fragments.size) == (b"\xff\xfe", 2, 2)
