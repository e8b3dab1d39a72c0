"""Keeps a session for the next process, in a file that only its owner may read."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from pathlib import Path

import msgspec

from greenroom.core.client.opening import SavedSession
from greenroom.errors import IllegalArgumentError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("greenroom.sdk")


class ResumeFile:
    """One process at a time: a lock beside the file (where the system has such locks) is held until `release`.

    Raises IllegalArgumentError where another process has it, or its folder cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock: int | None = None
        self._saved: SavedSession | None = None
        self._acquire()

    def _acquire(self) -> None:
        try:
            self._lock = os.open(f"{self._path}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
            if sys.platform != "win32":
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise IllegalArgumentError(
                f"resume_from: another process uses {self._path}.", hint="Give each process a file of its own."
            ) from None
        except OSError as error:
            raise IllegalArgumentError(f"resume_from: {self._path} cannot be used: {error.strerror}.") from None

    def load(self) -> SavedSession | None:
        """The session that was saved last; None where there is none, or the file is damaged."""
        try:
            self._saved = msgspec.json.decode(self._path.read_bytes(), type=SavedSession)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._saved = None
        return self._saved

    def save(self, session: SavedSession | None) -> None:
        """None: there is no session any more. Fails silently but for the log: the session continues without it."""
        if session == self._saved:
            return
        self._saved = session
        try:
            if session is None:
                self._path.unlink(missing_ok=True)
            else:
                self._write(msgspec.json.encode(session))
        except OSError as error:
            log.warning("the session cannot be saved in %s: %s", self._path, error.strerror)

    def _write(self, data: bytes) -> None:
        # mkstemp gives 0600, and the rename is atomic: a process that is killed leaves the old file or the new one.
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def release(self) -> None:
        """Let another process use the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __del__(self) -> None:
        self.release()
