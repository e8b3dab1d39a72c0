"""Backups of a data directory: one file, made while the service runs, and restored while it does not.

A backup is a tar of the database, as it was at one instant, and of the small files beside it (the master key, without
which the signing keys in the database cannot be opened, and the admin token). Keep it as a secret.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from greenroom.engines.embedded.lock import FileLock
from greenroom.engines.embedded.schema import APPLICATION_ID, damaged, make_private, open_reader
from greenroom.errors import ConflictError, IllegalArgumentError, NotFoundError, ServiceUnavailableError

DATABASE = "greenroom.db"
LOCK = "greenroom.lock"
_WAL = ("greenroom.db-wal", "greenroom.db-shm")
_NOT_KEPT = frozenset({DATABASE, LOCK, *_WAL, "service.json"})
_MAX_SMALL_FILE = 1 << 20
_PAGES_A_STEP = 1_024

Progress = Callable[[int, int], None]
"""Pages done, pages in all."""


def backup(data: Path, target: Path, progress: Progress = lambda _done, _all: None) -> int:
    """Write the data directory's state into the file `target`; its size in bytes. The service may run.

    The database is copied as of one instant, checked, and the file appears under its name when it is whole.
    Raises NotFoundError where there is no database, ConflictError where `target` exists, ServiceUnavailableError.
    """
    database = data / DATABASE
    if not database.is_file():
        raise NotFoundError(f"There is no database in {data}.", hint="Name the service's data directory with --data.")
    if target.exists():
        raise ConflictError(f"{target} exists.", hint="Name another file: a backup never replaces one.")
    with _scratch(target.parent) as folder:
        copy = folder / DATABASE
        _copy(database, copy, progress)
        check(copy)
        packed = folder / "backup.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(copy, DATABASE)
            for name in _small_files(data):
                archive.add(data / name, name)
        packed.chmod(0o600)
        _sync(packed)
        packed.rename(target)
        _sync(target.parent)
    return target.stat().st_size


def restore(source: Path, data: Path) -> Path | None:
    """Restore a backup. The service must not run. The old data is kept: the folder it was moved to, None where
    there was nothing.

    The backup is checked first; nothing is changed where it is damaged. Killed in between, it can be run again.
    Raises IllegalArgumentError for what is no backup, ServiceUnavailableError where a service runs.
    """
    make_private(data)
    lock = FileLock(data / LOCK)
    asyncio.run(lock.acquire(0.0))
    try:
        with _scratch(data) as folder:
            names = _unpack(source, folder)
            check(folder / DATABASE)
            for name in names:
                _sync(folder / name)
            kept = _set_aside(data, names)
            # Keys first: a database never stands beside keys that cannot open it without the restore being repeated.
            for name in sorted(names, key=lambda name: name == DATABASE):
                (folder / name).replace(data / name)
            _sync(data)
        return kept
    finally:
        lock.release()


def check(database: Path) -> None:
    """Raises ServiceUnavailableError that says what is wrong with the file, and what to do."""
    try:
        con = open_reader(str(database))
        try:
            if con.pragma("application_id") != APPLICATION_ID:
                raise IllegalArgumentError(f"{database.name} is not a database of Greenroom.")
            found = [str(row[0]) for row in con.execute("PRAGMA integrity_check(10)")]
        finally:
            con.close()
    except apsw.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise damaged(str(database), "; ".join(found[:3]))


def _copy(database: Path, copy: Path, progress: Progress) -> None:
    source = open_reader(str(database))
    target = apsw.Connection(str(copy))
    try:
        # One read transaction for all of it: what the service commits meanwhile neither shows nor starts it again.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with target.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(_PAGES_A_STEP)
                progress(steps.page_count - steps.remaining, steps.page_count)
        # As one file: the log of a copy would have to travel beside it.
        target.pragma("journal_mode", "DELETE")
    except apsw.Error as error:
        raise ServiceUnavailableError(
            f"The database {database} cannot be copied: {error}.", hint="Check it: greenroom doctor --data."
        ) from error
    finally:
        target.close()
        source.close()
    copy.chmod(0o600)


def _small_files(data: Path) -> list[str]:
    return sorted(
        one.name
        for one in data.iterdir()
        if one.is_file() and not one.is_symlink() and one.name not in _NOT_KEPT and not one.name.startswith(".")
        and one.stat().st_size <= _MAX_SMALL_FILE
    )  # fmt: skip


def _unpack(source: Path, folder: Path) -> list[str]:
    """The names of what was in the backup: plain files only, none with a folder in its name."""
    try:
        with tarfile.open(source, "r:") as archive:
            members = archive.getmembers()
            names = [one.name for one in members]
            if DATABASE not in names or not all(one.isfile() and Path(one.name).name == one.name for one in members):
                raise _no_backup(source)
            for member in members:
                content = archive.extractfile(member)
                assert content is not None
                with content, (folder / member.name).open("xb") as file:
                    shutil.copyfileobj(content, file)
                (folder / member.name).chmod(0o600)
    except (tarfile.TarError, EOFError, FileExistsError):
        raise _no_backup(source) from None
    return names


def _no_backup(source: Path) -> IllegalArgumentError:
    return IllegalArgumentError(f"{source} is not a backup, or not whole.", hint="greenroom backup FILE makes one.")


def _set_aside(data: Path, names: list[str]) -> Path | None:
    """Keep what the restore replaces. The database stays in its place too until the other one takes it."""
    there = [name for name in (*names, *_WAL) if (data / name).exists()]
    if not there:
        return None
    kept = data / f"replaced-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{kept.name.split('.')[0]}.{number}")
    kept.mkdir(mode=0o700)
    _close_log(data / DATABASE)
    for name in there:
        if (data / name).exists():
            os.link(data / name, kept / name)
    for name in _WAL:
        # Of the replaced database: beside the restored one it would be read as that one's.
        (data / name).unlink(missing_ok=True)
    _sync(kept)
    return kept


def _close_log(database: Path) -> None:
    """Write the log back into the database, as a clean stop does. A damaged database keeps its log, set aside."""
    try:
        con = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            con.pragma("wal_checkpoint", "TRUNCATE")
        finally:
            con.close()
    except apsw.Error:
        return


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".greenroom-", dir=parent) as name:
        yield Path(name)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
