"""The applications, keys and restrictions: a whole copy in memory, written through to the engine's directory.

Reading is sync and never waits. A node loads the copy at start and again when the directory's version has risen
(`reload_if`, called with every beat), so that a change made on one node holds on all of them within seconds.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable

import msgspec

from greenroom.engines.base import Directory, restriction_expires
from greenroom.errors import ConflictError, IllegalArgumentError, NotFoundError
from greenroom.model import Application, ApplicationSettings, Restriction, SealedKey
from greenroom.server.config import ServerConfig
from greenroom.server.outbound.documents import Document, FetchFailedError
from greenroom.server.tenants.ceilings import effective
from greenroom.server.tenants.issuers import Issuers
from greenroom.server.tenants.key_sets import KeySets
from greenroom.server.tenants.keys import ANNOUNCED, SigningKeys
from greenroom.server.tenants.revocations import Revocations
from greenroom.server.tenants.secrets import SecretStore
from greenroom.tokens import Algorithm, BasicCredentials, MintedTokens, SigningKey, new_app_key, new_secret

SECRET_OVERLAP = 86_400.0
"""Seconds for which a replaced app secret is still good, unless `rotate_secret` is given another overlap."""
MAX_OVERLAP = 30 * 86_400
PRUNE_FROM = 10_000
"""Restrictions from which on those that are over are looked for."""
MAX_NAME = 100
TRIES = 3
"""How often a change is tried that other nodes are quicker with."""


class Tenants:
    """All applications of the service, the key ring and what is revoked.

    master_key: 32 bytes; seals signing keys and makes the pepper of app secrets. clock: Unix seconds.
    config: `signing_alg` of it is for new signing keys, its ceilings for applications; None is the defaults. key_sets:
    of issuers; None: none is fetched. Nothing can be read before `load`.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        master_key: bytes,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        config: ServerConfig | None = None,
        key_sets: KeySets | None = None,
    ) -> None:
        self._config = config or ServerConfig()
        self.random_bytes = random_bytes
        """The source that was given, for tokens."""
        self.secrets = SecretStore(master_key, random_bytes)
        self.revocations = Revocations(clock)
        self.minted = MintedTokens(random_bytes(32))
        """Client access tokens that this node gave out."""
        self._applications: dict[str, Application] = {}
        self.get: Callable[[str], Application | None] = self._applications.get
        """The application of that key, disabled ones too; None where unknown or deleted."""
        self.issuers = Issuers(self.secrets, key_sets or KeySets(_NoFetcher(), monotonic=clock), self.get)
        """Who besides the service may sign client access tokens."""
        self.keys = SigningKeys(
            master_key=master_key, clock=clock, random_bytes=random_bytes, algorithm=Algorithm(self._config.signing_alg)
        )
        self._directory = directory
        self.now = clock
        """Unix seconds."""
        self._stored_applications: dict[str, Application] = {}
        """All that was read, tombstones too."""
        self._stored_keys: dict[str, SealedKey] = {}
        self._restrictions: dict[tuple[str, str, str], Restriction] = {}
        self._prune_at = PRUNE_FROM
        self._version = -1
        self._ahead: dict[int, int] = {}
        """Of changes that came before those that they follow: the version before, and after."""
        self._while_loading: list[tuple[tuple[Restriction, ...], int, int]] = []
        self._begun = self._finished = 0  # numbers of loads
        self._changing = asyncio.Lock()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def applications(self) -> tuple[Application, ...]:
        """All of them, by name."""
        return tuple(sorted(self._applications.values(), key=lambda app: (app.name, app.key)))

    @property
    def copy(self) -> tuple[tuple[Application, ...], tuple[SealedKey, ...], tuple[Restriction, ...]]:
        """All that was read, tombstones too, keys still sealed: what is written back into an engine that lost it."""
        return (
            tuple(self._stored_applications.values()),
            tuple(self._stored_keys.values()),
            tuple(self._restrictions.values()),
        )

    @property
    def version(self) -> int:
        """The directory's version that the copy is of; -1 before `load`."""
        return self._version

    def authenticate(self, readings: Iterable[BasicCredentials]) -> Application | None:
        """The application whose key and secret one of the readings of a Basic header holds, else None.

        Does the same work for an unknown key as for a wrong secret. A disabled application is returned: say so.
        """
        now = self.now()
        found: Application | None = None
        for key, secret in readings:
            app = self._applications.get(key)
            matches = self.secrets.matches(secret, () if app is None else app.secrets, now)
            if matches and found is None:
                found = app
        return found

    # -- loading ------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything; make the first signing key where there is none. Raises `IllegalArgumentError` where the
        master key is another one than the keys were sealed with."""
        async with self._changing:
            await self._load()
            if not self.keys:
                await self._add_key(self.now() - ANNOUNCED)
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
        self._while_loading.clear()
        # The version first: what changes while the rest is read is then read again.
        version = await self._directory.version()
        # Nothing missing is read as deleted (S15): what is gone has a tombstone, and the copy restores the rest.
        self._stored_applications |= {app.key: app for app in await self._directory.applications()}
        self._stored_keys |= {key.kid: key for key in await self._directory.keys()}
        restrictions = await self._directory.restrictions()
        self.keys.replace(self._stored_keys.values())
        known = {app.key: effective(app, self._config) for app in self._stored_applications.values() if not app.deleted}
        self._applications.clear()
        self._applications.update(known)
        self.issuers.replace(self._applications.values())
        if restrictions:
            self._restrictions = {(one.app, one.kind, one.subject): one for one in restrictions}
        self.revocations.replace(self._restrictions.values())
        self._prune_at = max(PRUNE_FROM, 2 * len(self._restrictions))
        self._version = version
        self._ahead.clear()
        self._finished = number
        # What was made while this read: it may or may not have seen it.
        made, self._while_loading = self._while_loading, []
        for change in made:
            self.apply(*change)

    def apply(self, restrictions: tuple[Restriction, ...], before: int, after: int) -> None:
        """These were made, and the directory's version rose from `before` to `after` by them: nothing need be read,
        unless a change in between was missed."""
        if self._begun != self._finished:
            self._while_loading.append((restrictions, before, after))
        self.revocations.apply(restrictions)
        for one in restrictions:
            key = (one.app, one.kind, one.subject)
            known = self._restrictions.get(key)
            if known is None or one.kind != "cutoff" or one.before > known.before:
                self._restrictions[key] = one
        if len(self._restrictions) >= self._prune_at:
            self._prune()
        if self._version <= before < after:
            self._ahead[before] = after
        while self._version in self._ahead:
            self._version = self._ahead.pop(self._version)

    def _prune(self) -> None:
        """Forget what no longer matters, as the engine does."""
        now = self._now_ms()
        expiring = {key: restriction_expires(one) for key, one in self._restrictions.items()}
        for key, expires in expiring.items():
            if expires is not None and expires <= now:
                del self._restrictions[key]
        self.revocations.replace(self._restrictions.values())
        self._prune_at = max(PRUNE_FROM, 2 * len(self._restrictions))

    # -- changing -----------------------------------------------------------------------------------------------------

    async def create_application(
        self, name: str, *, settings: ApplicationSettings | None = None
    ) -> tuple[Application, str]:
        """A new application and its secret, which is shown only once. name: 1 to 100 characters, for people; several
        may share one. Raises `IllegalArgumentError`."""
        secret = new_secret(self.random_bytes)
        application = Application(
            key=new_app_key(self.random_bytes),
            name=check_name(name),
            namespace=str(uuid.UUID(bytes=self.random_bytes(16), version=4)),
            secrets=(self.secrets.stored(secret, self._now_ms()),),
            created_at=self._now_ms(),
            settings=settings or ApplicationSettings(),
        )
        async with self._changing:
            return await self._save(application), secret

    async def rotate_secret(self, app_key: str, *, overlap: float = SECRET_OVERLAP) -> tuple[Application, str]:
        """A new secret, shown only once. The newest of the old ones is valid for `overlap` seconds more, others end
        now: two are valid at a time. Raises `NotFoundError`, `IllegalArgumentError`."""
        if not 0 <= overlap <= MAX_OVERLAP:
            raise IllegalArgumentError(f"The overlap must be 0 to {MAX_OVERLAP} s, and is {overlap:g}.")
        secret = new_secret(self.random_bytes)

        def changed(app: Application) -> Application:
            ends = self._now_ms() + int(overlap * 1000)
            current = [old for old in app.secrets if old.expires_at is None or old.expires_at > self._now_ms()][:1]
            kept = [msgspec.structs.replace(old, expires_at=min(old.expires_at or ends, ends)) for old in current]
            secrets = (self.secrets.stored(secret, self._now_ms()), *(kept if overlap else ()))
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
            raise NotFoundError("There is no application with that key.", hint="See: greenroom apps list.")
        wanted = how(stored)
        if wanted == stored:
            return self._keep(stored)
        return await self._save(wanted)

    async def rotate_key(self) -> SigningKey:
        """A new signing key: published now, signing `ANNOUNCED` seconds from now; the present one verifies until no
        token of it can be left."""
        async with self._changing:
            key = await self._add_key(self.now())
            await self._load()
            return key

    async def _add_key(self, created_at: float) -> SigningKey:
        key, sealed = self.keys.make(created_at)
        await self._directory.save_key(sealed)
        return key

    async def _save(self, application: Application) -> Application:
        saved = await self._directory.save_application(application)
        return self._keep(saved)

    def _keep(self, application: Application) -> Application:
        self._applications[application.key] = lowered = effective(application, self._config)
        self.issuers.put(lowered)
        return lowered

    def _now_ms(self) -> int:
        return int(self.now() * 1000)


class _NoFetcher:
    def check(self, url: str) -> str:
        raise IllegalArgumentError("Key sets are not fetched here.")

    async def fetch(self, url: str, *, app: str) -> Document:
        raise FetchFailedError("key sets are not fetched here")


def check_name(name: str) -> str:
    """An application's name: 1 to 100 printable characters. Raises `IllegalArgumentError`."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise IllegalArgumentError(f"The name must have 1 to {MAX_NAME} printable characters.")
    return name
