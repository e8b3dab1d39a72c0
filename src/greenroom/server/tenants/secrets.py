"""Secrets of the service itself: from the settings, else from a file (mode 0600) made at the first start."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from greenroom.errors import IllegalArgumentError

MASTER_KEY_VARIABLE = "GREENROOM_MASTER_KEY"
MASTER_KEY_FILE = "master-key"
ADMIN_TOKEN_VARIABLE = "GREENROOM_ADMIN_TOKEN"
ADMIN_TOKEN_FILE = "admin-token"

_MIN_ADMIN_TOKEN = 16


def load_master_key(given: str | None, data: Path | None, random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """The 32 bytes that everything secret is sealed with.

    given: the setting `master_key`, 64 hexadecimal digits; None takes the file ``master-key`` in `data`, made where
        there is none.
    data: the data directory; None where there is none (an engine shared by nodes): then the setting is needed.
    Raises `IllegalArgumentError`, which never holds the key.
    """
    text = _found(given, MASTER_KEY_VARIABLE, data, MASTER_KEY_FILE, random_bytes)
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise IllegalArgumentError(
            "The master key is not 64 hexadecimal digits.",
            hint=f"Make one with: openssl rand -hex 32, and give it as {MASTER_KEY_VARIABLE}.",
        )
    return key


def load_admin_token(given: str | None, data: Path | None, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """The token of /admin/v1, at least 16 characters.

    given: the setting `admin_token`; None takes the file ``admin-token`` in `data`, made where there is none.
    Raises `IllegalArgumentError`, which never holds the token.
    """
    token = _found(given, ADMIN_TOKEN_VARIABLE, data, ADMIN_TOKEN_FILE, random_bytes)
    if len(token) < _MIN_ADMIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise IllegalArgumentError(
            f"The admin token has fewer than {_MIN_ADMIN_TOKEN} characters, or some that no header takes.",
            hint=f"Make one with: openssl rand -hex 32, and give it as {ADMIN_TOKEN_VARIABLE}.",
        )
    return token


def _found(given: str | None, variable: str, data: Path | None, name: str, random_bytes: Callable[[int], bytes]) -> str:
    if given is not None and given.strip():
        return given.strip()
    if data is None:
        raise IllegalArgumentError(
            f"There is no {variable}, and no data directory to keep one in.",
            hint=f"Set {variable} to the same value on every node.",
        )
    return read_or_make(data / name, lambda: random_bytes(32).hex())


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """What the file says; where there is none it is made, whole or not at all, for this user alone.

    A file that others may read is refused: what was in it may be known. Raises `IllegalArgumentError`.
    """
    if not path.exists():
        _make(path, make())
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise IllegalArgumentError(
            f"The file {path.name} can be read by others (mode {mode:04o}).",
            hint=f"If nobody has read it: chmod 600 {path}. Otherwise replace it.",
        )
    return path.read_text(encoding="utf-8").strip()


def _make(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # link, not rename: the first of two processes wins, and both then read the same.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
