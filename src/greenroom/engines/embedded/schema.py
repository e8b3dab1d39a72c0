"""The database file: how it is opened, what must hold of it, and its tables.

Layout, in the order of what it buys: sessions lie in the order in which they were opened, so that what is opened
together shares pages, and a commit writes few; they are found by a keyed 64-bit hash of their id; what is never
searched for lies in one msgpack column; indexes are partial.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from greenroom.engines.base import ENDED_OF_PARTICIPANT
from greenroom.errors import ServiceUnavailableError

SCHEMA_VERSION = 5
"""`user_version` of the file. A newer one is refused, an older one is brought up."""

APPLICATION_ID = 0x47524E52
"""`application_id` of the file, "GRNR": another program's database is refused."""

MINIMUM_SQLITE = (3, 51, 3)
"""The first release in which a WAL reset cannot corrupt the file under a concurrent checkpoint."""

CACHE_KIB = 65_536
"""Page cache of the writer."""

CHECKPOINT_PAGES = 4000
"""Pages in the write-ahead log after which it is written back: 16 MiB. Pages that change
often are written back once for many commits."""

BUSY_MS = 5_000
"""Milliseconds that a connection waits for another one of this process."""

_ROOM_TABLES = """
CREATE TABLE rooms (
  n INTEGER PRIMARY KEY,
  app TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, state INTEGER NOT NULL,
  version INTEGER NOT NULL, count INTEGER NOT NULL, detailed INTEGER NOT NULL, ttl INTEGER NOT NULL,
  opened_at INTEGER NOT NULL, opened_by TEXT NOT NULL, due INTEGER, forgotten INTEGER NOT NULL, attributes BLOB
) STRICT;
CREATE UNIQUE INDEX rooms_by_name ON rooms (app, name);
CREATE INDEX rooms_by_id ON rooms (app, id) WHERE state < 2;
CREATE INDEX rooms_due ON rooms (due) WHERE due IS NOT NULL;
CREATE TABLE members (
  r INTEGER NOT NULL, participant TEXT NOT NULL, version INTEGER NOT NULL,
  since INTEGER, update_at INTEGER NOT NULL, due INTEGER, record BLOB NOT NULL,
  PRIMARY KEY (r, participant)
) WITHOUT ROWID, STRICT;
CREATE INDEX members_due ON members (due) WHERE due IS NOT NULL;
CREATE TABLE removals (
  r INTEGER NOT NULL, participant TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (r, participant)
) WITHOUT ROWID, STRICT;
CREATE INDEX removals_by_version ON removals (version);
CREATE TABLE kept_out (
  app TEXT NOT NULL, room TEXT NOT NULL, subject TEXT NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (app, room, subject)
) WITHOUT ROWID, STRICT;
CREATE INDEX kept_out_until ON kept_out (until);
CREATE TABLE invitations (
  n INTEGER PRIMARY KEY, app TEXT NOT NULL, invitee TEXT NOT NULL, inviter TEXT NOT NULL,
  expires_at INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX invitations_of ON invitations (app, invitee);
CREATE INDEX invitations_by ON invitations (app, inviter);
CREATE INDEX invitations_until ON invitations (expires_at);
"""
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
CREATE TABLE participants (
  n INTEGER PRIMARY KEY,
  app TEXT NOT NULL, id TEXT NOT NULL, external_id TEXT, name TEXT NOT NULL, avatar_url TEXT NOT NULL,
  revision INTEGER NOT NULL, version INTEGER NOT NULL,
  presence INTEGER NOT NULL, shown INTEGER NOT NULL,
  sessions INTEGER NOT NULL, connected INTEGER NOT NULL,
  last_seen INTEGER, anonymous INTEGER NOT NULL, since INTEGER, due INTEGER,
  update_at INTEGER NOT NULL DEFAULT 0, update_waits INTEGER NOT NULL DEFAULT 0,
  attributes BLOB, status TEXT, statuses BLOB, rooms BLOB, ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX participants_by_id ON participants (app, id);
CREATE INDEX participants_due ON participants (due) WHERE due IS NOT NULL;
CREATE TABLE sessions (
  n INTEGER PRIMARY KEY,
  key INTEGER NOT NULL,
  p INTEGER NOT NULL, open_key INTEGER, state INTEGER NOT NULL, due INTEGER,
  app TEXT NOT NULL, lease TEXT NOT NULL,
  data BLOB NOT NULL, timeline BLOB NOT NULL, updates BLOB
) STRICT;
CREATE UNIQUE INDEX sessions_by_key ON sessions (key);
CREATE INDEX sessions_of ON sessions (p, (state > 1));
CREATE UNIQUE INDEX sessions_open ON sessions (open_key) WHERE open_key IS NOT NULL;
CREATE INDEX sessions_due ON sessions (state, due) WHERE due IS NOT NULL;
CREATE TABLE events (
  app TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (app, seq)
) WITHOUT ROWID, STRICT;
CREATE TABLE streams (
  app TEXT PRIMARY KEY, trimmed INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE readers (
  app TEXT NOT NULL, reader TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (app, reader)
) WITHOUT ROWID, STRICT;
CREATE TABLE aside (
  n INTEGER PRIMARY KEY, app TEXT NOT NULL, reader TEXT NOT NULL, event_id TEXT NOT NULL,
  why TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX aside_by_event ON aside (app, reader, event_id);
CREATE TABLE restrictions (
  app TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (app, kind, subject)
) WITHOUT ROWID, STRICT;
CREATE TABLE erasures (
  n INTEGER PRIMARY KEY, app TEXT NOT NULL, participant TEXT NOT NULL,
  last_event INTEGER NOT NULL, last_session INTEGER NOT NULL, event INTEGER NOT NULL, session INTEGER NOT NULL
) STRICT;
CREATE TABLE applications (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE keys (kid TEXT PRIMARY KEY, created_at INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID, STRICT;
{_ROOM_TABLES}"""

_UPGRADES = {
    1: """
ALTER TABLE participants ADD COLUMN update_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN update_waits INTEGER NOT NULL DEFAULT 0;
DROP INDEX sessions_of;
CREATE INDEX sessions_of ON sessions (p, (state > 1));
CREATE TABLE erasures (
  n INTEGER PRIMARY KEY, app TEXT NOT NULL, participant TEXT NOT NULL,
  last_event INTEGER NOT NULL, last_session INTEGER NOT NULL, event INTEGER NOT NULL, session INTEGER NOT NULL
) STRICT;
""",
    2: """
ALTER TABLE participants ADD COLUMN attributes BLOB;
ALTER TABLE participants ADD COLUMN status TEXT;
ALTER TABLE participants ADD COLUMN statuses BLOB;
""",
    3: f"""
ALTER TABLE participants ADD COLUMN rooms BLOB;
{_ROOM_TABLES}""",
    # More than are kept: the next end counts them.
    4: f"""
ALTER TABLE participants ADD COLUMN ended INTEGER NOT NULL DEFAULT {ENDED_OF_PARTICIPANT};
""",
}
"""How a file of a schema becomes one of the next."""

_SYNCHRONOUS = {"FULL": 2, "NORMAL": 1}


def open_writer(
    path: str, *, vfs: str | None = None, synchronous: str = "FULL", checkpoint_pages: int = CHECKPOINT_PAGES
) -> apsw.Connection:
    """The one connection that writes and checkpoints, its pragmas set and asserted, its tables there.

    path: the file, or ``:memory:``. synchronous: ``FULL``; the power-loss test alone says ``NORMAL``, to show that it
    can distinguish the two.

    Raises ServiceUnavailableError where SQLite is too old or the file is not ours.
    """
    check_sqlite(apsw.sqlite_lib_version())
    con = apsw.Connection(path, vfs=vfs, statementcachesize=256)
    try:
        con.set_busy_timeout(BUSY_MS)
        memory = path == ":memory:"
        if not memory:
            # Nobody else has the file (the lock sees to it), but readers of this process do: WAL, not exclusive.
            _demand(con, "journal_mode", "WAL", "wal")
        _demand(con, "synchronous", synchronous, _SYNCHRONOUS[synchronous])
        _demand(con, "foreign_keys", "OFF", 0)
        _demand(con, "cache_size", -CACHE_KIB, -CACHE_KIB)
        _demand(con, "temp_store", "MEMORY", 2)
        # What is deleted is overwritten: the file holds nothing of an erased participant.
        _demand(con, "secure_delete", "ON", 1)
        _demand(con, "wal_autocheckpoint", checkpoint_pages, checkpoint_pages)
        _migrate(con)
    except BaseException:
        con.close()
        raise
    return con


def open_reader(path: str, *, vfs: str | None = None) -> apsw.Connection:
    """A connection that only reads."""
    con = apsw.Connection(path, vfs=vfs, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=64)
    con.set_busy_timeout(BUSY_MS)
    con.pragma("query_only", "ON")
    return con


DAMAGED = (apsw.CorruptError, apsw.NotADBError)
"""What SQLite says of a file with damaged pages."""


def damaged(file: str, how: str) -> ServiceUnavailableError:
    """The error for operators: which file, and how to continue."""
    return ServiceUnavailableError(
        f"The database {file} is damaged: {how}.",
        hint="Stop the service and put the last backup back: greenroom restore FILE."
        " What is damaged: greenroom doctor --data DIR.",
    )


def check_sqlite(version: str) -> None:
    """Raises ServiceUnavailableError where SQLite is older than MINIMUM_SQLITE."""
    if tuple(int(part) for part in version.split(".")[:3]) < MINIMUM_SQLITE:
        least = ".".join(map(str, MINIMUM_SQLITE))
        raise ServiceUnavailableError(
            f"SQLite {version} can corrupt its file when the write-ahead log is reset.",
            hint=f"Install an apsw that brings SQLite {least} or newer.",
        )


def _demand(con: apsw.Connection, pragma: str, value: str | int, effective: str | int) -> None:
    con.pragma(pragma, value)
    actual = con.pragma(pragma)
    if actual != effective:
        raise ServiceUnavailableError(
            f"SQLite did not take {pragma}={value}: it is {actual!r}.",
            hint="Put the data directory on a local file system.",
        )


def _migrate(con: apsw.Connection) -> None:
    version = con.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise ServiceUnavailableError(
            f"The data directory was written by a newer Greenroom (schema {version}, this one knows {SCHEMA_VERSION}).",
            hint="Run the newer version, or give another data directory.",
        )
    if version:
        if con.pragma("application_id") != APPLICATION_ID:
            raise _foreign()
        for step in range(version, SCHEMA_VERSION):
            con.execute(f"BEGIN IMMEDIATE; {_UPGRADES[step]} PRAGMA user_version = {step + 1}; COMMIT")
        return
    if con.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise _foreign()
    con.execute("BEGIN IMMEDIATE")
    con.execute(_TABLES)
    con.execute(
        "INSERT INTO meta VALUES"
        " ('hash_key', randomblob(16)), ('clock', 0), ('beat', 0), ('directory', 0), ('touched', 0)"
    )
    con.pragma("application_id", APPLICATION_ID)
    con.pragma("user_version", SCHEMA_VERSION)
    con.execute("COMMIT")


def _foreign() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "The database file in the data directory is not Greenroom's.", hint="Give another data directory."
    )


def make_private(directory: Path) -> None:
    """The data directory, mode 0700. Its own entry is made durable, as the database's is by `make_file`."""
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_directory(directory.parent)


def make_file(path: Path) -> None:
    """The database's file, mode 0600. SQLite syncs the directory for a new log, but not for a new database."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
