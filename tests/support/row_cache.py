"""Whether the rows that the embedded engine keeps in memory are what its file says."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.engines.embedded.room_rows import ROOM_COLUMNS, RoomMemory, RoomRow
from greenroom.engines.embedded.rows import COLUMNS, PARTICIPANT_COLUMNS, ParticipantRow, SessionRow
from greenroom.engines.embedded.writer import Batcher


def stale_rows(batcher: Batcher) -> list[str]:
    """Kept rows that differ from the file."""
    execute: Any = batcher.con.execute
    rows = batcher.state.rows
    found: list[str] = []
    for row in rows.sessions.values():
        stored = execute(f"SELECT {COLUMNS} FROM sessions WHERE n = ?", (row.n,)).fetchall()
        if not stored or _facts(SessionRow(*stored[0])) != _facts(row):
            found.append(f"session {row.id}")
    for participant in rows.participants.values():
        sql = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE n = ?"
        stored = execute(sql, (participant.n,)).fetchall()
        if not stored or ParticipantRow(*stored[0]) != participant:
            found.append(f"participant {participant.id}")
    for room in batcher.state.rooms.rows.values():
        stored = execute(f"SELECT {ROOM_COLUMNS} FROM rooms WHERE n = ?", (room.n,)).fetchall()
        if not stored or RoomRow(*stored[0]) != room:
            found.append(f"room {room.name}")
    return found + _stale_indexes(batcher)


def _stale_indexes(batcher: Batcher) -> list[str]:
    """What is counted and looked up in memory, and differs from the file."""
    fresh = RoomMemory()
    fresh.load(batcher.con)
    kept = batcher.state.rooms
    return [
        name
        for name, mine, stored in (
            ("open rooms", {app: count for app, count in kept.open.items() if count}, fresh.open),
            ("known rooms", kept.known, fresh.known),
            ("kept out", kept.kept_out, fresh.kept_out),
            ("invited", kept.invited, fresh.invited),
        )
        if mine != stored
    ]


def _facts(row: SessionRow) -> tuple[Any, ...]:
    return row.n, row.p, row.open_key, row.state, row.due, row.app, row.lease, row.timeline, row.key, row.data


def watch_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on every batch of every engine is looked at. What was found, filled as it continues."""
    found: list[str] = []
    run = Batcher.run

    def run_and_look(batcher: Batcher, operations: list[Any]) -> Any:
        results = run(batcher, operations)
        found.extend(stale_rows(batcher))
        return results

    monkeypatch.setattr(Batcher, "run", run_and_look)
    return found
