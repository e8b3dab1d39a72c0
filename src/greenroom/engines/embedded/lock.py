"""One process at a time: a lock on an open file (S10). A file that merely exists locks nothing."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from pathlib import Path

from greenroom.errors import ServiceUnavailableError

log = logging.getLogger("greenroom.engine")

_RETRY = 0.05
_SAY_SO_AFTER = 1.0
"""Seconds of waiting after which it is said what is waited for: a hand-over from the process before is faster."""


class FileLock:
    """`flock` on ``path``, released by the kernel however the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    async def acquire(self, timeout: float) -> None:
        """Waits up to ``timeout`` seconds for the process before this one to be gone.

        Raises ServiceUnavailableError naming the process that holds it.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            loop = asyncio.get_running_loop()
            began = loop.time()
            quiet = True
            while not _try_lock(fd):
                waited = loop.time() - began
                if waited >= timeout:
                    raise self._held(fd)
                if quiet and waited >= _SAY_SO_AFTER:
                    quiet = False
                    log.warning(
                        "process %s uses the data directory %s: waiting up to %g s for it to end",
                        _owner(fd),
                        self._path.parent,
                        timeout,
                    )
                await asyncio.sleep(_RETRY)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Lets the next process in. Harmless where the lock is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _held(self, fd: int) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            f"Another process (pid {_owner(fd)}) uses the data directory {self._path.parent}.",
            hint="Stop it first, or give this one another data directory; several nodes need the redis engine.",
        )


def _owner(fd: int) -> str:
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
