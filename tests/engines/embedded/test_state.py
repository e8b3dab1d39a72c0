"""What the writer keeps in memory. Rows are always what the file says, whoever wrote last, and never too many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenroom.core.requests import UpdateRequest
from greenroom.engines.base import BlockParticipant, CutOffTokens, EraseParticipant, KickParticipant, NodeBeat
from greenroom.engines.embedded.rows import ATTACHED, DETACHED, ParticipantRow, SessionRow
from greenroom.engines.embedded.state import MOST_ENDS, NodeLease, RowCache, State
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.model import Application, Restriction, SessionPolicy, erased_subject
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
    """A session whose rows are kept is changed by someone else, then continues as if it did not know."""
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


# -- what is small, and kept whole ------------------------------------------------------------------------------------


def _state(clock: int = 1_000_000) -> State:
    state = State()
    state.clock = clock
    return state


def _restriction(kind: str, subject: str = "anna", **changes: Any) -> Restriction:
    return Restriction(app=APP, kind=kind, subject=subject, **changes)


def test_s8_the_partition_clock_goes_on_by_two_seconds_at_most_and_never_back() -> None:
    state = _state(5000)
    assert state.clock_at(99.0) == 5000, "before the first pass it stands"
    state.passed_at = 10.0
    assert [state.clock_at(at) for at in (9.0, 10.0, 10.5, 12.0, 99.0)] == [5000, 5000, 5500, 7000, 7000]


@pytest.mark.parametrize(
    ("block", "is_blocked"),
    [
        (_restriction("block"), True),
        (_restriction("block", until=101), True),
        (_restriction("block", until=100), False),
        (_restriction("block", lifted=True), False),
        (_restriction("block", subject=erased_subject("anna")), True),
        (_restriction("cutoff", before=9), False),
        (_restriction("block", subject="bob"), False),
    ],
)
def test_a_block_holds_until_it_ends_or_is_lifted_for_who_was_erased_too(block: Restriction, is_blocked: bool) -> None:
    state = _state()
    state.add_restriction(block)
    assert state.block_of(APP, "anna", now=100) == (block if is_blocked else None)
    assert state.block_of("another", "anna", now=100) is None


def test_the_latest_cut_off_counts_whatever_it_is_of() -> None:
    state = _state()
    assert state.cutoff_of(APP, "anna") == 0
    state.applications[APP] = Application(key=APP, name="", namespace="", revoked_before=5)
    assert state.cutoff_of(APP, "anna") == 5
    state.add_restriction(_restriction("cutoff", before=3))
    assert state.cutoff_of(APP, "anna") == 5
    state.add_restriction(_restriction("cutoff", subject=erased_subject("anna"), before=9))
    assert state.cutoff_of(APP, "anna") == 9
    assert state.cutoff_of(APP, "bob") == 5


def test_restrictions_are_counted_once_each_and_the_first_to_expire_is_first() -> None:
    state = _state()
    for until in (30, 10, None, 20):
        state.add_restriction(_restriction("block", subject=f"until-{until}", until=until))
    key = state.add_restriction(_restriction("block", subject="until-10", until=10))
    assert state.restricted == {APP: 4}
    assert [expires for expires, _ in sorted(state.expiring)] == [10, 10, 20, 30]
    assert state.expiring[0] == (10, key)
    assert state.remove_restriction(key)
    assert not state.remove_restriction(key)
    assert state.restricted == {APP: 3}


def test_reasons_of_ends_are_known_until_their_time_and_bounded() -> None:
    state = _state(100)
    state.remember_end(1, 100, "closed")
    state.remember_end(2, 101, None)
    state.remember_end(3, 101, "kicked")
    assert [state.end_of(key) for key in (1, 2, 3)] == [None, None, "kicked"]
    state.clock = 101
    assert state.end_of(3) is None
    for key in range(MOST_ENDS + 5):
        state.remember_end(key, 200, "closed")
    assert [state.end_of(key) for key in (4, 5, MOST_ENDS + 4)] == [None, "closed", "closed"]


def test_s7_a_lease_that_is_over_never_counts_again() -> None:
    state = _state(1000)
    assert not state.lease_is_good("lease")
    beat = NodeBeat(node="n", boot="b", lease="lease", url="")
    state.nodes["n"] = NodeLease(beat, 1000, 1000)
    assert state.lease_is_good("lease")
    state.clock = 1001
    assert not state.lease_is_good("lease")
    state.clock = 1000
    state.lapsed["lease"] = None
    assert not state.lease_is_good("lease")
