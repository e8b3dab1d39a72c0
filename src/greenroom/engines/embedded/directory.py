"""Applications, keys and restrictions: small, and kept by tombstones (S15)."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from greenroom.engines.base import issuer_taken, pairs_of
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.restrict import store_restriction, touch_directory
from greenroom.engines.embedded.state import State, decode_application, decode_restriction
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ConflictError
from greenroom.model import Application, Restriction, SealedKey

_encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(SealedKey).decode


class EmbeddedDirectory:
    """Implements `Directory`."""

    def __init__(self, database: Database, state: State) -> None:
        self._database = database
        self._state = state

    async def applications(self) -> tuple[Application, ...]:
        def query(con: apsw.Connection) -> tuple[Application, ...]:
            return tuple(decode_application(body) for (body,) in con.execute("SELECT body FROM applications"))

        return await self._database.read(query)

    async def application(self, key: str) -> Application | None:
        def query(con: apsw.Connection) -> Application | None:
            for (body,) in con.execute("SELECT body FROM applications WHERE key = ?", (key,)):
                found = decode_application(body)
                return None if found.deleted else found
            return None

        return await self._database.read(query, quick=True)

    async def save_application(self, application: Application) -> Application:
        return await self._database.writer.submit(lambda tx: _save_application(tx, application))

    async def keys(self) -> tuple[SealedKey, ...]:
        def query(con: apsw.Connection) -> tuple[SealedKey, ...]:
            sql = "SELECT body FROM keys ORDER BY created_at DESC, kid DESC"
            return tuple(_decode_key(body) for (body,) in con.execute(sql))

        return await self._database.read(query)

    async def save_key(self, key: SealedKey) -> None:
        await self._database.writer.submit(lambda tx: _store_key(tx, key))

    async def restrictions(self, app: str | None = None) -> tuple[Restriction, ...]:
        def query(con: apsw.Connection) -> tuple[Restriction, ...]:
            sql = "SELECT body FROM restrictions WHERE ?1 IS NULL OR app = ?1"
            return tuple(decode_restriction(body) for (body,) in con.execute(sql, (app,)))

        return await self._database.read(query)

    async def put_back(
        self,
        applications: Sequence[Application],
        keys: Sequence[SealedKey],
        restrictions: Sequence[Restriction],
    ) -> None:
        await self._database.writer.submit(lambda tx: _put_back(tx, applications, keys, restrictions))

    async def version(self) -> int:
        return self._state.directory_version


def _save_application(tx: Transaction, application: Application) -> Application:
    present = tx.state.applications.get(application.key)
    stored = 0 if present is None else present.version
    if application.version != stored:
        raise ConflictError(f"The application was changed since: it is at version {stored}.")
    _check_issuers(tx, application, present)
    saved = msgspec.structs.replace(application, version=stored + 1)
    _store_application(tx, saved)
    return saved


def _check_issuers(tx: Transaction, application: Application, present: Application | None) -> None:
    """Raises ConflictError where another application has one of the issuers that this one adds."""
    wanted = pairs_of(application)
    if not wanted or (present is not None and wanted <= pairs_of(present)):
        return
    for other in tx.state.applications.values():
        if other.issuers and other.key != application.key and not wanted.isdisjoint(pairs_of(other)):
            raise issuer_taken()


def _store_application(tx: Transaction, application: Application) -> None:
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO applications VALUES (?, ?)", (application.key, _encode(application)))
    tx.state.applications[application.key] = application
    touch_directory(tx)


def _store_key(tx: Transaction, key: SealedKey) -> None:
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", (key.kid, key.created_at, _encode(key)))
    touch_directory(tx)


def _put_back(
    tx: Transaction,
    applications: Sequence[Application],
    keys: Sequence[SealedKey],
    restrictions: Sequence[Restriction],
) -> None:
    for application in applications:
        present = tx.state.applications.get(application.key)
        if present is None or present.version < application.version:
            _store_application(tx, application)
    known = {kid for (kid,) in tx.rows("SELECT kid FROM keys")}
    for key in keys:
        if key.kid not in known:
            _store_key(tx, key)
    for restriction in restrictions:
        if _is_newer(restriction, tx.state.restrictions.get((restriction.app, restriction.kind, restriction.subject))):
            store_restriction(tx, restriction)


def _is_newer(restriction: Restriction, present: Restriction | None) -> bool:
    """A lift is newer than the block it ends; a cut-off only rises."""
    if present is None:
        return True
    if restriction.kind == "cutoff":
        return restriction.before > present.before
    mine = (restriction.created_at, restriction.lifted)
    return mine > (present.created_at, present.lifted)
