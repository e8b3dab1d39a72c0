"""Applications and restrictions in Redis: what is written where, and what other versions wrote."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from greenroom.engines.base import BlockParticipant
from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.directory import RedisDirectory
from greenroom.engines.redis.maintenance import DIRECTORY
from greenroom.engines.redis.store import FunctionCall
from greenroom.errors import ConflictError, ParticipantBlockedError, ServiceUnavailableError
from greenroom.model import PARTITIONS, Application, Restriction, SealedKey, erased_subject, participant_id_of
from greenroom.testing.engine_world import APP, NAMESPACE
from tests.engines.redis.worlds import LuaWorld


def counting(w: LuaWorld) -> Counter[str]:
    """Calls from now on, by function."""
    calls: Counter[str] = Counter()

    def fate(call: FunctionCall) -> None:
        calls[call.function] += 1

    w.server.fate = fate
    return calls


async def test_partitions_are_written_only_where_an_open_would_see_a_difference() -> None:
    async with LuaWorld() as w:
        directory = w.engine.directory
        saved = await directory.save_application(w.application())
        calls = counting(w)
        saved = await directory.save_application(w.changed(saved, name="another"))
        assert calls["put_application"] == 0
        saved = await directory.save_application(w.changed(saved, revoked_before=5))
        assert calls["put_application"] == PARTITIONS
        await directory.save_application(w.changed(saved, deleted=True))
        assert calls["put_application"] == 2 * PARTITIONS
        await directory.save_application(w.application(key="app-2"))
        assert calls["put_application"] == 2 * PARTITIONS, "a new one that anybody may use"


async def test_a_partition_that_is_away_leaves_the_application_as_it_was() -> None:
    async with LuaWorld() as w:
        saved = await w.engine.directory.save_application(w.application())
        w.server.fate = lambda call: "away" if call.tag == "p63" else None
        with pytest.raises(ServiceUnavailableError):
            await w.engine.directory.save_application(w.changed(saved, disabled=True))
        w.server.fate = lambda call: None
        assert await w.engine.directory.application(APP) == saved
        assert (await w.engine.directory.save_application(w.changed(saved, disabled=True))).version == 2


async def test_a_save_names_the_version_that_it_was_read_at() -> None:
    async with LuaWorld() as w:
        saved = await w.engine.directory.save_application(w.application())
        with pytest.raises(ConflictError, match="at version 1"):
            await w.engine.directory.save_application(w.application())
        assert await w.engine.directory.application(APP) == saved


async def test_members_of_a_version_to_come_outlive_a_save() -> None:
    async with LuaWorld() as w:
        saved = await w.engine.directory.save_application(w.application())
        newer = msgspec.json.decode(msgspec.json.encode(saved), type=dict[str, Any]) | {"invented_later": [1]}
        body = argument(key=APP, version=saved.version, record=msgspec.json.encode(newer | {"version": 2}).decode())
        await w.node_store.call(FunctionCall("save_application", DIRECTORY, body))
        found = await w.engine.directory.application(APP)
        assert found is not None
        await w.engine.directory.save_application(w.changed(found, name="renamed"))
        (reply,) = (
            await w.node_store.call_many([FunctionCall("application", DIRECTORY, argument(key=APP))])
        )  # fmt: skip
        assert isinstance(reply, list)
        stored = msgspec.json.decode(reply[1], type=dict[str, Any])
        assert (stored["invented_later"], stored["name"], stored["version"]) == ([1], "renamed", 3)


async def test_a_deleted_application_is_known_and_not_found() -> None:
    async with LuaWorld() as w:
        directory = w.engine.directory
        assert isinstance(directory, RedisDirectory)
        saved = await directory.save_application(w.application(deleted=True))
        assert await directory.application(APP) is None
        assert await directory.application("unknown") is None
        assert directory.known == (saved,)


async def test_only_newer_applications_are_put_back() -> None:
    async with LuaWorld() as w:
        directory = w.engine.directory
        saved = await directory.save_application(w.application(name="stored"))
        key = SealedKey(kid="k1", alg="EdDSA", sealed=b"s", created_at=1)
        copies = [w.changed(saved, name="old"), w.application(key="app-2", version=5)]
        await directory.put_back(copies, [key], ())
        assert {one.key: (one.name, one.version) for one in await directory.applications()} == {
            APP: ("stored", 1),
            "app-2": ("App", 5),
        }
        assert await directory.keys() == (key,)


async def test_who_was_erased_is_still_kept_out_after_a_restore() -> None:
    """The id is no longer known, so the block lies in every partition; it is listed once."""
    async with LuaWorld() as w:
        anna = participant_id_of(NAMESPACE, "anna")
        block = Restriction(app=APP, kind="block", subject=erased_subject(anna), created_at=w.now_ms())
        await w.engine.directory.put_back((), (), [block])
        assert await w.engine.directory.restrictions(APP) == (block,)
        assert await w.engine.directory.restrictions("app-2") == ()
        with pytest.raises(ParticipantBlockedError):
            await w.open("anna")
        await w.open("bob")


async def test_a_number_of_the_directory_rises_with_everything_that_is_written() -> None:
    async with LuaWorld() as w:
        directory = w.engine.directory
        versions = [await directory.version()]
        await directory.save_application(Application(key=APP, name="", namespace=NAMESPACE))
        versions.append(await directory.version())
        await directory.save_key(SealedKey(kid="k1", alg="EdDSA", sealed=b"s", created_at=1))
        versions.append(await directory.version())
        await w.engine.registry.restrict(BlockParticipant(app=APP, participant_id="anna"))
        versions.append(await directory.version())
        assert versions == sorted(set(versions))
        await directory.put_back((), (), ())
        assert versions[-1] <= await directory.version()
