"""`greenroom.engines.embedded.backup`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import apsw
import pytest

from greenroom.engines.embedded.backup import DATABASE, backup, check, restore
from greenroom.engines.embedded.schema import open_writer
from greenroom.errors import ConflictError, IllegalArgumentError, NotFoundError, ServiceUnavailableError
from tests.support.patience import PATIENCE

# A writer in a process of its own, as the service is one: two rows that only make sense together, again and again.
_WRITER = """
import sys
from greenroom.engines.embedded.schema import open_writer
con = open_writer(sys.argv[1])
number = 0
print("writing", flush=True)
while True:
    number += 1
    con.execute("BEGIN IMMEDIATE")
    con.execute("INSERT OR REPLACE INTO applications VALUES ('a', ?)", (b"%d" % number,))
    con.execute("INSERT OR REPLACE INTO applications VALUES ('b', ?)", (b"%d" % number,))
    con.execute("INSERT INTO keys VALUES (?, 0, zeroblob(3000))", (str(number),))
    con.execute("COMMIT")
"""


def _written(database: Path) -> None:
    """Returns when the writer has written again."""
    before, end = _pair(database), time.monotonic() + PATIENCE
    while _pair(database) == before:
        assert time.monotonic() < end
        time.sleep(0.01)


def _pair(database: Path) -> list[bytes]:
    con = apsw.Connection(str(database))
    try:
        return [row[0] for row in con.execute("SELECT body FROM applications ORDER BY key")]
    finally:
        con.close()


def _made(data: Path, body: bytes = b"1") -> None:
    data.mkdir(mode=0o700)
    con = open_writer(str(data / DATABASE))
    con.execute("INSERT INTO applications VALUES ('a', ?)", (body,))
    con.close()
    (data / "master-key").write_text("aa" * 32)


def test_while_another_process_writes_and_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(data / DATABASE)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == b"writing\n"
        for number in range(3):
            _written(data / DATABASE)
            backup(data, tmp_path / f"{number}.tar")
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    last: list[bytes] = []
    for number in range(3):
        elsewhere = tmp_path / f"restored-{number}"
        assert restore(tmp_path / f"{number}.tar", elsewhere) is None
        found = _pair(elsewhere / DATABASE)
        # Of one instant: both rows of a commit, or none.
        assert len(set(found)) == 1
        assert found != last
        last = found
    # Over what the killed process left, its log included.
    kept = restore(tmp_path / "0.tar", data)
    assert kept is not None
    assert _pair(data / DATABASE) == _pair(tmp_path / "restored-0" / DATABASE)
    assert int(_pair(kept / DATABASE)[0]) >= int(last[0])


def test_the_files_beside_it_travel_too_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    _made(data)
    (data / "service.json").write_text("{}")
    size = backup(data, tmp_path / "b.tar")
    assert size == (tmp_path / "b.tar").stat().st_size
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert sorted(archive.getnames()) == [DATABASE, "master-key"]
    (data / "master-key").write_text("bb" * 32)
    kept = restore(tmp_path / "b.tar", data)
    assert kept is not None
    assert ((data / "master-key").read_text(), (kept / "master-key").read_text()) == ("aa" * 32, "bb" * 32)
    assert (data / DATABASE).stat().st_mode & 0o777 == 0o600
    assert not list(data.glob(".greenroom-*"))


def test_what_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(NotFoundError, match="no database"):
        backup(data, tmp_path / "b.tar")
    _made(data)
    backup(data, tmp_path / "b.tar")
    with pytest.raises(ConflictError, match="exists"):
        backup(data, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"hello " * 1000,
        "cut": whole[: len(whole) // 3],
        "damaged": whole[:20_000] + bytes(len(whole) - 40_000) + whole[-20_000:],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((IllegalArgumentError, ServiceUnavailableError)):
            restore(tmp_path / name, data)
        assert _pair(data / DATABASE) == [b"1"], name
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(data / DATABASE, DATABASE)
        archive.add(data / "master-key", "../escaped")
    with pytest.raises(IllegalArgumentError):
        restore(tmp_path / "evil.tar", data)
    assert not (tmp_path / "escaped").exists()


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    _made(data)
    check(data / DATABASE)
    content = bytearray((data / DATABASE).read_bytes())
    content[4096:8192] = b"\xff" * 4096
    (data / DATABASE).write_bytes(content)
    with pytest.raises(ServiceUnavailableError, match=r"greenroom.db is damaged.*greenroom restore FILE"):
        check(data / DATABASE)
