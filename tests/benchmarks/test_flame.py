"""Flame graphs of a profile."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import flame

_STACKS = [
    (("main", "asyncio/runners.py:run", "server/wire/front_door.py:data", "tokens/verifier.py:verify"), 0.5),
    (("main", "asyncio/runners.py:run", "server/wire/front_door.py:data"), 0.2),
    (("writer", "lib/threading.py:run", "engines/embedded/writer.py:_run", "apsw/x.py:commit"), 0.299),
    (("main", "asyncio/runners.py:run"), 0.001),
]


def test_a_profile_counts_foreign_code_to_the_function_of_ours_that_called_it() -> None:
    shares = flame.areas(_STACKS)
    assert shares["the token: claims and signature"] == 0.5
    assert shares["rows, events, SQLite and its commits"] == 0.299
    assert shares["sockets, the handshake, frames"] == 0.2
    assert sum(shares.values()) == pytest.approx(1)


def test_a_flame_graph_begins_at_our_own_code_and_leaves_out_what_is_too_small_to_see() -> None:
    root = flame.tree(_STACKS)
    main, writer = root["children"]
    assert (main["name"], main["share"]) == ("main", 0.701)
    (door,) = main["children"]
    assert door["name"] == "server/wire/front_door.py:data"
    assert door["children"][0]["share"] == 0.5
    assert writer["children"][0]["name"] == "engines/embedded/writer.py:_run"
    drawing = flame.draw("a < b", root)
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "prefers-color-scheme:dark" in drawing
    assert "tokens/verifier.py:verify: 50.0%" in drawing
