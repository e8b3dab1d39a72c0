"""Applications and signing keys in a slot of their own; restrictions with their participants (S18)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.engines.redis.arguments import argument, batched, merged, restriction_item
from greenroom.engines.redis.maintenance import DIRECTORY
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.errors import ConflictError
from greenroom.model import ERASED, PARTITIONS, Application, Restriction, SealedKey, partition_of

_decode_application = msgspec.json.Decoder(Application).decode
_decode_key = msgspec.json.Decoder(SealedKey).decode


_PIECE = 200
"""Restrictions written in one call."""


class _StoredRestriction(msgspec.Struct):
    """``kind`` is empty in a record that is about the application itself."""

    kind: str = ""
    subject: str = ""
    until: int | None = None
    before: int = 0
    reason: str = ""
    created_at: int = 0
    lifted: bool = False


_decode_restriction = msgspec.json.Decoder(_StoredRestriction).decode


class RedisDirectory:
    """Implements `Directory`. ``known`` is a copy of the applications, for what the engine itself needs of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Application] = {}

    @property
    def known(self) -> tuple[Application, ...]:
        """As last read; empty until then."""
        return tuple(self._known.values())

    async def applications(self) -> tuple[Application, ...]:
        _, bodies, _ = await self._call("directory")
        found = tuple(sorted(map(_decode_application, bodies), key=lambda each: each.key))
        self._known |= {each.key: each for each in found}
        return found

    async def application(self, key: str) -> Application | None:
        (body,) = await self._call("application", key=key)
        found = None if body is None else _decode_application(body)
        if found is not None:
            self._known[key] = found
        return None if found is None or found.deleted else found

    async def save_application(self, application: Application) -> Application:
        (body,) = await self._call("application", key=application.key)
        stored = None if body is None else _decode_application(body)
        version = 0 if stored is None else stored.version
        if version != application.version:
            raise ConflictError(f"The application was changed since: it is at version {version}.")
        saved = msgspec.structs.replace(application, version=version + 1)
        await self._put_in_partitions(saved, stored)
        record = merged(saved, body)
        await self._call("save_application", True, key=saved.key, version=version, record=record)
        self._known[saved.key] = saved
        return saved

    async def _put_in_partitions(self, new: Application, old: Application | None) -> None:
        """What every open checks in its own step: first, so that a failure leaves nothing half allowed."""
        if _checked(new) == (False, 0) if old is None else _checked(new) == _checked(old):
            return
        disabled, before = _checked(new)
        body = argument(app=new.key, disabled=disabled, before=before)
        calls = [FunctionCall("put_application", f"p{number}", body, True) for number in range(PARTITIONS)]
        for reply in await self._store.call_many(calls):
            accepted(reply)

    async def keys(self) -> tuple[SealedKey, ...]:
        _, _, bodies = await self._call("directory")
        found = map(_decode_key, bodies)
        return tuple(sorted(found, key=lambda key: (key.created_at, key.kid), reverse=True))

    async def save_key(self, key: SealedKey) -> None:
        await self._call("save_key", True, kid=key.kid, record=merged(key, None))

    async def restrictions(self, app: str | None = None) -> tuple[Restriction, ...]:
        """A piece of each partition at a time, so that none is held for long."""
        found: dict[tuple[str, str, str], Restriction] = {}
        left = {number: argument(app=app) for number in range(PARTITIONS)}
        while left:
            numbers = list(left)
            replies = await self._store.call_many([FunctionCall("restrictions", f"p{n}", left[n]) for n in numbers])
            left = {}
            for number, reply in zip(numbers, replies, strict=True):
                flat, *place = accepted(reply)
                for name, record in zip(flat[::2], flat[1::2], strict=True):
                    stored = _decode_restriction(record)
                    if stored.kind:
                        restriction = Restriction(app=name.decode(), **msgspec.structs.asdict(stored))
                        found[restriction.app, restriction.kind, restriction.subject] = restriction
                if place:
                    left[number] = argument(app=app, **{"from": place[0].decode(), "scan": place[1].decode()})
        return tuple(found.values())

    async def put_back(
        self, applications: Sequence[Application], keys: Sequence[SealedKey], restrictions: Sequence[Restriction]
    ) -> None:
        await self._put_restrictions(restrictions)
        stored = {each.key: each for each in await self.applications()}
        newer = [each for each in applications if _version(stored.get(each.key)) < each.version]
        for application in newer:
            await self._put_in_partitions(application, None)
        await self._call(
            "put_back",
            True,
            applications=[{"key": each.key, "version": each.version, "record": merged(each, None)} for each in newer],
            keys=[{"kid": key.kid, "record": merged(key, None)} for key in keys],
            version=0,
        )

    async def _put_restrictions(self, restrictions: Sequence[Restriction]) -> None:
        """To the participant's partition. A revoked token's participant is no longer known: it is written where its
        id says, from where nodes read it, and refuse it at each open. The block or cut-off of an erased participant,
        whose id is not known either, is written to all."""
        items: dict[int, list[dict[str, object]]] = {}
        for restriction in restrictions:
            numbers: Sequence[int] = [partition_of(restriction.app, restriction.subject)]
            if restriction.subject.startswith(ERASED):
                numbers = range(PARTITIONS)
            for number in numbers:
                items.setdefault(number, []).append(restriction_item(restriction))
        calls = [
            FunctionCall("put_restrictions", f"p{number}", argument(items=some), True)
            for number, each in items.items()
            for some in batched(each, _PIECE)
        ]
        for some in batched(calls, PARTITIONS):
            for reply in await self._store.call_many(some):
                accepted(reply)
        if calls:
            await self._call("touch", True)

    async def version(self) -> int:
        (version,) = await self._call("directory_version")
        return int(version or 0)

    async def _call(self, function: str, durable: bool = False, /, **members: object) -> Reply:
        return accepted(await self._store.call(FunctionCall(function, DIRECTORY, argument(**members), durable)))


def _checked(application: Application) -> tuple[bool, int]:
    return application.disabled or application.deleted, application.revoked_before


def _version(application: Application | None) -> int:
    return 0 if application is None else application.version
