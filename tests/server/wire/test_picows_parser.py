"""A message in fragments: what its heads promise and whether it is text, as it comes."""

from __future__ import annotations

import pytest

from greenroom.server.wire.picows_parser import Fragments, FrameHeads
from tests.server import raw_client
from tests.server.raw_client import CONTINUATION, PING, frame


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
