"""Applications and signing keys: a whole copy in memory, written through to the engine's directory.

Reading is sync and never waits. A node loads the copy at start and again when the directory's version has risen
(`reload_if`, called with every beat), so that a change made on one node holds on all of them within seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from math import floor
from typing import Any

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from greenroom.codes import ErrorCode
from greenroom.engines.base import Directory
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    NotFoundError,
    ParticipantBlockedError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.model import (
    Application,
    ApplicationSettings,
    Restriction,
    SealedKey,
    StoredSecret,
    erased_subject,
    participant_id_of,
)
from greenroom.server.config import ServerConfig
from greenroom.tokens import (
    Algorithm,
    BasicCredentials,
    KeyRing,
    SigningKey,
    VerifiedToken,
    generate_key,
    hash_secret,
    new_app_key,
    new_secret,
    open_key,
    open_sealed,
    seal,
    seal_key,
    secret_matches,
)

ANNOUNCED = 600.0
"""Seconds for which a new key is published before it signs: every node has read the directory by then, and whoever
keeps a copy of the key set (`JWKS_MAX_AGE`) has asked again."""
JWKS_MAX_AGE = 300
"""Seconds for which others may keep the key set."""
SECRET_OVERLAP = 86_400.0
"""Seconds for which a replaced app secret is still good, unless `rotate_secret` is told otherwise."""
MAX_NAME = 100
TRIES = 3
"""How often a change is tried that other nodes are quicker with."""
MAX_BUMP = 4
"""Seconds that a token's `iat` may be ahead of the clock to be above a cut-off (S18); verifiers take 5."""

_NONCE_BYTES = 12


class Tenants:
    """All applications of the service, and the key ring.

    master_key: 32 bytes; seals signing keys and makes the pepper of app secrets. clock: Unix seconds.
    config: `signing_alg` of it is for new signing keys; None is the default. Nothing can be read before `load`.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        master_key: bytes,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        config: ServerConfig | None = None,
    ) -> None:
        self._directory = directory
        self._master = master_key
        self._clock = clock
        self._random = random_bytes
        self._algorithm = Algorithm((config or ServerConfig()).signing_alg)
        self._pepper = derive_pepper(master_key)
        self._applications: dict[str, Application] = {}
        self._keys: tuple[SigningKey, ...] = ()
        self._ring: KeyRing | None = None
        self._ring_until = 0.0
        self._cutoffs: dict[tuple[str, str], int] = {}
        self._revoked: set[tuple[str, str]] = set()
        self._blocks: dict[tuple[str, str], Restriction] = {}
        self._copy: tuple[tuple[Application, ...], tuple[SealedKey, ...], tuple[Restriction, ...]] = ((), (), ())
        self._version = -1
        self._begun = self._finished = 0  # numbers of loads
        self._changing = asyncio.Lock()

    @property
    def master_key_fingerprint(self) -> str:
        """Enough to see that two nodes have different master keys, and nothing about them."""
        return hashlib.blake2b(self._master, digest_size=6, person=b"greenroom-doctor").hexdigest()

    def now(self) -> float:
        """Unix seconds, of the clock given."""
        return self._clock()

    @property
    def random_bytes(self) -> Callable[[int], bytes]:
        """The source that was given, for tokens."""
        return self._random

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, app_key: str) -> Application | None:
        """The application of that key, disabled ones too; None where unknown or deleted."""
        return self._applications.get(app_key)

    @property
    def applications(self) -> tuple[Application, ...]:
        """All of them, by name."""
        return tuple(sorted(self._applications.values(), key=lambda app: (app.name, app.key)))

    @property
    def copy(self) -> tuple[tuple[Application, ...], tuple[SealedKey, ...], tuple[Restriction, ...]]:
        """All that was read, tombstones too, keys still sealed: what is written back into an engine that lost it."""
        return self._copy

    @property
    def version(self) -> int:
        """The directory's version that the copy is of; -1 before `load`."""
        return self._version

    @property
    def ring(self) -> KeyRing:
        """The keys that sign and verify now. It changes with time: a key announced signs `ANNOUNCED` seconds later."""
        now = self._clock()
        if self._ring is None or now >= self._ring_until:
            self._ring, self._ring_until = _ring_at(self._keys, now)
        return self._ring

    def authenticate(self, readings: Iterable[BasicCredentials]) -> Application | None:
        """The application whose key and secret one of the readings of a Basic header holds, else None.

        Does the same work for an unknown key as for a wrong secret. A disabled application is returned: say so.
        """
        now = self._clock()
        found: Application | None = None
        for key, secret in readings:
            app = self._applications.get(key)
            matches = secret_matches(self._pepper, (secret,), () if app is None else _valid_hashes(app, now))
            if matches and found is None:
                found = app
        return found

    def participant_id(self, app: Application, external_id: str) -> str:
        """The participant of an external id (S2)."""
        return participant_id_of(app.namespace, external_id)

    def cutoff(self, app: Application, participant_id: str | None) -> int | None:
        """The newest cut-off known here for a token of this participant (Unix seconds), to mint above; None: none.

        Raises ServiceUnavailableError where it lies further ahead than verifiers allow `iat` to be: wait, then.
        """
        cutoff = app.revoked_before
        if participant_id is not None:
            cutoff = max(cutoff, self._cutoff_of(app.key, participant_id))
        if not cutoff:
            return None
        ahead = cutoff + 1 - floor(self._clock())
        if ahead > MAX_BUMP:
            raise ServiceUnavailableError(
                "Tokens of this participant are revoked until a moment that has not come yet.",
                hint=f"Try again in {ahead - MAX_BUMP} s.",
                retry_after=float(ahead - MAX_BUMP),
            )
        return cutoff

    def is_revoked(self, token: VerifiedToken) -> bool:
        """Whether a token is known here to be revoked: by its application's cut-off, its participant's, or its jti."""
        app = self._applications.get(token.app)
        if app is None or token.issued_at <= app.revoked_before or (token.app, token.jti) in self._revoked:
            return True
        return token.issued_at <= self._cutoff_of(token.app, token.participant_id or "")

    def erased_at(self, app_key: str, participant_id: str) -> int:
        """Up to when (Unix seconds) everything about the participant was erased, as far as it is known here; 0: never.
        An erased one's cut-off is stored by hashed id."""
        return self._cutoffs.get((app_key, erased_subject(participant_id)), 0)

    def _cutoff_of(self, app_key: str, participant_id: str) -> int:
        own = self._cutoffs.get((app_key, participant_id), 0)
        return max(own, self.erased_at(app_key, participant_id))

    # --- other secrets at rest --------------------------------------------------------------------------------------

    def seal_text(self, text: str, context: str) -> str:
        """A secret as it may be stored: sealed with the master key, in base64. context: what it is and whose."""
        return b64encode(seal(self._master, text.encode(), self._random(_NONCE_BYTES), context)).decode()

    def open_text(self, sealed: str, context: str) -> str:
        """The inverse of `seal_text`. Raises `IllegalArgumentError` for another master key or context."""
        return open_sealed(self._master, b64decode(sealed), context).decode()

    def withdrawn(self, token: VerifiedToken) -> GreenroomError | None:
        """Why this one token, revoked by its jti, opens nothing; None where it was not. A block comes first (S2).

        Asked at `open` too: a token that names no participant is revoked in no participant's partition, where the
        engine would find it (S18).
        """
        if (token.app, token.jti) not in self._revoked:
            return None
        for subject in (token.participant_id or "", erased_subject(token.participant_id or "")):
            block = self._blocks.get((token.app, subject))
            if block is not None and (block.until is None or block.until > self._now_ms()):
                return ParticipantBlockedError(until=block.until)
        return TokenInvalidError(code=ErrorCode.TOKEN_REVOKED)

    # --- loading ----------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything; make the first signing key where there is none. Raises `IllegalArgumentError` where the
        master key is another one than the keys were sealed with."""
        async with self._changing:
            await self._load()
            if not self._keys:
                await self._add_key(self._clock() - ANNOUNCED)
                await self._load()

    async def reload_if(self, version: int) -> bool:
        """Read everything again if the directory's version is not the copy's. Whether it was."""
        if version == self._version:
            return False
        async with self._changing:
            await self._load()
        return True

    async def reload(self) -> None:
        """Read everything again: when this returns, what was stored before the call is known here."""
        wanted = self._begun + 1
        async with self._changing:
            if self._finished < wanted:  # else one that began since the call has read it for all who waited
                await self._load()

    async def _load(self) -> None:
        self._begun = number = self._begun + 1
        # The version first: what changes while the rest is read is then read again.
        version = await self._directory.version()
        # Nothing missing is read as deleted (S15): what is gone has a tombstone, and the copy restores the rest.
        applications = {app.key: app for app in (*self._copy[0], *await self._directory.applications())}
        keys = {key.kid: key for key in (*self._copy[1], *await self._directory.keys())}
        restrictions = await self._directory.restrictions()
        opened = tuple(self._opened(key) for key in keys.values() if not _is_forgotten(key, self._clock()))
        self._copy = (tuple(applications.values()), tuple(keys.values()), restrictions or self._copy[2])
        self._applications = {app.key: app for app in applications.values() if not app.deleted}
        self._keys = opened
        self._ring = None
        self._note_restrictions(self._copy[2])
        self._version = version
        self._finished = number

    def _opened(self, sealed: SealedKey) -> SigningKey:
        known = next((key for key in self._keys if key.kid == sealed.kid), None)
        return open_key(self._master, sealed.sealed) if known is None else known

    def _note_restrictions(self, restrictions: Iterable[Restriction]) -> None:
        held = [entry for entry in restrictions if not entry.lifted]
        self._cutoffs = {(entry.app, entry.subject): entry.before for entry in held if entry.kind == "cutoff"}
        self._revoked = {(entry.app, entry.subject) for entry in held if entry.kind == "jti"}
        self._blocks = {(entry.app, entry.subject): entry for entry in held if entry.kind == "block"}

    # --- changing ---------------------------------------------------------------------------------------------------

    async def create_application(
        self, name: str, *, settings: ApplicationSettings | None = None
    ) -> tuple[Application, str]:
        """A new application and its secret, which is shown this once. name: 1 to 100 characters, for people; several
        may share one. Raises `IllegalArgumentError`."""
        secret = new_secret(self._random)
        application = Application(
            key=new_app_key(self._random),
            name=check_name(name),
            namespace=str(uuid.UUID(bytes=self._random(16), version=4)),
            secrets=(self._stored(secret),),
            created_at=self._now_ms(),
            settings=settings or ApplicationSettings(),
        )
        async with self._changing:
            return await self._save(application), secret

    async def rotate_secret(self, app_key: str, *, overlap: float = SECRET_OVERLAP) -> tuple[Application, str]:
        """A new secret, shown this once. The newest of the old ones is good for `overlap` seconds more, others end
        now: two are valid at a time. Raises `NotFoundError`, `IllegalArgumentError`."""
        if not 0 <= overlap <= 30 * 86_400:
            raise IllegalArgumentError("The overlap is out of range.", hint="Use 0 to 2592000 s.")
        secret = new_secret(self._random)

        def changed(app: Application) -> Application:
            ends = self._now_ms() + int(overlap * 1000)
            current = [old for old in app.secrets if old.expires_at is None or old.expires_at > self._now_ms()][:1]
            kept = [msgspec.structs.replace(old, expires_at=min(old.expires_at or ends, ends)) for old in current]
            secrets = (self._stored(secret), *(kept if overlap else ()))
            return msgspec.structs.replace(app, secrets=secrets)

        return await self.change(app_key, changed), secret

    async def disable(self, app_key: str) -> Application:
        """No token is given and none accepted until `enable`. Raises `NotFoundError`."""
        return await self.change(app_key, lambda app: msgspec.structs.replace(app, disabled=True))

    async def enable(self, app_key: str) -> Application:
        """Undoes `disable`. Raises `NotFoundError`."""
        return await self.change(app_key, lambda app: msgspec.structs.replace(app, disabled=False))

    async def change(self, app_key: str, how: Callable[[Application], Application]) -> Application:
        """Any change: `how` gets the stored application and returns the one to store (compare-and-set on its
        version); where another node was quicker it is called again, `TRIES` times at most. What is the same is not
        written. Raises `NotFoundError`, `ConflictError`."""
        async with self._changing:
            for _ in range(TRIES - 1):
                try:
                    return await self._change(app_key, how)
                except ConflictError:
                    continue
            return await self._change(app_key, how)

    async def _change(self, app_key: str, how: Callable[[Application], Application]) -> Application:
        stored = await self._directory.application(app_key)
        if stored is None or stored.deleted:
            raise NotFoundError("There is no application of that key.", hint="See: greenroom apps list.")
        wanted = how(stored)
        if wanted == stored:
            self._applications[app_key] = stored
            return stored
        return await self._save(wanted)

    async def rotate_key(self) -> SigningKey:
        """A new signing key: published now, signing `ANNOUNCED` seconds from now; the present one verifies until no
        token of it can be left."""
        async with self._changing:
            key = await self._add_key(self._clock())
            await self._load()
            return key

    async def _add_key(self, created_at: float) -> SigningKey:
        key = generate_key(self._random, created_at=created_at, alg=self._algorithm)
        sealed = seal_key(self._master, key, self._random(_NONCE_BYTES))
        record = SealedKey(kid=key.kid, alg=key.alg.value, sealed=sealed, created_at=int(created_at * 1000))
        await self._directory.save_key(record)
        return key

    async def _save(self, application: Application) -> Application:
        saved = await self._directory.save_application(application)
        self._applications[saved.key] = saved
        return saved

    def _stored(self, secret: str) -> StoredSecret:
        return StoredSecret(digest=hash_secret(self._pepper, secret).hex(), created_at=self._now_ms())

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def derive_pepper(master_key: bytes) -> bytes:
    """What app secrets are hashed with (RFC 5869): from the master key, so that the stored hashes alone are useless."""
    return HKDF(SHA256(), 32, salt=None, info=b"greenroom app secret pepper v1").derive(master_key)


def check_name(name: str) -> str:
    """An application's name: 1 to 100 printable characters. Raises `IllegalArgumentError`."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise IllegalArgumentError(f"The name has not 1 to {MAX_NAME} printable characters.")
    return name


def describe_key(key: SigningKey, ring: KeyRing) -> Mapping[str, Any]:
    """A key for operators: its name and what it is for now."""
    state = "current" if key is ring.current else "upcoming" if key in ring.upcoming else "previous"
    return {"kid": key.kid, "alg": key.alg.value, "state": state, "createdAt": int(key.created_at * 1000)}


def _valid_hashes(app: Application, now: float) -> tuple[bytes, ...]:
    ends = now * 1000
    valid = [old.digest for old in app.secrets if old.expires_at is None or old.expires_at > ends]
    return tuple(bytes.fromhex(digest) for digest in valid[:2])


def _is_forgotten(key: SealedKey, now: float) -> bool:
    return key.retired_at is not None and key.retired_at / 1000 + 2 * 86_400 < now


def _ring_at(keys: tuple[SigningKey, ...], now: float) -> tuple[KeyRing, float]:
    """The ring at a moment, and until when it stays so: each key signs from `ANNOUNCED` after it was made until the
    next one does. Every node works it out alike from what is stored, without a second write."""
    if not keys:
        raise RuntimeError("the keys have not been loaded")
    newest_first = sorted(keys, key=lambda key: (key.created_at, key.kid), reverse=True)
    signing = [key for key in newest_first if key.created_at + ANNOUNCED <= now] or newest_first[-1:]
    upcoming = [key for key in newest_first if key not in signing]
    ring = KeyRing(signing[0], signing[1:], upcoming).pruned(now - ANNOUNCED)
    changes = [key.created_at + ANNOUNCED for key in upcoming]
    # An hour at most: what `pruned` drops is dropped within it.
    return ring, min([*changes, now + 3_600])
