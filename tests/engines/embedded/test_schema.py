"""Which files the embedded engine opens, which it brings up to date, and which it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.embedded import DATABASE, EmbeddedEngine
from greenroom.engines.embedded.schema import MINIMUM_SQLITE, SCHEMA_VERSION, check_sqlite, open_writer
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract.base import refused
from greenroom.testing.engine_world import EmbeddedWorld
from tests.engines.embedded.running import running


async def test_the_pragmas_that_promises_stand_on_are_in_force(tmp_path: Path) -> None:
    con = open_writer(str(tmp_path / "a.db"))
    assert (con.pragma("journal_mode"), con.pragma("synchronous")) == ("wal", 2)
    assert con.pragma("user_version") == SCHEMA_VERSION
    con.close()


async def test_a_file_of_a_newer_greenroom_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.pragma("user_version", SCHEMA_VERSION + 1)
    con.close()
    with pytest.raises(ServiceUnavailableError, match="newer Greenroom"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute("CREATE TABLE theirs (x)")
    con.close()
    with pytest.raises(ServiceUnavailableError, match="not Greenroom's"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(ServiceUnavailableError, match="is damaged: file is not a database"):
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()
    (tmp_path / DATABASE).unlink()
    async with running(tmp_path):
        pass  # the lock was given back


def _damage(database: Path) -> None:
    """Overwrites the middle of the file, as a bad disk does; its head stays."""
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (size - 8192))


async def test_a_damaged_file_is_named_with_how_to_restore_it(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        for number in range(50):
            await w.open(f"user-{number}")
    _damage(tmp_path / DATABASE)
    with pytest.raises(ServiceUnavailableError) as caught:
        await EmbeddedEngine(tmp_path, lock_timeout=0.0).start()
    assert f"{tmp_path / DATABASE} is damaged" in str(caught.value)
    assert "greenroom restore" in str(caught.value)
    assert "greenroom doctor --data" in str(caught.value)


async def test_damage_that_is_met_while_it_runs_is_logged_with_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        for number in range(300):
            await w.open(f"user-{number}")
            await asyncio.sleep(0)
        connection = w.engine._connection  # type: ignore[attr-defined]
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.pragma("cache_size", 0)
        connection.release_memory()
        _damage(tmp_path / DATABASE)
        with refused(ErrorCode.SERVICE_UNAVAILABLE):
            for number in range(50):
                await w.open(f"new-{number}", name="x" * 200)
        assert f"{tmp_path / DATABASE} is damaged" in caplog.text
        assert "greenroom restore" in caplog.text


def test_an_old_sqlite_is_refused() -> None:
    check_sqlite(".".join(map(str, MINIMUM_SQLITE)))
    check_sqlite("4.0.0")
    with pytest.raises(ServiceUnavailableError, match="3.40.1"):
        check_sqlite("3.40.1")


WITHOUT_ENDED = "ALTER TABLE participants DROP COLUMN ended;"
"""What makes a file of schema 5 one of schema 4."""
WITHOUT_ROOMS = (
    WITHOUT_ENDED
    + "ALTER TABLE participants DROP COLUMN rooms;"
    + "".join(f"DROP TABLE {table};" for table in ("rooms", "members", "removals", "kept_out", "invitations"))
)
"""What makes a file of schema 4 one of schema 3, but for what sessions hold."""


async def test_a_file_of_the_first_schema_is_brought_up(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client("alice", name="Alice")
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute(
        f"{WITHOUT_ROOMS}"
        "ALTER TABLE participants DROP COLUMN update_at; ALTER TABLE participants DROP COLUMN update_waits;"
        "ALTER TABLE participants DROP COLUMN attributes; ALTER TABLE participants DROP COLUMN status;"
        "ALTER TABLE participants DROP COLUMN statuses;"
        "DROP TABLE erasures; DROP INDEX sessions_of; CREATE INDEX sessions_of ON sessions (p) WHERE state < 2;"
        "PRAGMA user_version = 1"
    )
    con.close()
    engine = EmbeddedEngine(tmp_path, lock_timeout=0.0)
    await engine.start()
    await engine.stop()
    con = apsw.Connection(str(tmp_path / DATABASE))
    assert con.pragma("user_version") == SCHEMA_VERSION
    con.close()
    async with EmbeddedWorld(str(tmp_path)) as w:
        assert (await w.record("alice")).name == "Alice"
        stored = await w.session(a.id)
        assert stored is not None
        assert (await w.open("bob")).created


async def test_a_file_without_attributes_and_statuses_is_brought_up(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client("alice", name="Alice")
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute(
        f"{WITHOUT_ROOMS}"
        "ALTER TABLE participants DROP COLUMN attributes; ALTER TABLE participants DROP COLUMN status;"
        "ALTER TABLE participants DROP COLUMN statuses; PRAGMA user_version = 2"
    )
    _shorten_sessions(con, 4)
    con.close()
    async with EmbeddedWorld(str(tmp_path)) as w:
        a.world = w
        record = await w.record("alice")
        assert (record.name, record.attributes, record.status) == ("Alice", None, None)
        assert (await a.resume()).session.status is None
        assert (await a.update(attributes={"role": "nurse"})).attributes == {"role": "nurse"}
        assert (await a.update(status="away", update_id=None)).status == "away"


async def test_a_file_without_rooms_is_brought_up(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client("alice", name="Alice", status="away")
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute(f"{WITHOUT_ROOMS} PRAGMA user_version = 3")
    _shorten_sessions(con, 3)
    con.close()
    async with EmbeddedWorld(str(tmp_path)) as w:
        a.world = w
        resumed = await a.resume()
        assert (resumed.session.status, resumed.session.rooms, resumed.lost_rooms) == ("away", (), ())
        assert [member.name for member in (await a.join("standup")).members] == ["Alice"]
        assert await a.rooms() == ("standup",)


async def test_a_file_without_counts_of_ended_sessions_is_brought_up(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        first, last = await w.client("alice"), await w.client("alice")
        await first.close()
    con = apsw.Connection(str(tmp_path / DATABASE))
    con.execute(f"{WITHOUT_ENDED} PRAGMA user_version = 4")
    con.close()
    async with EmbeddedWorld(str(tmp_path)) as w:
        last.world = w
        await last.resume()
        await last.close()
        assert await w.session(first.id) is not None
    con = apsw.Connection(str(tmp_path / DATABASE))
    assert con.execute("SELECT ended FROM participants").fetchall() == [(2,)]
    con.close()


def _shorten_sessions(con: apsw.Connection, fields: int) -> None:
    """Takes the last fields from what sessions hold."""
    for n, data in con.execute("SELECT n, data FROM sessions").fetchall():
        assert isinstance(data, bytes)
        older = msgspec.msgpack.encode(msgspec.msgpack.decode(data)[:-fields])
        con.execute("UPDATE sessions SET data = ? WHERE n = ?", (older, n))
