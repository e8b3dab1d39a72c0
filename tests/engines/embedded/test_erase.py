"""Whoever is erased is gone from the files too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw

from greenroom.engines.base import EraseParticipant, KickParticipant
from greenroom.engines.embedded import DATABASE, erase, trim
from greenroom.testing.engine_world import APP, EmbeddedWorld

CANARIES = {
    "external id": "canary-external-1f0c",
    "name": "canary-name-77aa",
    "avatar": "/canary-avatar-0b1d.png",
    "device": "canary-device-e41c",
    "address": "canary-address-9a3b",
    "text": "canary-text-55ce",
}


async def canary(w: EmbeddedWorld, participant: str = CANARIES["external id"]) -> str:
    """Someone who was here, with sessions that ended long ago and lately. The participant's id."""
    participant_id = ""
    for seconds in (1000, 10):
        client = await w.client(
            participant,
            name=CANARIES["name"],
            avatar_url=CANARIES["avatar"],
            device_name=CANARIES["device"],
            address=CANARIES["address"],
        )
        participant_id = client.participant_id
        request = KickParticipant(app=APP, participant_id=participant_id, reason=CANARIES["text"])
        await w.engine.registry.restrict(request)
        await w.step(seconds)
        await w.advance(2)
    return participant_id


def found_in(directory: Path) -> list[str]:
    """Which canaries the files hold."""
    content = b"".join(path.read_bytes() for path in directory.iterdir())
    return [what for what, text in CANARIES.items() if text.encode() in content]


async def test_an_erase_leaves_nothing_in_the_files_while_it_runs_and_after_a_stop(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        person = await canary(w)
        for number in range(50):
            await w.open(f"user-{number}")
        assert found_in(tmp_path) == list(CANARIES), "the canaries are seen"
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=person))
        await w.advance(3)
        await w.open("someone")
        assert found_in(tmp_path) == []
    assert found_in(tmp_path) == []


async def test_a_reader_that_is_in_the_way_of_the_checkpoint_only_delays_it(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        person = await canary(w)
        reader = apsw.Connection(str(tmp_path / DATABASE))
        rows = reader.execute("SELECT * FROM sessions, participants")
        next(rows)
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=person))
        await w.advance(3)
        assert found_in(tmp_path) != [], "what is being read stays in the log"
        reader.close(True)
        await w.advance(2)
        assert found_in(tmp_path) == []


async def test_an_erasure_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        person = await canary(w)
        for number in range(erase.PIECE):
            await w.open(f"user-{number}")
            await asyncio.sleep(0)
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=person))
        await w.restart()
        assert "canary-name" not in repr(await w.events())
        await w.advance(3)
        assert found_in(tmp_path) == []


async def test_no_step_of_an_erasure_or_of_trimming_looks_at_more_than_a_piece() -> None:
    """What a pass reads and writes does not grow with the stream."""

    async def most_rows(events: int) -> int:
        async with EmbeddedWorld() as w:
            person = await canary(w)
            for number in range(events // 2):
                await w.open(f"user-{number}")
                await asyncio.sleep(0)
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=person))
            await w.step(73 * 3600)
            rows = most = 0

            def trace(_cursor: object, row: tuple[object, ...]) -> tuple[object, ...]:
                nonlocal rows
                rows += 1
                return row

            connection = w.engine._connection  # type: ignore[attr-defined]
            connection.set_row_trace(trace)
            more = True
            while more:
                rows = 0
                await asyncio.sleep(0)
                more = (await w.engine.registry.reap()).more
                most = max(most, rows)
            connection.set_row_trace(None)
            assert await w.events() == [], "all are older than 72 h"
            return most

    assert await most_rows(6000) <= erase.PIECE + trim.PIECE + 600
