"""Applications, keys and restrictions that are put back: what is stored and newer stays (S15)."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.errors import ConflictError
from greenroom.model import Restriction, SealedKey
from greenroom.testing.engine_world import APP, EmbeddedWorld


def block(created_at: int, **changes: Any) -> Restriction:
    return Restriction(app=APP, kind="block", subject="anna", created_at=created_at, **changes)


def cutoff(before: int, created_at: int = 0) -> Restriction:
    return Restriction(app=APP, kind="cutoff", subject="anna", before=before, created_at=created_at)


async def test_a_save_names_the_version_that_it_was_read_at() -> None:
    async with EmbeddedWorld() as w:
        saved = await w.engine.directory.save_application(w.application())
        assert saved.version == 1
        for stale in (w.application(), w.changed(saved, version=2)):
            with pytest.raises(ConflictError, match="at version 1"):
                await w.engine.directory.save_application(stale)
        assert await w.engine.directory.application(APP) == saved


async def test_one_that_was_deleted_is_not_found_and_still_listed() -> None:
    async with EmbeddedWorld() as w:
        saved = await w.engine.directory.save_application(w.application(deleted=True))
        assert await w.engine.directory.application(APP) is None
        assert await w.engine.directory.applications() == (saved,)


async def test_only_newer_applications_and_unknown_keys_are_put_back() -> None:
    async with EmbeddedWorld() as w:
        directory = w.engine.directory
        saved = await directory.save_application(w.application(name="stored"))
        key = SealedKey(kid="k1", alg="EdDSA", sealed=b"stored", created_at=1)
        await directory.save_key(key)
        other = SealedKey(kid="k2", alg="EdDSA", sealed=b"new", created_at=2)
        copies = [w.changed(saved, name="old"), w.application(key="app-2", version=5)]
        await directory.put_back(copies, [SealedKey(kid="k1", alg="EdDSA", sealed=b"x", created_at=1), other], ())
        names = {one.key: (one.name, one.version) for one in await directory.applications()}
        assert names == {APP: ("stored", 1), "app-2": ("App", 5)}
        assert await directory.keys() == (other, key)
        before = await directory.version()
        await directory.put_back(copies, [key, other], ())
        assert await directory.version() == before, "nothing was written"


@pytest.mark.parametrize(
    ("stored", "copy", "kept"),
    [
        (block(1, lifted=True), block(1), "stored"),
        (block(1), block(1, lifted=True), "copy"),
        (block(1, lifted=True), block(2), "copy"),
        (block(2), block(1), "stored"),
        (cutoff(10, created_at=9), cutoff(11), "copy"),
        (cutoff(10), cutoff(9, created_at=9), "stored"),
    ],
)
async def test_a_lift_is_newer_than_its_block_and_a_cut_off_only_rises(
    stored: Restriction, copy: Restriction, kept: str
) -> None:
    async with EmbeddedWorld() as w:
        for each in (stored, copy):
            await w.engine.directory.put_back((), (), [each])
        assert await w.engine.directory.restrictions(APP) == ({"stored": stored, "copy": copy}[kept],)
        assert await w.engine.directory.restrictions("app-2") == ()
