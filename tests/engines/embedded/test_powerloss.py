"""Nothing that was acknowledged is lost with the power: promises 1 and 5, on many images of the disk."""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import apsw
import pytest

from greenroom.engines.clock import ManualClock
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.embedded.rows import decode_data
from greenroom.testing.engine_world import Client, World
from tests.support.powerloss import FATES, Disk, Image, ImageVFS, Note, RecordingVFS
from tests.support.row_cache import watch_rows

_names = count(1)
_END = re.compile(rb"(p\d+-[0-9a-f]{32}):ended").finditer
ROUNDS = 75


@dataclass
class Promises:
    """What had been acknowledged when the notes were so many. Each list holds (number of notes, what)."""

    opened: list[tuple[int, str]] = field(default_factory=list)
    ended: list[tuple[int, str]] = field(default_factory=list)
    updated: list[tuple[int, tuple[str, int, str]]] = field(default_factory=list)
    """(participant, revision, name)"""
    joined: list[tuple[int, str]] = field(default_factory=list)


class RecordedWorld(World):
    """The real engine, with its real writer, on a disk that takes notes."""

    def __init__(self, directory: str, synchronous: str) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.vfs = RecordingVFS(f"recording-{next(_names)}")
        self._file = str(Path(directory) / "image.db")
        self._synchronous = synchronous

    async def start(self) -> None:
        self.engine = EmbeddedEngine(
            self._file,
            clock=self.clock,
            vfs=self.vfs.name,
            synchronous=self._synchronous,
            checkpoint_pages=60,  # several times in the recording
            commit_window=0.0,
        )
        await self.engine.start()

    async def stop(self) -> None:
        await self.engine.stop()
        self.vfs.unregister()

    async def step(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def now_ms(self) -> int:
        return self.clock.now_ms()


async def record(synchronous: str, chance: random.Random) -> tuple[list[Note], Promises]:
    """A life of opens, updates, detaches and closes, some alone and some at the same time."""
    promises = Promises()
    with tempfile.TemporaryDirectory(prefix="greenroom-") as directory, pytest.MonkeyPatch.context() as patch:
        stale = watch_rows(patch)
        w = RecordedWorld(directory, synchronous)
        notes = w.vfs.notes
        async with w:
            clients: list[Client] = []

            async def live(number: int) -> None:
                client = await w.client(f"user-{number % 7}", token=w.token(age=0), device_id=f"d{number}")
                promises.opened.append((len(notes), client.id))
                clients.append(client)
                record = await client.update(name=f"name {number} " + "x" * chance.randrange(200))
                promises.updated.append((len(notes), (record.id, record.revision, record.name)))
                await client.join(f"room-{number % 3}")
                promises.joined.append((len(notes), client.id))
                if chance.random() < 0.5:
                    await client.detach(5)
                elif chance.random() < 0.7:
                    await client.close()
                    promises.ended.append((len(notes), client.id))

            for first in range(0, ROUNDS, 3):
                await asyncio.gather(*(live(number) for number in range(first, first + 3)))
                await w.advance(1)
            end = len(notes)
        assert stale == [], "what is answered from memory is what the file says"
        return notes[:end], promises


def images(notes: list[Note], chance: random.Random, *, wanted: int) -> Iterator[tuple[int, str, Image]]:
    """Images of moments all over the recording, each different from the others."""
    seen: set[int] = set()
    disk = Disk(present=("image.db",))
    share = wanted / len(notes)
    owed = 0.0
    for number, note in enumerate(notes, 1):
        disk.play(note)
        owed += share
        while owed >= 1:
            owed -= 1
            fate = "none" if chance.random() < 0.1 else chance.choice(FATES)
            image = disk.image(fate, chance)
            key = hash((number, tuple(sorted(image.items()))))
            if key not in seen:
                seen.add(key)
                yield number, fate, image


def losses(vfs: ImageVFS, image: Image, number: int, promises: Promises) -> list[str]:
    """What is missing of what was promised at this moment, by a real SQLite that opens the image."""
    vfs.load(image)
    con = apsw.Connection("image.db", vfs=vfs.name)
    try:
        con.pragma("locking_mode", "EXCLUSIVE")
        try:
            if con.pragma("integrity_check") != "ok":
                return ["integrity_check"]
            if not con.table_exists(None, "sessions"):
                return ["the tables"] if any(at <= number for at, _ in promises.opened) else []
            return _missing(con, number, promises)
        except apsw.Error as error:
            return [f"SQLite says: {error}"]
    finally:
        con.close()


def _missing(con: apsw.Connection, number: int, promises: Promises) -> list[str]:
    sessions = [(decode_data(raw), state) for raw, state in con.execute("SELECT data, state FROM sessions")]
    states = {data.id: state for data, state in sessions}
    ends = Counter(match[1].decode() for (body,) in con.execute("SELECT body FROM events") for match in _END(body))
    profiles = {
        who: (revision, name) for who, revision, name in con.execute("SELECT id, revision, name FROM participants")
    }
    missing = [f"open of {each}" for at, each in promises.opened if at <= number and each not in states]
    for at, each in promises.ended:
        if at <= number and states.get(each, 0) < 2:
            missing.append(f"end of {each}")
    for each, state in states.items():
        if ends[each] != (state >= 2):
            missing.append(f"{ends[each]} ends published of {each}, state {state}")
    for at, (who, revision, name) in promises.updated:
        if at <= number:
            stored = profiles.get(who, (-1, ""))
            if stored < (revision, "") or (stored[0] == revision and stored[1] != name):
                missing.append(f"update {revision} of {who}")
    in_rooms = {data.id: data.rooms for data, _ in sessions}
    missing += [f"join of {each}" for at, each in promises.joined if at <= number and not in_rooms.get(each)]
    inside = {(room, data.participant_id) for data, state in sessions if state < 2 for room in data.rooms}
    shown = set(con.execute("SELECT name, participant FROM members JOIN rooms ON rooms.n = members.r"))
    if inside != shown:
        missing.append(f"rosters that differ from sessions: {inside ^ shown}")
    counts = dict(con.execute("SELECT name, count FROM rooms WHERE count > 0"))
    if counts != Counter(room for room, _ in shown):
        missing.append(f"counts of rooms: {counts}")
    return missing


@pytest.fixture
def image_vfs() -> Iterator[ImageVFS]:
    vfs = ImageVFS(f"image-{next(_names)}")
    yield vfs
    vfs.unregister()


def _seed() -> random.Random:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [1500, pytest.param(6000, marks=pytest.mark.soak)])
def test_promise_1_no_image_of_a_disk_that_lost_power_lacks_what_was_acknowledged(
    image_vfs: ImageVFS, wanted: int
) -> None:
    chance = _seed()
    notes, promises = asyncio.run(record("FULL", chance))
    assert sum(note.what == "write" and note.file == "image.db" for note in notes) > 100, "it was never checkpointed"
    looked_at = 0
    for number, fate, image in images(notes, chance, wanted=wanted):
        lost = losses(image_vfs, image, number, promises)
        assert not lost, f"after note {number} of {len(notes)} ({fate}): {lost[:5]}"
        looked_at += 1
    assert looked_at > wanted * 2 // 3


@pytest.mark.slow
def test_the_simulator_finds_what_synchronous_normal_loses(image_vfs: ImageVFS) -> None:
    chance = _seed()
    notes, promises = asyncio.run(record("NORMAL", chance))
    lost = [
        what
        for number, _, image in images(notes, chance, wanted=300)
        for what in losses(image_vfs, image, number, promises)
    ]
    assert any(what.startswith("open of") for what in lost), "a test that cannot tell FULL from NORMAL proves nothing"
    assert any(what.startswith("update") for what in lost)


@pytest.mark.slow
def test_the_engine_starts_on_what_power_loss_left() -> None:
    chance = _seed()
    notes, promises = asyncio.run(record("FULL", chance))
    for number, _, image in images(notes, chance, wanted=25):
        if all(at > number for at, _ in promises.opened):
            continue
        with tempfile.TemporaryDirectory(prefix="greenroom-") as directory:
            for name, content in image.items():
                (Path(directory) / name.replace("image", "greenroom")).write_bytes(content)
            asyncio.run(_start_and_stop(directory))


async def _start_and_stop(directory: str) -> None:
    engine = EmbeddedEngine(directory, clock=ManualClock(), threaded=False)
    await engine.start()
    await engine.healthy()
    await engine.registry.reap()
    await engine.stop()


def test_a_disk_loses_only_what_was_not_synced() -> None:
    chance = random.Random(1)
    disk = Disk()
    for note in (Note("create", "f"), Note("write", "f", 0, b"a" * 1024), Note("sync", "f")):
        disk.play(note)
    disk.play(Note("write", "f", 512, b"b" * 1024))
    assert disk.image("none", chance) == {"f": b"a" * 1024}
    assert disk.image("all", chance) == {"f": b"a" * 512 + b"b" * 1024}
    kinds = {disk.image("sectors", chance)["f"] for _ in range(50)}
    assert len(kinds) == 4
    torn = {disk.image("torn", chance)["f"] for _ in range(200)}
    assert any(image[512:1024].strip(b"a") not in (b"", b"b" * 512) for image in torn)
    assert all(image[:512] == b"a" * 512 for image in torn)


def test_a_file_is_there_for_certain_when_its_directory_was_synced() -> None:
    chance = random.Random(1)
    disk = Disk(present=("db",))
    disk.play(Note("create", "f"))
    disk.play(Note("write", "f", 0, b"a"))
    assert disk.image("none", chance) == {"db": b""}
    assert disk.image("all", chance) == {"db": b"", "f": b"a"}
    disk.play(Note("sync", "f"))
    assert disk.image("none", chance) == {"db": b"", "f": b"a"}


def test_a_file_deleted_may_be_back_until_its_directory_is_synced() -> None:
    chance = random.Random(1)
    disk = Disk(present=("f",))
    disk.play(Note("unlink", "f"))
    assert {tuple(disk.image("none", chance)) for _ in range(20)} == {(), ("f",)}
    disk.play(Note("create", "g"))
    disk.play(Note("sync", "g"))
    assert {tuple(disk.image("none", chance)) for _ in range(20)} == {("g",)}
    disk.play(Note("delete", "g"))
    assert disk.image("all", chance) == {}
