"""How long each function holds Redis."""

from __future__ import annotations

from benchmarks.rooms.functions import longest_of


def test_the_longest_call_of_each_function_comes_from_the_slow_log() -> None:
    entries = [
        {"command": b"FCALL greenroom_3_1e4dade8_room_end 1 {p1} {}", "duration": 900},
        {"command": b"FCALL greenroom_3_1e4dade8_room_end 1 {p2} {}", "duration": 12_500},
        {"command": b"FCALL_RO greenroom_3_1e4dade8_room_roster 1 {p2} {}", "duration": 700},
        {"command": b"FLUSHALL", "duration": 30_000},
    ]
    assert longest_of(entries) == {"room_end": 12.5, "room_roster": 0.7}
