"""Rows kept in the writer's thread: always what the file says, whoever wrote last, and never too many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenroom.core.requests import UpdateRequest
from greenroom.engines.base import BlockParticipant, CutOffTokens, EraseParticipant, KickParticipant
from greenroom.engines.embedded.rows import ATTACHED, DETACHED, ParticipantRow, SessionRow
from greenroom.engines.embedded.state import RowCache
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.model import SessionPolicy
from greenroom.testing.engine_contract import EmbeddedWorld
from greenroom.testing.engine_world import APP, Client
from tests.support.row_cache import watch_rows

Writer = Callable[[EmbeddedWorld, Client], Awaitable[object]]


async def _kick(w: EmbeddedWorld, a: Client) -> object:
    return await w.engine.registry.restrict(KickParticipant(app=APP, participant_id=a.participant_id))


async def _block(w: EmbeddedWorld, a: Client) -> object:
    return await w.engine.registry.restrict(BlockParticipant(app=APP, participant_id=a.participant_id))


async def _cut_off(w: EmbeddedWorld, a: Client) -> object:
    return await w.engine.registry.restrict(CutOffTokens(app=APP, participant_id=a.participant_id))


async def _erase(w: EmbeddedWorld, a: Client) -> object:
    return await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))


async def _open_in_its_place(w: EmbeddedWorld, a: Client) -> object:
    policy = SessionPolicy(max_sessions=1, when_full="replace_oldest")
    return await w.open(policy=policy, device_id="another")


async def _the_node_dies(w: EmbeddedWorld, a: Client) -> object:
    w.kill(w.node)
    await w.join("another", "another-lease")
    return await w.advance(30)


async def _a_second_session(w: EmbeddedWorld, a: Client) -> object:
    return await w.open(device_id="another")


async def _the_backend_renames(w: EmbeddedWorld, a: Client) -> object:
    request = UpdateRequest(app=APP, participant_id=a.participant_id, name="Another")
    return await w.engine.registry.update_participant(request)


WRITERS: Sequence[Writer] = (
    _kick, _block, _cut_off, _erase, _open_in_its_place, _the_node_dies, _a_second_session, _the_backend_renames
)  # fmt: skip
by_name = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


async def _life(write: Writer) -> None:
    """A session whose rows are kept is changed by somebody else, then goes on as if it did not know."""
    async with EmbeddedWorld() as w:
        a = await w.client(device_id="phone", name="Anna")
        await a.update(name="Anna B.")  # both rows were read since they were written
        await write(w, a)
        with suppress(SessionEndedError):
            await a.update(name="Anna C.")
        await a.close()
        await w.advance(100)


@by_name
async def test_what_others_write_is_what_is_kept(monkeypatch: pytest.MonkeyPatch, write: Writer) -> None:
    stale = watch_rows(monkeypatch)
    await _life(write)
    assert stale == []


def _keep_the_first(name: str, key: str) -> Callable[[RowCache, Any], None]:
    def keep(cache: RowCache, row: Any) -> None:
        if row.state == ATTACHED if name == "sessions" else row.connected:
            getattr(cache, name).setdefault(getattr(row, key), row)

    return keep


@by_name
@pytest.mark.interpreted
async def test_without_invalidation_the_check_sees_it(monkeypatch: pytest.MonkeyPatch, write: Writer) -> None:
    """Each of these writers works on rows of its own reading: where what it saved is not taken over, it shows."""
    monkeypatch.setattr(RowCache, "keep_session", _keep_the_first("sessions", "id"))
    monkeypatch.setattr(RowCache, "keep_participant", _keep_the_first("participants", "n"))
    monkeypatch.setattr(RowCache, "forget_participant", lambda _cache, _participant: None)
    stale = watch_rows(monkeypatch)
    with suppress(AssertionError, SessionEndedError, ValueError):  # it goes wrong for the client too
        await _life(write)
    assert stale != []


async def test_a_row_that_is_kept_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedWorld() as w:
        a = await w.client()
        read: list[str] = []
        engine: Any = w.engine
        engine._connection.trace_v2(1, lambda event: read.append(event["sql"]))
        await a.close()
        assert read, "it was written"
        assert not [sql for sql in read if "WHERE key = ?" in sql or sql.endswith("FROM participants WHERE n = ?")]


async def test_a_batch_that_is_rolled_back_leaves_nothing_behind() -> None:
    async with EmbeddedWorld() as w:
        a = await w.client()
        engine: Any = w.engine
        rows: RowCache = engine._state.rows

        def rename_and_fail(tx: Any) -> None:
            row = tx.session(a.id)
            participant = tx.participant_of(row)
            participant.name = "Nobody"
            tx.save_profile(participant)
            raise ZeroDivisionError

        with pytest.raises(ServiceUnavailableError):
            await engine.writer.submit(rename_and_fail)
        assert not rows.participants
        assert not rows.sessions
        assert (await a.update(name="Anna")).name == "Anna"


def test_it_is_bounded_and_only_who_is_attached_is_kept() -> None:
    cache = RowCache(most=2)
    rows = [
        SessionRow(n, n, None, ATTACHED, None, APP, "", b"", b"", n, cast(Any, SimpleNamespace(id=f"s{n}")))
        for n in range(1, 4)
    ]
    people = [ParticipantRow(n, APP, f"p{n}", None, connected=1) for n in range(1, 4)]
    for row, participant in zip(rows, people, strict=True):
        cache.keep_session(row)
        cache.keep_participant(participant)
    assert (list(cache.sessions), list(cache.participants)) == (["s2", "s3"], [2, 3])
    rows[1].state = DETACHED
    people[1].connected = 0
    cache.keep_session(rows[1])
    cache.keep_participant(people[1])
    assert (list(cache.sessions), list(cache.participants)) == (["s3"], [3])
    cache.forget_participant(people[2])
    cache.clear()
    assert not cache.sessions
    assert not cache.participants
