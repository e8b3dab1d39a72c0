"""A simulator of power loss: what a disk may hold when the current goes, and whether SQLite makes sense of it.

A test that kills a process cannot tell `synchronous=FULL` from `NORMAL`: the kernel still writes what the process had
handed over. A disk that loses power does not. `RecordingVFS` notes everything SQLite does to its files; `Disk` plays
the notes up to any moment and makes images of what may have been left:

* what was synced is there;
* of what was written since the last sync of its file, each sector may be there or not, in any order, and any sector
  may be torn at any byte (inside what was written: SQLite counts on `powersafe overwrite`, as file systems give it);
* a file that was made but never synced may not be there, one deleted without syncing its directory may be back;
* a file may have its old length or any it was given since.

`ImageVFS` serves such an image from memory to a real SQLite.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import apsw

SECTOR = 512

Image: TypeAlias = dict[str, bytes]
"""File names (the last part alone) and what is in them."""
Fate: TypeAlias = Literal["none", "all", "last", "not_first", "sectors", "torn", "writes"]
"""What becomes of what was not synced."""
FATES: tuple[Fate, ...] = ("none", "all", "last", "not_first", "sectors", "torn", "writes")


@dataclass(frozen=True, slots=True)
class Note:
    """One thing SQLite did to a file. what: create, write, truncate, sync, delete (synced) or unlink (not)."""

    what: str
    file: str
    offset: int = 0
    data: bytes = b""


class RecordingVFS(apsw.VFS):
    """The system's own VFS, with notes. What is to be synced is only noted, so recording is quick."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[Note] = []
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _RecordingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.notes.append(Note("delete" if syncdir else "unlink", Path(filename).name))


class _RecordingFile(apsw.VFSFile):
    def __init__(self, vfs: RecordingVFS, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._notes = vfs.notes
        self._name = "" if path is None else Path(path).name
        if path is not None and not Path(path).exists():
            self._notes.append(Note("create", self._name))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        if self._name:
            self._notes.append(Note("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        if self._name:
            self._notes.append(Note("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:
        if self._name:
            self._notes.append(Note("sync", self._name))


@dataclass(slots=True)
class _File:
    """durable: what is certain; None where the file itself is not."""

    durable: bytearray | None
    pending: list[Note] = field(default_factory=list)


class Disk:
    """Plays notes, one at a time, and makes images of the moment.

    present: files whose directory entries were made durable before the first note, as the engine does for its database.
    """

    def __init__(self, present: tuple[str, ...] = ()) -> None:
        self._files: dict[str, _File] = {name: _File(bytearray()) for name in present}
        self._ghosts: dict[str, bytearray] = {}
        """Files that were deleted and may be back: their directory was not synced."""

    def play(self, note: Note) -> None:
        """One more thing happened."""
        if note.what in ("delete", "unlink"):
            file = self._files.pop(note.file, None)
            if note.what == "unlink" and file is not None and file.durable is not None:
                self._ghosts[note.file] = file.durable
            if note.what == "delete":
                self._sync_directory()
            return
        file = self._files.get(note.file)
        if file is None:
            file = self._files[note.file] = _File(None)
        if note.what == "sync":
            if file.durable is None:
                self._sync_directory()
            content = bytearray() if file.durable is None else file.durable
            for pending in file.pending:
                _apply(content, pending)
            file.durable = content
            file.pending.clear()
        elif note.what != "create":
            file.pending.append(note)

    def _sync_directory(self) -> None:
        """SQLite syncs the directory with the first sync of a journal or log that it made (UNIXFILE_DIRSYNC in
        os_unix.c): after that neither a deleted file comes back, nor a new one goes."""
        self._ghosts.clear()
        for file in self._files.values():
            if file.durable is None:
                file.durable = bytearray()

    def image(self, fate: Fate, chance: random.Random) -> Image:
        """One image of what may be left of this moment."""
        image: Image = {}
        for name, file in self._files.items():
            if file.durable is None and (fate == "none" or (fate != "all" and chance.random() < 0.3)):
                continue  # its directory entry never reached the disk
            content = bytearray() if file.durable is None else bytearray(file.durable)
            for piece in _survivors(file.pending, fate, chance):
                _apply(content, piece)
            image[name] = bytes(content)
        for name, ghost in self._ghosts.items():
            if name not in image and chance.random() < 0.5:
                image[name] = bytes(ghost)
        return image


def _apply(content: bytearray, note: Note) -> None:
    if note.what == "truncate":
        if note.offset < len(content):
            del content[note.offset :]
        else:
            content.extend(bytes(note.offset - len(content)))
        return
    end = note.offset + len(note.data)
    if end > len(content):
        content.extend(bytes(end - len(content)))
    content[note.offset : end] = note.data


def _survivors(pending: list[Note], fate: Fate, chance: random.Random) -> list[Note]:
    """What reached the disk of what was not synced, in the order in which it did."""
    if fate == "none" or not pending:
        return []
    if fate == "all":
        return pending
    if fate == "last":
        return pending[-1:]
    if fate == "not_first":
        return pending[1:]
    if fate == "writes":
        kept = [note for note in pending if chance.random() < 0.5]
    else:
        kept = [piece for note in pending for piece in _sectors(note) if chance.random() < 0.6]
        if fate == "torn":
            kept = [_tear(note, chance) if chance.random() < 0.2 else note for note in kept]
    chance.shuffle(kept)
    return kept


def _sectors(note: Note) -> Iterator[Note]:
    """The write, cut where sectors of the disk begin."""
    if note.what != "write":
        yield note
        return
    position = 0
    while position < len(note.data):
        at = note.offset + position
        size = min(SECTOR - at % SECTOR, len(note.data) - position)
        yield Note("write", note.file, at, note.data[position : position + size])
        position += size


def _tear(note: Note, chance: random.Random) -> Note:
    if note.what != "write" or len(note.data) < 2:
        return note
    cut = chance.randrange(1, len(note.data))
    if chance.random() < 0.5:
        return Note("write", note.file, note.offset, note.data[:cut])
    return Note("write", note.file, note.offset + cut, note.data[cut:])


class ImageVFS(apsw.VFS):
    """Serves one image at a time from memory. Connections need ``locking_mode=EXCLUSIVE``: there is no shared memory.

    ``files`` is what they see, and change.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, bytearray] = {}
        super().__init__(name, "")

    def load(self, image: Image) -> None:
        """Serves this image from now on."""
        self.files = {name: bytearray(content) for name, content in image.items()}

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return Path(pathname).name in self.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.files.pop(Path(filename).name, None)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        content = bytearray() if path is None else self.files.setdefault(Path(path).name, bytearray())
        return _MemoryFile(content)  # type: ignore[return-value]


class _MemoryFile:
    """What SQLite asks of a file, on a bytearray. Nobody else is there, so locks are granted."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        _apply(self._content, Note("write", "", offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        del self._content[newsize:]

    def xFileSize(self) -> int:
        return len(self._content)

    def xSync(self, flags: int) -> None: ...

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xClose(self) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)


class FullVFS(apsw.VFS):
    """The system's own VFS on a disk that is full whenever ``full`` says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = False
        self.broken = False
        """Writes fail as on a broken disk."""
        self.unreadable = False
        """So do reads."""
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _FullFile(self, name, flags)


class _FullFile(apsw.VFSFile):
    def __init__(self, vfs: FullVFS, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._vfs.full:
            raise apsw.FullError("disk full")
        if self._vfs.broken:
            raise apsw.IOError("broken disk")
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._vfs.unreadable:
            raise apsw.IOError("broken disk")
        return super().xRead(amount, offset)
