"""Secrets: of applications, as they are stored and compared; and of the service itself, from the settings, else from a
file (mode 0600) made at the first start."""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from greenroom.errors import IllegalArgumentError
from greenroom.model import StoredSecret
from greenroom.server.config import MIN_TOKEN, is_usable_token
from greenroom.tokens import hash_secret, open_sealed, seal, secret_matches

MASTER_KEY_VARIABLE = "GREENROOM_MASTER_KEY"
MASTER_KEY_FILE = "master-key"
ADMIN_TOKEN_VARIABLE = "GREENROOM_ADMIN_TOKEN"
ADMIN_TOKEN_FILE = "admin-token"


_NONCE_BYTES = 12


class SecretStore:
    """Hashes what is compared, and seals what has to be read again. master_key: 32 bytes."""

    def __init__(self, master_key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._master = master_key
        self._random = random_bytes
        self._pepper = derive_pepper(master_key)

    @property
    def fingerprint(self) -> str:
        """Enough to see that two nodes have different master keys, and nothing about them."""
        return hashlib.blake2b(self._master, digest_size=6, person=b"greenroom-doctor").hexdigest()

    def stored(self, secret: str, created_at: int) -> StoredSecret:
        """An app secret as it is stored. created_at: Unix milliseconds."""
        return StoredSecret(digest=hash_secret(self._pepper, secret).hex(), created_at=created_at)

    def matches(self, secret: str, stored: Iterable[StoredSecret], now: float) -> bool:
        """Whether the secret is one of the stored ones, of which the two newest count, that have not ended. The same
        work is done whether or not there are any. now: Unix seconds."""
        valid = [one.digest for one in stored if one.expires_at is None or one.expires_at > now * 1000]
        return secret_matches(self._pepper, (secret,), tuple(bytes.fromhex(digest) for digest in valid[:2]))

    def seal(self, text: str, context: str) -> str:
        """A secret that has to be read again, as it may be stored: base64. context: what it is and whose."""
        return b64encode(seal(self._master, text.encode(), self._random(_NONCE_BYTES), context)).decode()

    def open(self, sealed: str, context: str) -> str:
        """The inverse of `seal`. Raises `IllegalArgumentError` for another master key or context."""
        return open_sealed(self._master, b64decode(sealed), context).decode()


def derive_pepper(master_key: bytes) -> bytes:
    """What app secrets are hashed with (RFC 5869): from the master key, so that the stored hashes alone are useless."""
    return HKDF(SHA256(), 32, salt=None, info=b"greenroom app secret pepper v1").derive(master_key)


# -- of the service itself --------------------------------------------------------------------------------------------


class ServiceSecrets(NamedTuple):
    """master_key: 32 bytes, with which everything secret is sealed. admin_token: of /admin/v1."""

    master_key: bytes
    admin_token: str


def load_secrets(
    master_key: str | None,
    admin_token: str | None,
    data: Path | None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> ServiceSecrets:
    """The secrets of the service.

    master_key: the setting, 64 hexadecimal digits; admin_token: the setting, at least 16 characters. None takes the
        file ``master-key`` or ``admin-token`` in `data`, made where there is none.
    data: the data directory; None where there is none (an engine shared by nodes): then both settings are needed.
    Raises `IllegalArgumentError`, which names all that are missing and never holds a secret.
    """
    given = {MASTER_KEY_VARIABLE: master_key, ADMIN_TOKEN_VARIABLE: admin_token}
    missing = [variable for variable, text in given.items() if not text]
    if data is None and missing:
        names, verb = " and ".join(missing), "is" if len(missing) == 1 else "are"
        raise IllegalArgumentError(
            f"{names} {verb} missing, and there is no data directory to keep such secrets in.",
            hint=f"Make each with: openssl rand -hex 32, and set {names} to the same on every node.",
        )

    def found(text: str | None, name: str) -> str:
        if text or data is None:
            return (text or "").strip()
        return read_or_make(data / name, lambda: random_bytes(32).hex())

    key, token = found(master_key, MASTER_KEY_FILE), found(admin_token, ADMIN_TOKEN_FILE)
    return ServiceSecrets(_checked_key(key), _checked_token(token))


def _checked_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise IllegalArgumentError(
            "The master key must be 64 hexadecimal digits.",
            hint=f"Make one with: openssl rand -hex 32, and give it as {MASTER_KEY_VARIABLE}.",
        )
    return key


def _checked_token(token: str) -> str:
    if not is_usable_token(token):
        raise IllegalArgumentError(
            f"The admin token must have at least {MIN_TOKEN} printable ASCII characters and no spaces.",
            hint=f"Make one with: openssl rand -hex 32, and give it as {ADMIN_TOKEN_VARIABLE}.",
        )
    return token


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
